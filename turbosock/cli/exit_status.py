"""ExitStatus: what the command's exit status says, so that a script can tell failures apart without reading text.

The numbers are stable. 2, 130 and 141 are what shells and argparse use for the same things; the rest count upwards.
Which error of the library gives which status is one table here.
"""

from __future__ import annotations

import enum
from typing import Final

from turbosock import errors


class ExitStatus(enum.IntEnum):
    """The exit status of `turbosock`."""

    OK = 0
    FAILED = 1
    USAGE = 2
    RESOLVE = 3
    CONNECT = 4
    TIMEOUT = 5
    NETWORK = 6
    PROTOCOL = 7
    TLS = 8
    LIMIT = 9
    HTTP_STATUS = 10
    OUTPUT = 11
    PROXY = 12
    INPUT = 13
    INTERRUPTED = 130
    PIPE_CLOSED = 141


MEANINGS: Final = {
    ExitStatus.OK: "it worked",
    ExitStatus.FAILED: "something else failed, or an audit is over its bounds",
    ExitStatus.USAGE: "an option, the URL or a header cannot be used; nothing was sent. An audit could not be made",
    ExitStatus.RESOLVE: "the host name has no usable address",
    ExitStatus.CONNECT: "no address of the host accepted a connection",
    ExitStatus.TIMEOUT: "a time limit passed",
    ExitStatus.NETWORK: "the connection broke, or the address cannot be listened on",
    ExitStatus.PROTOCOL: "the server broke the rules of HTTP, ended its answer early, or redirects in a wrong way",
    ExitStatus.TLS: "TLS failed",
    ExitStatus.LIMIT: "the answer exceeds a limit, or redirects go on without end",
    ExitStatus.HTTP_STATUS: "the server answered 400 or above (with --fail)",
    ExitStatus.OUTPUT: "the output could not be written",
    ExitStatus.PROXY: "a proxy failed or refused",
    ExitStatus.INPUT: "a file to send could not be read",
    ExitStatus.INTERRUPTED: "interrupted",
    ExitStatus.PIPE_CLOSED: "the reader of the output has gone",
}

# The first class that fits decides.
_BY_ERROR: Final[tuple[tuple[type[errors.TurbosockError], ExitStatus], ...]] = (
    (errors.InvalidOption, ExitStatus.USAGE),
    (errors.AuditError, ExitStatus.USAGE),
    (errors.DeadlineError, ExitStatus.TIMEOUT),
    (errors.ResolveError, ExitStatus.RESOLVE),
    (errors.ConnectError, ExitStatus.CONNECT),
    (errors.ProxyError, ExitStatus.PROXY),
    (errors.NetworkError, ExitStatus.NETWORK),
    (errors.ProtocolError, ExitStatus.PROTOCOL),
    (errors.TlsError, ExitStatus.TLS),
    (errors.LimitError, ExitStatus.LIMIT),
    (errors.TooManyRedirects, ExitStatus.LIMIT),
    (errors.RedirectError, ExitStatus.PROTOCOL),
    (errors.StatusError, ExitStatus.HTTP_STATUS),
    (errors.Cancelled, ExitStatus.INTERRUPTED),
)

# Of WebSockets that ended in another way than in good order.
_BY_ORIGIN: Final = {
    errors.Origin.PROTOCOL: ExitStatus.PROTOCOL,
    errors.Origin.LIMIT: ExitStatus.LIMIT,
    errors.Origin.TIMEOUT: ExitStatus.TIMEOUT,
}


def status_of(error: errors.TurbosockError) -> ExitStatus:
    """The exit status that tells of `error`."""
    if isinstance(error, errors.WriteError) and error.origin is errors.Origin.LOCAL:
        # Not the connection, but what was to be written to it.
        return ExitStatus.INPUT
    if isinstance(error, errors.WebSocketClosed):
        return _BY_ORIGIN.get(error.origin, ExitStatus.NETWORK)
    for kind, status in _BY_ERROR:
        if isinstance(error, kind):
            return status
    return ExitStatus.FAILED


def table() -> str:
    """Every status with its meaning, a line each, for `--help`."""
    return "\n".join(f"  {status.value:>3}  {MEANINGS[status]}" for status in ExitStatus)
