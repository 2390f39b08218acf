"""A raw-socket server that plays a script: what a hostile, broken or merely unusual peer does, step by step.

Each accepted connection plays the next script, on a thread of its own; connections beyond the last script play it
again. Nothing sleeps: a step waits for the client's bytes, for its closing, or for an event that the test sets. The
end of the `with` block wakes every wait, joins every thread, and raises what a step raised.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence

JOIN_DEADLINE_S = 10.0
# How long a step waits for a client that does nothing: long enough for any machine, short enough to end a hang.
STEP_DEADLINE_S = 20.0


class Stopped(Exception):
    """The test is over, or the client is gone: the script ends here."""


class Peer:
    """One accepted connection, as a step sees it.

    Attributes:
        server: its server.
        socket: the connection.
        received: the bytes that `read_request` and the like have not taken yet.
    """

    def __init__(self, server: ScriptedServer, connection: socket.socket) -> None:
        self.server = server
        self.socket = connection
        self.received = b""

    def receive(self) -> bytes:
        """More bytes; empty when the client has closed or reset."""
        try:
            return self.socket.recv(65536)
        except OSError:
            return b""

    def take_until(self, end: bytes) -> bytes:
        """The bytes up to and including `end`."""
        while end not in self.received:
            data = self.receive()
            if not data:
                raise Stopped
            self.received += data
        head, _, self.received = self.received.partition(end)
        return head + end

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        while len(self.received) < count:
            data = self.receive()
            if not data:
                raise Stopped
            self.received += data
        taken, self.received = self.received[:count], self.received[count:]
        return taken


Step = Callable[[Peer], None]
Script = Sequence[Step]


def send(data: bytes) -> Step:
    """Send `data` whole."""

    def step(peer: Peer) -> None:
        try:
            peer.socket.sendall(data)
        except OSError as error:
            raise Stopped from error

    return step


def send_bytewise(data: bytes) -> Step:
    """Send `data` in one segment a byte, as fast as the connection takes them."""

    def step(peer: Peer) -> None:
        for i in range(len(data)):
            send(data[i : i + 1])(peer)

    return step


def drip(data: bytes, interval_s: float) -> Step:
    """Send `data` for ever, a byte each `interval_s`, until the client goes or the test ends."""

    def step(peer: Peer) -> None:
        while True:
            for i in range(len(data)):
                send(data[i : i + 1])(peer)
                if peer.server.stopping.wait(interval_s):
                    raise Stopped

    return step


def flood(data: bytes) -> Step:
    """Send `data` again and again until the client goes or the test ends."""

    def step(peer: Peer) -> None:
        while not peer.server.stopping.is_set():
            send(data)(peer)

    return step


def read_request(peer: Peer) -> None:
    """Read one request with a Content-Length body, a chunked body or none, and note it in `server.requests`."""
    request = peer.take_until(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in request.split(b"\r\n")[1:-2])
    if b"content-length" in fields:
        request += peer.take(int(fields[b"content-length"]))
    elif b"transfer-encoding" in fields:
        while True:
            line = peer.take_until(b"\r\n")
            request += line + peer.take(int(line, 16) + 2)
            if int(line, 16) == 0:
                break
    peer.server.requests.append(request)


def read_head(peer: Peer) -> None:
    """Read a request's head, leave its body, and note the head in `server.requests`."""
    peer.server.requests.append(peer.take_until(b"\r\n\r\n"))


def read_body(count: int) -> Step:
    """Read `count` bytes and note them in `server.requests`."""

    def step(peer: Peer) -> None:
        peer.server.requests.append(peer.take(count))

    return step


def take_body(peer: Peer) -> bytes:
    """Read a request and return its body, chunked or not."""
    before = len(peer.server.requests)
    read_request(peer)
    head, _, body = peer.server.requests[before].partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return body
    found = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        found += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return found


def take_slowly(taken: bytearray, count: int, interval_s: float) -> Step:
    """Read a head and `count` bytes of a body into `taken`, with a pause after each receive."""

    def step(peer: Peer) -> None:
        read_head(peer)
        taken.extend(peer.received)
        while len(taken) < count:
            taken.extend(peer.receive())
            peer.server.stopping.wait(interval_s)

    return step


def await_close(peer: Peer) -> None:
    """Read until the client closes or resets."""
    while peer.receive():
        pass


def await_event(event: threading.Event) -> Step:
    """Wait for an event of the test."""

    def step(peer: Peer) -> None:
        if not event.wait(STEP_DEADLINE_S):
            raise AssertionError("the test never set the event that its server waits for")

    return step


def signal(event: threading.Event) -> Step:
    """Tell the test that the script has come here."""

    def step(peer: Peer) -> None:
        event.set()

    return step


def echo_paths(peer: Peer) -> None:
    """Answer each request with its path, until the client has gone."""
    while True:
        head = peer.take_until(b"\r\n\r\n")
        answer(head.split(b" ", 2)[1])(peer)


def stall(peer: Peer) -> None:
    """Do nothing, not even read, until the test ends."""
    peer.server.stopping.wait(STEP_DEADLINE_S)


def close(peer: Peer) -> None:
    """Close in good order (FIN)."""
    with contextlib.suppress(OSError):
        peer.socket.shutdown(socket.SHUT_WR)
    raise Stopped


def half_close(peer: Peer) -> None:
    """Send FIN and go on."""
    peer.socket.shutdown(socket.SHUT_WR)


def reset(peer: Peer) -> None:
    """Close at once with RST."""
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.socket.close()
    raise Stopped


def answer(body: bytes = b"ok", head: bytes = b"HTTP/1.1 200 OK\r\n") -> Step:
    """Send a response with a Content-Length."""
    return send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)


class ScriptedServer:
    """See the module.

    Attributes:
        host, port: where it listens.
        requests: what the scripts read, in the order of reading.
        accepted: connections so far.
        stopping: set when the test is over.
        closed: released once for each connection whose script has ended.
    """

    def __init__(self, scripts: Sequence[Script], *, receive_buffer: int | None = None) -> None:
        self._scripts = scripts
        self._listener = socket.socket()
        if receive_buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(128)
        self.host, self.port = self._listener.getsockname()
        self.requests: list[bytes] = []
        self.accepted = 0
        self.stopping = threading.Event()
        self.closed = threading.Semaphore(0)
        self._failures: list[BaseException] = []
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def url(self, path: str = "/") -> str:
        """The URL of `path` on this server."""
        return f"http://{self.host}:{self.port}{path}"

    def await_ended(self, count: int = 1) -> None:
        """Wait until `count` more connections have played their script to its end."""
        for _ in range(count):
            assert self.closed.acquire(timeout=STEP_DEADLINE_S), "a connection's script did not end"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(STEP_DEADLINE_S)
            script = self._scripts[min(self.accepted, len(self._scripts) - 1)]
            self.accepted += 1
            self._connections.append(connection)
            thread = threading.Thread(target=self._play, args=(connection, script))
            self._threads.append(thread)
            thread.start()

    def _play(self, connection: socket.socket, script: Script) -> None:
        peer = Peer(self, connection)
        try:
            with connection:
                for step in script:
                    step(peer)
        except Stopped:
            pass
        except BaseException as error:
            self._failures.append(error)
        finally:
            self.closed.release()

    def stop(self) -> None:
        """End every script and thread; raises what a script raised."""
        self.stopping.set()
        for sock in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(JOIN_DEADLINE_S)
            assert not thread.is_alive(), "a thread of the scripted server did not end"
        if self._failures:
            raise self._failures[0]


@contextlib.contextmanager
def scripted(*scripts: Script, receive_buffer: int | None = None) -> Iterator[ScriptedServer]:
    """Run a server that plays `scripts`, one for each connection, for the length of a with block."""
    server = ScriptedServer(scripts, receive_buffer=receive_buffer)
    try:
        yield server
    finally:
        server.stop()
