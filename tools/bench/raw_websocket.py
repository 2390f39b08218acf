"""As much of the WebSocket protocol as senders of prepared frames need: nobody is to wait for who generates a load."""

from __future__ import annotations

import base64
import hashlib
import socket

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
_ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
BINARY = 0x82
CLOSE = 0x88


def header(first: int, size: int, mask_bit: int) -> bytes:
    """The beginning of a frame, without a key."""
    if size < 126:
        return bytes((first, mask_bit | size))
    if size < 65536:
        return bytes((first, mask_bit | 126)) + size.to_bytes(2, "big")
    return bytes((first, mask_bit | 127)) + size.to_bytes(8, "big")


def masked_frame(payload: bytes, key: bytes = b"\x12\x34\x56\x78", first: int = BINARY) -> bytes:
    """A client's frame."""
    repeated = (key * (len(payload) // 4 + 1))[: len(payload)]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return header(first, len(payload), 0x80) + key + masked.to_bytes(len(payload), "big")


def plain_frame(payload: bytes, first: int = BINARY) -> bytes:
    """A server's frame."""
    return header(first, len(payload), 0) + payload


def read_head(sock: socket.socket) -> bytes:
    """An HTTP head, alone: nobody here sends anything behind one before it is answered.

    Raises:
        ConnectionError: the peer has gone.
    """
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = sock.recv(65536)
        if not data:
            raise ConnectionError("the peer has gone in the middle of the handshake")
        head += data
    return head


def ask_as_client(sock: socket.socket, port: int) -> None:
    """Begin to shake hands with a server."""
    sock.sendall(
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n\r\n" % (port, _KEY)
    )


def open_as_client(sock: socket.socket, port: int, *, asked: bool = False) -> None:
    """Shake hands with a server, which must agree; `asked`: that was done before."""
    if not asked:
        ask_as_client(sock, port)
    head = read_head(sock)
    if not head.startswith(b"HTTP/1.1 101 "):
        raise RuntimeError(f"the server answered {head[:80]!r}")


def open_as_server(sock: socket.socket) -> None:
    """Shake hands with a client, whatever it asks for."""
    for line in read_head(sock).split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            accept = base64.b64encode(hashlib.sha1(value.strip() + _GUID).digest())
            sock.sendall(_ACCEPTED + accept + b"\r\n\r\n")
            return
    raise RuntimeError("the client sent no Sec-WebSocket-Key")


def payload_of(frame: bytes) -> tuple[int, bytes]:
    """(size of the whole frame, payload) of a client's first frame; a size of 0: more of it is to come."""
    if len(frame) < 14 and len(frame) < 6 + (frame[1] & 0x7F if len(frame) > 1 else 125):
        return 0, b""
    size, at = frame[1] & 0x7F, 2
    if size >= 126:
        at = 4 if size == 126 else 10
        size = int.from_bytes(frame[2:at], "big")
    stop = at + 4 + size
    if len(frame) < stop:
        return 0, b""
    repeated = (frame[at : at + 4] * (size // 4 + 1))[:size]
    masked = int.from_bytes(frame[at + 4 : stop], "big")
    return stop, (masked ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
