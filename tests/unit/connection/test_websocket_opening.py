"""OpeningConnection: a request that opens a WebSocket has a key that was never sent before, and is otherwise itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from support.scripted_transport import ScriptedTransport
from turbosock.connection.receive_ring import RingPool
from turbosock.connection.websocket_opening import OpeningConnection
from turbosock.protocol.http1.head import ResponseHead
from turbosock.transport.transport import Transport

HEAD = b"GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nX: y\r\n\r\n"
ANSWER = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"


def opening(*incoming: bytes) -> tuple[OpeningConnection, ScriptedTransport]:
    transport = ScriptedTransport(incoming, ())
    return OpeningConnection(cast(Transport, transport), RingPool()), transport


@dataclass(frozen=True)
class Known:
    """Knows the head that an equal request was answered with last."""

    expected: ResponseHead | None


def test_each_request_of_a_connection_has_a_new_key() -> None:
    connection, transport = opening(ANSWER, ANSWER)
    keys = []
    for _ in range(2):
        before = len(transport.sent)
        connection.start("GET", HEAD)
        keys.append(connection.key)
        assert bytes(transport.sent[before:]) == HEAD.replace(b"AAAAAAAAAAAAAAAAAAAAAA==", connection.key)
        assert connection.read_head() is not None
        assert connection.finish()
    assert len(set(keys)) == 2 and all(len(key) == 24 for key in keys)


def test_request_without_a_key_is_sent_as_it_is() -> None:
    connection, transport = opening(ANSWER)
    head = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    connection.start("GET", head)
    assert bytes(transport.sent) == head and connection.key == b""


def test_answer_is_never_recognised_by_its_bytes() -> None:
    connection, _ = opening(ANSWER, ANSWER)
    connection.start("GET", HEAD)
    first = connection.read_head()
    connection.finish()
    connection.start("GET", HEAD, None, Known(first))
    assert connection.read_head() is not first
