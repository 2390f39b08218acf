"""Whether the kernel encrypts (kTLS): asked of the kernel itself, not guessed from what was requested.

Linux answers getsockopt(SOL_TLS, TLS_TX or TLS_RX) with four bytes, version and cipher and no key, where that direction
is the kernel's (net/tls/tls_main.c), and with an error otherwise. Other systems are not asked.
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Final

SOL_TLS: Final = 282
TLS_TX: Final = 1
TLS_RX: Final = 2
# SSL_OP_ENABLE_KTLS of OpenSSL 3.0 and later; the interpreter names it from Python 3.12 on.
OP_ENABLE_KTLS: Final = 0x8

OFF: Final = "off"
ACTIVE: Final = "active"
SENDING: Final = "sending only"
RECEIVING: Final = "receiving only"
INACTIVE: Final = "requested, not active"
UNKNOWN: Final = "requested, not known"


def is_offloaded(sock: socket.socket, direction: int) -> bool:
    """Whether the kernel has the keys of one direction of `sock`."""
    try:
        header = sock.getsockopt(SOL_TLS, direction, 4)
    except OSError:
        return False
    return len(header) == 4 and struct.unpack("=HH", header) != (0, 0)


def state(sock: socket.socket, requested: bool) -> str:
    """Return the word for `TlsInfo.ktls`."""
    if not requested:
        return OFF
    if sys.platform != "linux":
        return UNKNOWN
    sending, receiving = is_offloaded(sock, TLS_TX), is_offloaded(sock, TLS_RX)
    if sending and receiving:
        return ACTIVE
    if sending:
        return SENDING
    return RECEIVING if receiving else INACTIVE
