"""OriginPool with sessions of HTTP/2: what the pool may rely on while one comes, changes and goes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from turbosock.config import PoolConfig
from turbosock.connection.http2_session import Http2Session
from turbosock.pool.connection_pool import ConnectionPool
from turbosock.pool.origin_pool import OriginKey, OriginPool


class FakeSession:
    """What a pool does with a session, written down."""

    def __init__(self, origin: OriginPool, *, fails: bool = False) -> None:
        self.closed = False
        self.places = 100
        self.place: object = None
        self.origin: object = None
        self.known_at_begin: bool | None = None
        self.dialling_at_begin: bool | None = None
        self._pool = origin
        self._fails = fails
        self.transport = SimpleNamespace(bytes_in=0.0, bytes_out=0.0)

    def vacate(self) -> object:
        return object()

    def begin(self) -> None:
        self.known_at_begin = self in cast(list[Any], self._pool.sessions)
        self.dialling_at_begin = self._pool.dialling
        if self._fails:
            self.closed = True
            self._pool.leave_session(cast(Http2Session, self))
            self._pool.session_ended(cast(Http2Session, self))


def origin_of(alpn: tuple[str, ...] = ("h2", "http/1.1")) -> OriginPool:
    return ConnectionPool(PoolConfig(), alpn).origin(OriginKey("https", "h", 443))


def test_session_says_hello_before_others_find_it() -> None:
    origin = origin_of()
    place = origin.reserve()
    assert place is not None
    session = FakeSession(origin)
    origin.opened_session(cast(Http2Session, session), place, 1)
    assert session.known_at_begin is False, "a stream of another thread could come before the preface"
    assert session.dialling_at_begin is True, "another thread would dial for want of the session"
    assert not origin.dialling
    assert cast(list[Any], origin.sessions) == [session]


def test_session_that_ends_in_its_hello_is_counted_no_more() -> None:
    origin = origin_of()
    place = origin.reserve()
    assert place is not None
    origin.opened_session(cast(Http2Session, FakeSession(origin, fails=True)), place, 1)
    assert not origin.sessions
    stats = origin._pool.stats()
    assert (stats.open, stats.in_use, stats.dialling) == (0, 0, 0)
