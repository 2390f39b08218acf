"""`host_map=`: hosts that are connected to elsewhere, as curl's --connect-to and --resolve do.

    {"example.com": "127.0.0.1:8443", "*.dev": "127.0.0.1", "api.example:443": "/run/api.sock"}

The URL's own host stays in the Host field, in TLS (SNI, verification) and in cookies; only where the connection leads
changes. A pattern is a host, `*.` and a host for every name below it, or `*` for all, each with a port or for any. A
target is a host or an address, with a port or keeping the URL's, or the path of a Unix socket ("/path", "unix:path").

Invariant: the narrowest pattern decides: the host itself, then the longest wildcard; of two equally narrow ones the one
with the port. What a target names is not mapped again. A host's final dot does not matter.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping

from turbosock import limits
from turbosock.errors import InvalidOption, InvalidUrl
from turbosock.host_port import split_host_port

HostMapArgument = Mapping[str, str] | Iterable[tuple[str, str]]

# Host and port, 0 for the URL's own; or the path of a Unix socket.
_Target = tuple[str, int] | str


class HostMap:
    """Patterns and targets, checked.

    Args:
        pairs: a mapping of pattern to target, or pairs of them.

    Attributes:
        pairs: what was given, as a tuple of pairs.

    Raises:
        InvalidOption: naming what is wrong with which pattern.
    """

    __slots__ = ("_targets", "pairs")

    def __init__(self, pairs: HostMapArgument) -> None:
        items = pairs.items() if isinstance(pairs, Mapping) else pairs
        try:
            self.pairs = tuple((pattern, target) for pattern, target in items)
        except (TypeError, ValueError) as error:
            raise InvalidOption("host_map: give a mapping of hosts to targets, or pairs of them") from error
        if len(self.pairs) > limits.MAX_HOST_MAPPINGS:
            raise InvalidOption(f"host_map: {len(self.pairs)} entries; at most {limits.MAX_HOST_MAPPINGS} are taken")
        # By host, or a dot and what follows a wildcard; "." is below nothing, and so every host.
        self._targets: dict[tuple[str, int], _Target] = {}
        for pattern, target in self.pairs:
            if not isinstance(pattern, str) or not isinstance(target, str):
                raise InvalidOption("host_map: patterns and targets are str, such as {'example.com': '127.0.0.1:8443'}")
            key = _pattern_key(pattern)
            if key in self._targets:
                raise InvalidOption(f"host_map: {pattern!r} stands there twice; leave one out")
            self._targets[key] = _target(pattern, target)

    def target(self, host: str, port: int) -> _Target | None:
        """Where a connection to `host` and `port` leads, (host, port) or a path; None: where the URL says.

        Args:
            host: as `split_host_port` gives it.
        """
        targets = self._targets
        if not targets:
            return None
        host = host.removesuffix(".")
        found = _either(targets, host, port)
        # An address has no names above it.
        at = -1 if ":" in host else host.find(".")
        while found is None and at >= 0:
            found = _either(targets, host[at:], port)
            at = host.find(".", at + 1)
        if found is None:
            found = _either(targets, ".", port)
        if found is None or isinstance(found, str):
            return found
        return found[0], found[1] or port


def _either(targets: dict[tuple[str, int], _Target], name: str, port: int) -> _Target | None:
    return targets.get((name, port)) or targets.get((name, 0))


def _pattern_key(pattern: str) -> tuple[str, int]:
    name, _, port_text = pattern.partition(":")
    if name == "*":
        # Any name does where the port is read.
        return ".", _split(f"any:{port_text}", pattern)[1]
    wildcard = pattern.startswith("*.")
    host, port = _split(pattern[2:] if wildcard else pattern, pattern)
    host = host.removesuffix(".")
    return ("." + host if wildcard else host), port


def _target(pattern: str, target: str) -> _Target:
    path = target.removeprefix("unix:")
    if path != target or target.startswith("/"):
        if not path or "\0" in path:
            raise InvalidOption(f"host_map: the target of {pattern!r} is no path of a Unix socket")
        return path
    host, port = _split(target, pattern)
    last_label = host.rpartition(".")[2]
    if (last_label.isdigit() or last_label.startswith("0x")) and not _is_ipv4(host):
        raise InvalidOption(
            f"host_map: the target of {pattern!r} is an IPv4 address in a form that is not its usual one"
        )
    return host, port


def _is_ipv4(host: str) -> bool:
    try:
        return len(socket.inet_pton(socket.AF_INET, host)) == 4
    except (OSError, ValueError):
        return False


def _split(text: str, pattern: str) -> tuple[str, int]:
    # An address without brackets, and so without a port.
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"
    try:
        return split_host_port(text, 0, "host_map")
    except InvalidUrl as error:
        raise InvalidOption(f"{error}; see its entry {pattern!r}") from error
