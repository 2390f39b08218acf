"""Peers in memory that play a script, for counting instructions: what they cost is little, and the same each time.

They read no more of what they are sent than their script needs: that it is right is shown by tests, not here.
"""

from __future__ import annotations

import base64
import hashlib
import struct

from task import BODY_BYTES
from turbosock.testing.memory_peer import MemoryPeer
from turbosock.testing.memory_socket import MemorySocket

_FIELDS = b"Server: memory\r\nContent-Type: text/plain\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (_FIELDS, BODY_BYTES, b"x" * BODY_BYTES)
EVENT_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
PIECE_BYTES = 16 * 1024

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADER = struct.Struct(">BHBBL")
_WORD = struct.Struct(">L")
_DATA, _HEADERS, _SETTINGS, _WINDOW_UPDATE = 0, 1, 4, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_DEFAULT_WINDOW = 65_535
_INITIAL_WINDOW_SIZE = 4
# :status 200 and content-type: text/plain (RFC 7541 appendix A), neither put into the table.
_FIELD_BLOCK = b"\x88\x0f\x10\x0atext/plain"

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_AGREED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "


class EventsPeer(MemoryPeer):
    """Answers every request with one stream of these events, in pieces, and leaves the connection open."""

    def __init__(self, events: bytes) -> None:
        self._pieces = [events[at : at + PIECE_BYTES] for at in range(0, len(events), PIECE_BYTES)]

    def on_bytes(self, sock: MemorySocket, data: bytes) -> None:
        sock.deliver(EVENT_HEAD)
        for piece in self._pieces:
            sock.deliver(piece)


class EchoPeer(MemoryPeer):
    """Opens every WebSocket, and answers each send with the same frame."""

    def __init__(self, frame: bytes) -> None:
        self._frame = frame

    def on_bytes(self, sock: MemorySocket, data: bytes) -> None:
        if sock.user is not None:
            sock.deliver(self._frame)
            return
        sock.user = self
        for line in data.split(b"\r\n"):
            name, _, value = line.partition(b": ")
            if name.lower() == b"sec-websocket-key":
                accept = base64.b64encode(hashlib.sha1(value + _GUID).digest())
                sock.deliver(_AGREED + accept + b"\r\n\r\n")


class Http2Peer(MemoryPeer):
    """Answers every stream with a body of so many bytes, as the client's windows allow; one stream has them at a time.

    A small body's frames go out together with its head; all that one send asks for is answered by one delivery.
    """

    def __init__(self, body_bytes: int = BODY_BYTES) -> None:
        self._body_bytes = body_bytes

    def on_connected(self, sock: MemorySocket) -> None:
        sock.user = _Http2Side(self._body_bytes)
        sock.deliver(_frame(_SETTINGS, 0, 0))

    def on_bytes(self, sock: MemorySocket, data: bytes) -> None:
        side = sock.user
        assert isinstance(side, _Http2Side)
        answer = side.answer(data)
        if answer:
            sock.deliver(answer)


class _Http2Side:
    """One connection: what of bodies is still to be sent, and what may be."""

    def __init__(self, body_bytes: int) -> None:
        self._body_bytes = body_bytes
        self._payload = b"x" * min(body_bytes, PIECE_BYTES)
        self._initial_window = _DEFAULT_WINDOW
        self._window = _DEFAULT_WINDOW
        self._windows: dict[int, int] = {}
        self._left: dict[int, int] = {}

    def answer(self, data: bytes) -> bytes:
        """What is to be sent when these whole frames have come."""
        out: list[bytes] = []
        at = len(_PREFACE) if data.startswith(_PREFACE) else 0
        while at < len(data):
            high, low, kind, flags, stream = _HEADER.unpack_from(data, at)
            at += _HEADER.size
            size = high << 16 | low
            if kind == _HEADERS:
                self._windows[stream] = self._initial_window
                self._left[stream] = self._body_bytes
                out.append(_frame(_HEADERS, _END_HEADERS, stream, _FIELD_BLOCK))
            elif kind == _SETTINGS and not flags & _ACK:
                for place in range(at, at + size, 6):
                    name, value = struct.unpack_from(">HL", data, place)
                    if name == _INITIAL_WINDOW_SIZE:
                        self._initial_window = value
                out.append(_frame(_SETTINGS, _ACK, 0))
            elif kind == _WINDOW_UPDATE:
                (more,) = _WORD.unpack_from(data, at)
                if not stream:
                    self._window += more
                elif stream in self._windows:
                    self._windows[stream] += more
            at += size
        for stream in tuple(self._left):
            self._send(stream, out)
        return b"".join(out)

    def _send(self, stream: int, out: list[bytes]) -> None:
        while True:
            size = min(self._left[stream], self._window, self._windows[stream], PIECE_BYTES)
            if not size:
                return
            self._window -= size
            self._windows[stream] -= size
            self._left[stream] -= size
            whole = not self._left[stream]
            payload = self._payload if size == len(self._payload) else self._payload[:size]
            out.append(_frame(_DATA, _END_STREAM if whole else 0, stream, payload))
            if whole:
                del self._left[stream], self._windows[stream]
                return


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    return _HEADER.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload
