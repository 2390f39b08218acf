"""A server that takes the whole of every body and throws it away without looking at it, for `upload_file`.

It says its port, and ends with its input. The kernel drops the bytes (MSG_TRUNC, tcp(7)), so that no copy of them is
made, and the answer comes when the last one is there: a server that answers sooner would have clients break off.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
PIECE = 4 * 1024 * 1024


def serve() -> None:
    """The whole life of the process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready and not os.read(sys.stdin.fileno(), 1):
                return
            if listener in ready:
                client, _ = listener.accept()
                threading.Thread(target=swallow, args=(client,), daemon=True).start()


def swallow(client: socket.socket) -> None:
    """Answer one connection's requests, each when its body is there."""
    with client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        untouched = bytearray(PIECE)
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                data = client.recv(65536)
                if not data:
                    return
                received += data
            head, _, rest = received.partition(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            left = int(fields.get(b"content-length", b"0")) - len(rest)
            received = b""
            while left > 0:
                count = client.recv_into(untouched, min(left, PIECE), socket.MSG_TRUNC)
                if not count:
                    return
                left -= count
            client.sendall(ANSWER)


if __name__ == "__main__":
    serve()
