"""`local_address=`: from which address of this machine connections leave, checked and in one form.

One IP address, or a pair of address and port, for destinations of its family; or several of them, one for each family.
With an address of one family alone, destinations of the other are not connected to: who chooses a way out does not
want another one taken. "0.0.0.0" and "::" thus mean a family alone.
"""

from __future__ import annotations

import socket

from turbosock.errors import InvalidOption

# As it is kept: an address without brackets, perhaps with a zone, and a port or 0 for any.
LocalAddress = tuple[str, int]
LocalAddressArgument = str | tuple[str, int] | tuple["str | tuple[str, int]", ...] | list["str | tuple[str, int]"]


def checked_local_addresses(value: object) -> tuple[LocalAddress, ...]:
    """What `local_address=value` means: at most one address of each family.

    Raises:
        InvalidOption: it is something else.
    """
    if value is None:
        return ()
    single = isinstance(value, str) or (
        isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and not isinstance(value[1], str)
    )
    given = [value] if single else value
    if not isinstance(given, (tuple, list)):
        raise _refused(value)
    addresses = tuple(_checked(one) for one in given)
    if len({_family(host) for host, _ in addresses}) != len(addresses):
        raise InvalidOption("local_address: two of one family; give one IPv4 and one IPv6 address at most")
    return addresses


def _checked(value: object) -> LocalAddress:
    if isinstance(value, str):
        value = (value, 0)
    if not isinstance(value, tuple) or len(value) != 2:
        raise _refused(value)
    host, port = value
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65_535:
        raise InvalidOption(f"local_address: the port {port!r} is not an int from 0 to 65535")
    if not isinstance(host, str) or _family(host) is None:
        raise _refused(host)
    return host, port


def _family(host: str) -> int | None:
    """AF_INET or AF_INET6, or None for what is no address."""
    address, mark, zone = host.partition("%")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if mark and (family == socket.AF_INET or not zone or not zone.isprintable()):
        return None
    try:
        socket.inet_pton(family, address)
    except (OSError, ValueError):
        return None
    return family


def _refused(value: object) -> InvalidOption:
    shown = repr(value) if isinstance(value, str) else f"a {type(value).__name__}"
    return InvalidOption(
        f"local_address: {shown} was given; give an IP address of this machine such as '192.0.2.7', a pair of one and "
        "a port, or one for each family in a list"
    )
