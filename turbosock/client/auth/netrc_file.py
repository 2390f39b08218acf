"""NetrcAuth: users and passwords from a netrc file, for exactly the hosts that it names.

Nothing reads such a file unless one of these was asked for. The host is the URL's own, split and checked before it
comes here, so user information or a port in the URL cannot pass for one. Each request is looked up alone: what one
host's entry says never completes another's.

Left out on purpose: the `default` entry, which would give a password to every host there is, and entries that lack a
user or a password.
"""

from __future__ import annotations

import netrc
import os
import stat

from turbosock import limits
from turbosock.client.auth.base import Auth, AuthRequest
from turbosock.client.auth.basic import basic_value
from turbosock.errors import InvalidOption


class NetrcAuth(Auth):
    """Sends the basic credentials that a netrc file has for the request's host.

    Args:
        file: its path; None for `.netrc` in the home directory, which must then belong to this user alone. It is read
            here, once.

    Raises:
        InvalidOption: the file cannot be read or is none; the message shows its path and line, and nothing in it.
            Also for the first request to a host whose user or password cannot be sent.
    """

    __slots__ = ("_entries",)

    def __init__(self, file: str | os.PathLike[str] | None = None) -> None:
        if file is not None and not isinstance(file, (str, os.PathLike)):
            raise InvalidOption(f"file: a {type(file).__name__} was given; give a path or None")
        path = os.fspath(file) if file is not None else os.path.join(os.path.expanduser("~"), ".netrc")
        try:
            status = os.stat(path)
        except (OSError, ValueError) as error:
            raise InvalidOption(f"file: {path!r} cannot be read: {_reason(error)}") from None
        if not stat.S_ISREG(status.st_mode):
            raise InvalidOption(f"file: {path!r} is not a regular file")
        if status.st_size > limits.MAX_NETRC_BYTES:
            raise InvalidOption(f"file: {path!r} has {status.st_size} bytes; at most {limits.MAX_NETRC_BYTES} are read")
        try:
            hosts = netrc.netrc(file).hosts
        except netrc.NetrcParseError as error:
            # Its own message may quote a password.
            where = f" (line {error.lineno})" if error.lineno is not None else ""
            raise InvalidOption(
                f"file: {path!r} is no netrc file{where}, or others than its owner may read it"
            ) from None
        except (OSError, ValueError) as error:
            raise InvalidOption(f"file: {path!r} cannot be read: {_reason(error)}") from None
        # The library's reader keeps the default entry under this name, as if a host were called so.
        hosts.pop("default", None)
        self._entries = {
            host.lower(): (login, password) for host, (login, _, password) in hosts.items() if login and password
        }

    def authorize(self, request: AuthRequest) -> str | None:
        entry = self._entries.get(request.origin[1])
        return basic_value(*entry) if entry is not None else None


def _reason(error: Exception) -> str:
    """Why the system, or the decoder, refused; a decoder's own message would show the file's bytes."""
    return error.strerror if isinstance(error, OSError) and error.strerror else "it is not text, or not a path"
