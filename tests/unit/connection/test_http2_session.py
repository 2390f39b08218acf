"""A client's session: the places that it has to give, whatever its peer says last."""

from __future__ import annotations

import socket

from support.http2 import settings
from turbosock.connection.http2_session import Http2Session
from turbosock.connection.http2_stream import Http2Stream
from turbosock.connection.receive_ring import RingPool
from turbosock.transport.transport import SaeaTransport


class Eager(Http2Session):
    """Sends at once."""

    def make_stream(self) -> Http2Stream:
        return Http2Stream(self)

    def flush_soon(self) -> None:
        self.flush()


def test_session_whose_peer_told_its_settings_and_left_gives_no_place() -> None:
    ours, theirs = socket.socketpair()
    rings = RingPool(diagnostics=True)
    session = Eager(SaeaTransport(ours), rings, "http")
    session.begin()
    # The acknowledgement finds nobody, in the pass that brings a new number of places.
    theirs.send(settings((3, 7)))
    theirs.close()
    session.transport.readable = True
    session.receive()
    assert session.closed
    assert session.places == 0 and session.vacate() is None
    stats = rings.stats()
    assert stats.made == stats.idle
