"""A server of event streams, for `sse_stream`, `sse_latency` and `sse_reconnect`.

It says its port, and ends with its input. What it sends, the path says:

- /burst/COUNT: so many events of 100 bytes, as fast as they are taken, in chunks of some 16 KiB.
- /paced/COUNT/MICROSECONDS: so many, that long apart, each of which says when it was sent, by the clock of the machine.
- /reset: one event, which says when the connection before this one was reset; then this one is.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import threading
import time

EVENT_BYTES = 100
EVENTS_A_CHUNK = 160
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
# Before a reset, so that its client waits for more and not for the first event.
PAUSE_S = 0.005


def event(text: bytes) -> bytes:
    """An event of EVENT_BYTES that begins with `text`."""
    return b"data: " + text.ljust(EVENT_BYTES - 8, b".") + b"\n\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class EventServer:
    """What its connections share."""

    def __init__(self) -> None:
        self.last_reset_ns = 0
        self._whole = chunk(event(b"burst") * EVENTS_A_CHUNK)

    def serve(self) -> None:
        """The whole life of the process."""
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            print(listener.getsockname()[1], flush=True)
            while True:
                ready, _, _ = select.select([listener, sys.stdin], [], [])
                if sys.stdin in ready and not os.read(sys.stdin.fileno(), 1):
                    return
                if listener in ready:
                    client, _ = listener.accept()
                    threading.Thread(target=self.answer, args=(client,), daemon=True).start()

    def answer(self, client: socket.socket) -> None:
        """Answer one connection's requests, until its client goes."""
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        try:
            with client:
                while True:
                    while b"\r\n\r\n" not in received:
                        data = client.recv(65536)
                        if not data:
                            return
                        received += data
                    head, _, received = received.partition(b"\r\n\r\n")
                    kind, *numbers = head.split(b" ")[1].strip(b"/").split(b"/")
                    client.sendall(HEAD)
                    if kind == b"burst":
                        self.burst(client, int(numbers[0]))
                    elif kind == b"paced":
                        self.paced(client, int(numbers[0]), int(numbers[1]) / 1e6)
                    else:
                        self.reset(client)
                        return
                    client.sendall(LAST_CHUNK)
        except ConnectionError:
            # It has what it wanted.
            return

    def burst(self, client: socket.socket, count: int) -> None:
        for _ in range(count // EVENTS_A_CHUNK):
            client.sendall(self._whole)
        if count % EVENTS_A_CHUNK:
            client.sendall(chunk(event(b"burst") * (count % EVENTS_A_CHUNK)))

    def paced(self, client: socket.socket, count: int, pause_s: float) -> None:
        for _ in range(count):
            time.sleep(pause_s)
            client.sendall(chunk(event(b"%d " % time.monotonic_ns())))

    def reset(self, client: socket.socket) -> None:
        client.sendall(chunk(event(b"%d " % self.last_reset_ns)))
        time.sleep(PAUSE_S)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.last_reset_ns = time.monotonic_ns()


if __name__ == "__main__":
    EventServer().serve()
