"""Bad peers of a WebSocket: each broken rule ends it with the right code on the wire and the right error, in bounds."""

from __future__ import annotations

import pytest

from support.scripted_server import (
    scripted,
    send,
)
from support.websocket_server import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    Frame,
    accept,
    close_frame,
    note_until_close,
    server_frame,
)
from support.websocket_stage import WebSocketStage
from turbosock import (
    WebSocketClosed,
)
from turbosock.errors import Origin

BAD: dict[str, tuple[bytes, int]] = {
    "reserved bit 1": (server_frame(TEXT, b"x", rsv=4), 1002),
    "reserved bit 2": (server_frame(TEXT, b"x", rsv=2), 1002),
    "reserved bit 3": (server_frame(BINARY, b"x", rsv=1), 1002),
    "reserved opcode 3": (server_frame(3), 1002),
    "reserved opcode 11": (server_frame(11), 1002),
    "masked": (b"\x81\x81\1\2\3\4x", 1002),
    "stray continuation": (server_frame(CONTINUATION, b"x"), 1002),
    "message inside a message": (server_frame(TEXT, b"x", fin=False) + server_frame(TEXT, b"x"), 1002),
    "fragmented ping": (server_frame(PING, fin=False), 1002),
    "long ping": (b"\x89\x7e\x00\x7e" + bytes(126), 1002),
    "long length in more bytes than needed": (b"\x82\x7e\x00\x7d" + bytes(125), 1002),
    "length of 2**63": (b"\x82\x7f\x80" + bytes(7), 1002),
    "huge length": (b"\x82\x7f\x7f" + b"\xff" * 7, 1009),
    "too long": (server_frame(BINARY, bytes(1001)), 1009),
    "too long in fragments": (
        server_frame(BINARY, bytes(600), fin=False) + server_frame(CONTINUATION, bytes(600)),
        1009,
    ),
    "text that is not UTF-8": (server_frame(TEXT, b"\xff"), 1007),
    "text that is cut": (server_frame(TEXT, "é".encode()[:1]), 1007),
    "text with half a surrogate pair": (server_frame(TEXT, b"\xed\xa0\x80"), 1007),
    "bad text in a fragment": (server_frame(TEXT, b"\xc0\x80", fin=False), 1007),
    "close with one byte": (server_frame(CLOSE, b"\x03"), 1002),
    "close with a code that never travels": (close_frame(1006), 1002),
    "close with an unassigned code": (close_frame(1016), 1002),
    "close with a reason that is not UTF-8": (close_frame(1000, b"\xff"), 1007),
    "not WebSocket at all": (b"HTTP/1.1 400 Bad Request\r\n\r\n", 1002),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_frame_ends_it_with_the_code_that_says_so(stage: WebSocketStage, name: str) -> None:
    data, code = BAD[name]
    seen: list[Frame] = []
    # The peer is slow to hear: bytes of its own are still on their way when the Close is sent.
    with stage.open(send(data + bytes(1000)), note_until_close(seen), max_message=1000) as ws:
        with pytest.raises(WebSocketClosed) as caught:
            ws.recv(timeout=5)
        with pytest.raises(WebSocketClosed):
            ws.recv()
        with pytest.raises(WebSocketClosed):
            ws.send("x")
    assert [(opcode, payload[:2]) for opcode, payload in seen] == [(CLOSE, code.to_bytes(2, "big"))]
    assert caught.value.close_code == code and not caught.value.clean
    assert caught.value.origin is (Origin.LIMIT if code == 1009 else Origin.PROTOCOL)


def test_bomb_is_refused_before_it_goes_off(stage: WebSocketStage) -> None:
    import zlib

    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(stream.compress(bytes(1 << 20)) for _ in range(100)) + stream.flush(zlib.Z_SYNC_FLUSH)[:-4]
    seen: list[Frame] = []
    extension = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
    script = stage.script(accept(extension), send(server_frame(BINARY, bomb, rsv=4)), note_until_close(seen))
    with scripted(script) as server:
        client = stage.client()
        with client.websocket(stage.url(server), deflate=True) as ws, pytest.raises(WebSocketClosed) as caught:
            ws.recv(timeout=5)
    assert caught.value.close_code == 1009 and caught.value.origin is Origin.LIMIT
    assert seen[0][1][:2] == (1009).to_bytes(2, "big")
    assert client.buffers.stats().missed < 20


def test_million_empty_fragments_end_within_the_time_given(plain: WebSocketStage) -> None:
    fragments = server_frame(TEXT, fin=False) + server_frame(CONTINUATION, fin=False) * 200_000
    with plain.open(send(fragments), note_until_close([])) as ws, pytest.raises(WebSocketClosed) as caught:
        ws.recv(timeout=8)
    assert caught.value.close_code == 1008
