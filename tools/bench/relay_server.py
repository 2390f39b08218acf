"""A path with delay, for `h2_download_delayed`: `relay_server.py HOST PORT DELAY_S`.

It says its port, passes on to HOST:PORT what it is sent and back again, each byte DELAY_S after it came, and ends with
its input. It takes what comes at once and has room for more than can be under way: the path has a length and no width,
and only what the two ends agree on between themselves bounds what they send. TCP's own windows do not see the delay.
"""

from __future__ import annotations

import collections
import os
import select
import socket
import sys
import time

# What can be under way in one direction: 2.5 GB/s at a delay of 25 ms, more than TLS brings.
ROOM = 64 * 1024 * 1024
PIECE = 1024 * 1024
NS_PER_S = 1_000_000_000

_now_ns = time.monotonic_ns


class Way:
    """One direction of a connection: what came from `source` and is not yet with `sink`, in a ring.

    0 <= sent <= filled <= sent + ROOM, counted from the beginning of the stream.

    Attributes:
        dues: (when in ns, up to which byte) of what was not yet due when last looked at, the oldest first.
        due: up to which byte it is time to send.
        stuck: whether the sink's socket is full.
        heard_end: whether the source has ended.
        ended: whether the sink was told so.
    """

    __slots__ = ("delay_ns", "due", "dues", "ended", "filled", "heard_end", "sent", "sink", "source", "stuck", "view")

    def __init__(self, source: socket.socket, sink: socket.socket, delay_ns: int) -> None:
        self.source = source
        self.sink = sink
        self.delay_ns = delay_ns
        self.view = memoryview(bytearray(ROOM))
        self.dues: collections.deque[tuple[int, int]] = collections.deque()
        self.filled = self.due = self.sent = 0
        self.stuck = self.heard_end = self.ended = False

    @property
    def room(self) -> int:
        """How much can be taken."""
        return ROOM - (self.filled - self.sent)

    def take(self) -> None:
        """Take what has come."""
        start = self.filled % ROOM
        count = self.source.recv_into(self.view[start : start + min(self.room, PIECE)])
        self.filled += count
        self.heard_end = not count
        self.dues.append((_now_ns() + self.delay_ns, self.filled))

    def pass_on(self) -> None:
        """Send what is due, as far as the socket takes it."""
        now_ns, dues = _now_ns(), self.dues
        while dues and dues[0][0] <= now_ns:
            self.due = dues.popleft()[1]
        self.stuck = False
        while self.sent < self.due:
            start = self.sent % ROOM
            try:
                self.sent += self.sink.send(self.view[start : start + self.due - self.sent])
            except BlockingIOError:
                self.stuck = True
                return
        if self.heard_end and not dues and not self.ended:
            self.sink.shutdown(socket.SHUT_WR)
            self.ended = True


class Relay:
    """The connections of this process, in one epoll loop.

    Attributes:
        ways: by the descriptor that each reads from.
        back: by the descriptor that each writes to.
        watched: what each descriptor is registered for.
    """

    def __init__(self, listener: socket.socket, destination: tuple[str, int], delay_ns: int) -> None:
        self.listener = listener
        self.destination = destination
        self.delay_ns = delay_ns
        self.epoll = select.epoll()
        self.epoll.register(listener, select.EPOLLIN)
        self.epoll.register(sys.stdin, select.EPOLLIN)
        self.ways: dict[int, Way] = {}
        self.back: dict[int, Way] = {}
        self.watched: dict[int, int] = {}

    def run(self) -> None:
        """Until the input ends."""
        while True:
            for descriptor, mask in self.epoll.poll(self.wait_s()):
                if descriptor == sys.stdin.fileno():
                    if not os.read(descriptor, 1):
                        return
                elif descriptor == self.listener.fileno():
                    self.accept()
                elif descriptor in self.ways:
                    self.step(descriptor, mask)
            for way in list(self.ways.values()):
                if way.dues and not way.stuck:
                    self.pass_on(way)

    def wait_s(self) -> float:
        """Until something is due: -1 for ever."""
        dues = [way.dues[0][0] for way in self.ways.values() if way.dues and not way.stuck]
        return max(0, min(dues) - _now_ns()) / NS_PER_S if dues else -1

    def accept(self) -> None:
        """A new connection, and its other half."""
        client, _ = self.listener.accept()
        server = socket.create_connection(self.destination)
        for source, sink in ((client, server), (server, client)):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            source.setblocking(False)
            way = Way(source, sink, self.delay_ns)
            self.ways[source.fileno()] = self.back[sink.fileno()] = way
            self.epoll.register(source, select.EPOLLIN)
            self.watched[source.fileno()] = select.EPOLLIN

    def step(self, descriptor: int, mask: int) -> None:
        """A socket has room, or can be read from, or is broken, which either finds out."""
        way, back = self.ways[descriptor], self.back[descriptor]
        if mask & select.EPOLLOUT and back.stuck:
            self.pass_on(back)
        elif way.room and not way.heard_end:
            try:
                way.take()
            except ConnectionError:
                self.forget(way)
                return
            self.watch(descriptor)

    def pass_on(self, way: Way) -> None:
        """Send what is due, and end the connection where one of its halves is gone, or both are done."""
        if way.sink.fileno() < 0:
            return
        try:
            way.pass_on()
        except OSError:
            self.forget(way)
            return
        if way.ended and self.back[way.source.fileno()].ended:
            self.forget(way)
        else:
            self.watch(way.source.fileno())
            self.watch(way.sink.fileno())

    def watch(self, descriptor: int) -> None:
        """Be told of what can be done now, and not, again and again, of an end that was heard."""
        way = self.ways[descriptor]
        mask = select.EPOLLIN if way.room and not way.heard_end else 0
        if self.back[descriptor].stuck:
            mask |= select.EPOLLOUT
        if mask == self.watched[descriptor]:
            return
        if not mask:
            self.epoll.unregister(descriptor)
        elif self.watched[descriptor]:
            self.epoll.modify(descriptor, mask)
        else:
            self.epoll.register(descriptor, mask)
        self.watched[descriptor] = mask

    def forget(self, way: Way) -> None:
        """Close both halves."""
        for half in (way.source, way.sink):
            descriptor = half.fileno()
            del self.ways[descriptor], self.back[descriptor], self.watched[descriptor]
            half.close()


def serve(host: str, port: int, delay_s: float) -> None:
    """The whole life of the process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        Relay(listener, (host, port), int(delay_s * NS_PER_S)).run()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
