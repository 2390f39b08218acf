"""A server in a process of its own whose answers say which request they belong to.

The path of a request is /label/length, or /label/length/chunked; the answer carries the label in `X-Label` and a body
of `length` bytes made of the label, so that an answer that reached another request shows. A body that comes with the
request is read first, and its length said in `X-Received`.

In a process of its own, so that what a test does to its interpreter (failing calls, failing allocations, traces, counts
of descriptors) concerns the client alone. Run as a program it says its port and serves until its input ends.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

RECEIVE_BYTES = 65_536
STOP_S = 10.0


def body_of(label: str, length: int) -> bytes:
    """The body of an answer to a request of this label."""
    unit = f"<{label}>".encode()
    return (unit * (length // len(unit) + 1))[:length]


class LabelledServer(NamedTuple):
    """A running server."""

    scheme: str
    port: int

    def url(self, label: str, length: int, *, chunked: bool = False) -> str:
        """What to ask for."""
        return f"{self.scheme}://127.0.0.1:{self.port}/{label}/{length}{'/chunked' if chunked else ''}"


@contextlib.contextmanager
def labelled_server(certificate: Path | None = None) -> Iterator[LabelledServer]:
    """Run a server for the length of a with block; with a certificate and its key in one file, over TLS."""
    arguments = [] if certificate is None else [str(certificate)]
    process = subprocess.Popen(
        [sys.executable, __file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process, process.stdin, process.stdout:
        port = int(process.stdout.readline())
        yield LabelledServer("http" if certificate is None else "https", port)
        process.stdin.close()
        process.wait(STOP_S)


def _serve(connection: socket.socket, context: ssl.SSLContext | None) -> None:
    with contextlib.suppress(OSError, ValueError), connection:
        if context is None:
            _answer_all(connection)
        else:
            with context.wrap_socket(connection, server_side=True) as secured:
                _answer_all(secured)


def _answer_all(connection: socket.socket) -> None:
    received = b""
    while True:
        while b"\r\n\r\n" not in received:
            data = connection.recv(RECEIVE_BYTES)
            if not data:
                return
            received += data
        head, _, received = received.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        expected = sum(int(field.split(":")[1]) for field in fields if field.lower().startswith("content-length:"))
        while len(received) < expected:
            data = connection.recv(RECEIVE_BYTES)
            if not data:
                return
            received += data
        received = received[expected:]
        _, label, length, *shape = line.split(" ")[1].split("/")
        body = body_of(label, int(length))
        answer = f"HTTP/1.1 200 OK\r\nX-Label: {label}\r\nX-Received: {expected}\r\n".encode()
        if shape:
            half = len(body) // 2
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:half], body[half:]) if piece)
            answer += b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        else:
            answer += b"Content-Length: %d\r\n\r\n" % len(body) + body
        connection.sendall(answer)


def _main(arguments: list[str]) -> None:
    context = None
    if arguments:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments[0])
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            # An answer in two segments would wait for the acknowledgement of the first.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_serve, args=(connection, context), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    _main(sys.argv[1:])
