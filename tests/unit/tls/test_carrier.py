"""A socket as a carrier: the codes and errors of a TLS session."""

from __future__ import annotations

import socket

import pytest

from turbosock.errors import ReadError, WriteError
from turbosock.tls import WANTS_READ, WANTS_WRITE
from turbosock.tls.carrier import SocketCarrier


def test_socket_carrier_moves_bytes_and_says_what_it_waits_for() -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        carrier = SocketCarrier(near)
        buffer = bytearray(9)
        assert carrier.recv_into(buffer, 9) == WANTS_READ
        far.sendall(b"answer")
        assert carrier.recv_into(memoryview(buffer), 3) == 3
        assert carrier.recv_into(buffer, 9) == 3
        assert buffer[:3] == b"wer"
        assert carrier.send(b"question") == 8
        assert far.recv(99) == b"question"
        while (sent := carrier.send(bytes(1 << 16))) > 0:
            pass
        assert sent == WANTS_WRITE
        assert (carrier.pending(), carrier.hides(), carrier.close_notify()) == (0, False, 0)
        carrier.close()
        carrier.close()
        assert near.fileno() < 0


def test_socket_carrier_translates_what_the_system_says() -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near:
        carrier = SocketCarrier(near)
        far.close()
        assert carrier.recv_into(bytearray(1), 1) == 0
        with pytest.raises(WriteError, match="writing failed"):
            carrier.send(b"x")
    with pytest.raises(ReadError, match="reading failed"):
        carrier.recv_into(bytearray(1), 1)
