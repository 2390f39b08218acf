"""What the kernel says about kTLS, with a kernel of our own."""

from __future__ import annotations

import socket
import struct
import sys
from typing import cast

import pytest

from turbosock.tls import ktls

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked")


class Kernel:
    """A socket whose kernel encrypts in some directions."""

    def __init__(self, *directions: int) -> None:
        self.directions = directions

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        # Four bytes are the version and the cipher; more would hold the key.
        assert (level, size) == (ktls.SOL_TLS, 4)
        if option not in self.directions:
            raise OSError(16, "Device or resource busy")
        return struct.pack("=HH", 0x0304, 52)


@pytest.mark.parametrize(
    ("directions", "word"),
    [
        ((), "requested, not active"),
        ((ktls.TLS_TX,), "sending only"),
        ((ktls.TLS_RX,), "receiving only"),
        ((ktls.TLS_TX, ktls.TLS_RX), "active"),
    ],
)
def test_state_is_what_the_kernel_has_keys_for(directions: tuple[int, ...], word: str) -> None:
    sock = cast(socket.socket, Kernel(*directions))
    assert ktls.state(sock, True) == word
    assert ktls.state(sock, False) == "off"


def test_state_of_a_plain_socket_is_not_active() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert ktls.state(near, True) == "requested, not active"
