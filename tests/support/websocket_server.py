"""Scripted WebSocket servers: steps of `scripted_server` that shake hands, send frames, and look at what came.

Nothing of the library is used: what a client masks is unmasked here byte by byte.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

from support.scripted_server import STEP_DEADLINE_S, Peer, Step, Stopped, read_head, send
from support.websocket import frame, masked

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Frame = tuple[int, bytes]


def server_frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """A frame as servers send them."""
    return frame(opcode, payload, fin=fin, key=None, rsv=rsv)


def close_frame(code: int = 1000, reason: bytes = b"") -> bytes:
    """A server's Close."""
    return server_frame(CLOSE, code.to_bytes(2, "big") + reason)


def fields_of(head: bytes) -> dict[bytes, bytes]:
    """The fields of a request's head, by names in lower case."""
    lines = head.split(b"\r\n")[1:-2]
    return {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}


def agreement(head: bytes, extra: bytes = b"", *, key: bytes | None = None) -> bytes:
    """The 101 that answers a request's head; `extra` are further lines."""
    key = fields_of(head)[b"sec-websocket-key"] if key is None else key
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n" + extra + b"\r\n"
    )


def accept(extra: bytes = b"", behind: bytes = b"") -> Step:
    """Open the WebSocket; `behind` are bytes that come with the head."""

    def step(peer: Peer) -> None:
        read_head(peer)
        send(agreement(peer.server.requests[-1], extra) + behind)(peer)

    return step


def take_frame(peer: Peer) -> tuple[int, int, bytes]:
    """The next frame of the client: its first byte, its opcode, and its payload."""
    first, second = peer.take(2)
    assert second & 0x80, "a client masks"
    n = second & 0x7F
    if n >= 126:
        n = int.from_bytes(peer.take(2 if n == 126 else 8), "big")
    key = peer.take(4)
    return first, first & 0x0F, masked_fast(take_long(peer, n), key)


def take_long(peer: Peer, count: int) -> bytes:
    """As `peer.take`, in a time that does not grow with the square of the count."""
    taken = bytearray(peer.received)
    while len(taken) < count:
        data = peer.receive()
        if not data:
            raise Stopped
        taken += data
    peer.received = bytes(taken[count:])
    return bytes(taken[:count])


def masked_fast(payload: bytes, key: bytes) -> bytes:
    """As `masked`, for long payloads."""
    if len(payload) < 4096:
        return masked(payload, key)
    repeated = key * (len(payload) // 4 + 1)
    mask = int.from_bytes(repeated[: len(payload)], "big")
    return (int.from_bytes(payload, "big") ^ mask).to_bytes(len(payload), "big")


def note_frame(seen: list[Frame]) -> Step:
    """Read a frame, and note opcode and payload."""

    def step(peer: Peer) -> None:
        _, opcode, payload = take_frame(peer)
        seen.append((opcode, payload))

    return step


def expect_silence(peer: Peer) -> None:
    """Fail where a byte comes within a moment."""
    peer.socket.settimeout(0.3)
    try:
        came = peer.received or peer.socket.recv(1)
    except TimeoutError:
        came = b""
    peer.socket.settimeout(STEP_DEADLINE_S)
    assert not came, came


def note_until_close(seen: list[Frame]) -> Step:
    """Read frames up to and including a Close, and note them."""

    def step(peer: Peer) -> None:
        while not seen or seen[-1][0] != CLOSE:
            note_frame(seen)(peer)

    return step


def send_frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> Step:
    """Send a frame."""
    return send(server_frame(opcode, payload, fin=fin))


def echo(peer: Peer) -> None:
    """Send messages back, answer Pings, and close when told to."""
    while True:
        first, opcode, payload = take_frame(peer)
        if opcode == PING:
            send(server_frame(PONG, payload))(peer)
        elif opcode == CLOSE:
            send(server_frame(CLOSE, payload))(peer)
            return
        elif opcode != PONG:
            send(server_frame(opcode, payload, fin=first >= 0x80, rsv=first >> 4 & 7))(peer)


def answer_close(peer: Peer) -> None:
    """Read up to a Close, answer it, and end the connection, as servers do."""
    while True:
        _, opcode, payload = take_frame(peer)
        if opcode == CLOSE:
            send(server_frame(CLOSE, payload[:2]))(peer)
            return


Check = Callable[[Peer], None]
