"""A server on a simulated network that answers well or ill, as its seed has it.

Requests name themselves: the path is /id/length, and the answer carries the id in `X-Id` and `length` bytes that are
made of the id, so that whoever reads it can tell whose it is and whether it is whole. What the server does with an
answer is drawn anew each time: it comes at once or in drips, is cut off by an end or a reset, has junk behind it, comes
before the request is over, or never.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from support.simulated_network import Network, SimulatedSocket

# An answer that nobody asked for.
JUNK = b"HTTP/1.1 200 OK\r\nX-Id: 77777\r\nContent-Length: 5\r\n\r\nWRONG"
BODILESS = ("204 No Content", "304 Not Modified")


def body_of(identity: int, length: int) -> bytes:
    """The body of an answer."""
    unit = b"<%d>" % identity
    return (unit * (length // len(unit) + 1))[:length]


class Origin:
    """All connections of one server.

    Attributes:
        heads: how often the head of each request arrived.
        uploads: the request bodies that arrived whole, by id.
        lurking: connections that will say something unasked once they are idle.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.heads: Counter[int] = Counter()
        self.uploads: dict[int, bytes] = {}
        self.lurking: list[OriginConnection] = []

    def speak_unasked(self) -> None:
        """Let idle connections that lurk say what nobody asked for, or close, or reset."""
        for connection in self.lurking:
            connection.speak_unasked()
        self.lurking.clear()


class OriginConnection:
    """One connection of an Origin; an `Endpoint`."""

    def __init__(self, origin: Origin, network: Network, sock: SimulatedSocket) -> None:
        self.origin = origin
        self.network = network
        self.socket = sock
        self.buffer = b""
        self.over = False
        # The head of the request whose body still comes: id, length of its answer, method, fields.
        self.request: tuple[int, int, str, str] | None = None
        self.answering = False
        # It sent more than an answer: whoever reads that must not ask again.
        self.spoilt = False

    def on_bytes(self, data: bytes) -> None:
        assert not self.spoilt, "a connection with bytes behind its answer was used again"
        if self.over:
            return
        random = self.origin.random
        taken = len(data)
        self.network.after(random.choice((0.0, 0.0, 0.001, 0.02)), lambda: self.socket.open_window(taken))
        self.buffer += data
        self._read()

    def on_closed(self) -> None:
        self.over = True

    def _read(self) -> None:
        random = self.origin.random
        while not self.over and not self.answering:
            if self.request is None:
                head, end, rest = self.buffer.partition(b"\r\n\r\n")
                if not end:
                    return
                self.buffer = rest
                line, _, fields = head.decode("latin-1").partition("\r\n")
                method, path, _ = line.split(" ")
                _, identity, length = path.split("/")
                self.request = int(identity), int(length), method, fields.lower()
                self.origin.heads[int(identity)] += 1
                if method in ("POST", "PUT") and random.random() < 0.1:
                    # A refusal, say: the answer does not wait for the body.
                    self._answer(early=True)
                    return
                if "expect: 100-continue" in fields.lower() and random.random() < 0.7:
                    # At once: an answer that overtakes it would be nobody's HTTP.
                    self._later(0.0, b"HTTP/1.1 100 Continue\r\n\r\n")
            body = self._take_body(self.request[3])
            if body is None:
                return
            self.origin.uploads[self.request[0]] = body
            self._answer(early=False)

    def _take_body(self, fields: str) -> bytes | None:
        """The body of the present request, or None while it is not whole."""
        for field in fields.split("\r\n"):
            name, _, value = field.partition(":")
            if name == "content-length":
                count = int(value)
                if len(self.buffer) < count:
                    return None
                body, self.buffer = self.buffer[:count], self.buffer[count:]
                return body
            if name == "transfer-encoding":
                return self._take_chunks()
        return b""

    def _take_chunks(self) -> bytes | None:
        body = b""
        rest = self.buffer
        while True:
            line, end, rest = rest.partition(b"\r\n")
            if not end:
                return None
            count = int(line, 16)
            if len(rest) < count + 2:
                return None
            body += rest[:count]
            assert rest[count : count + 2] == b"\r\n", "a chunk of ours has an end"
            rest = rest[count + 2 :]
            if not count:
                self.buffer = rest
                return body

    # Answering

    def _answer(self, *, early: bool) -> None:
        assert self.request is not None, "there is something to answer"
        identity, length, method, _ = self.request
        random = self.origin.random
        self.request = None
        self.answering = True
        kind = random.randrange(24)
        if kind == 0:
            self._stop(random.choice((0.0, 0.01, 0.3)), reset=True)
            return
        if kind == 1:
            self._stop(random.choice((0.0, 0.01, 0.3)))
            return
        if kind == 2:
            # Never.
            return
        message, body_start, until_end = self._message(identity, length, method)
        cut = None
        if kind == 3:
            cut = random.randrange(len(message))
        elif kind == 4:
            cut = max(0, len(message) - random.randrange(1, 8))
        reset = random.random() < 0.5
        if until_end and cut is not None and cut >= body_start and (early or not reset):
            # A body that ends with its connection is whole wherever it ends: nobody could tell. And where the request
            # was still being sent, the reset may be told to the sender alone.
            cut = None
        if kind == 5 and not until_end:
            message += JUNK
        elif kind == 6 and not until_end:
            message += random.choice((b"\r\n", b"x", b"\0" * 1000))
        self.spoilt = kind in (5, 6) and not until_end and not early
        drip = kind == 7
        delay_s = random.choice((0.0, 0.0, 0.0, 0.002, 0.1, 0.45, 0.7)) if random.random() < 0.4 else 0.0
        # Junk that came later than its answer would be a race that no client can win.
        delay_s = self._send_in_pieces(message[:cut], delay_s, drip=drip, whole=kind in (5, 6))
        if cut is not None or until_end:
            self._stop(delay_s, reset=reset and cut is not None)
        elif early:
            # What still comes of the request would be taken for another one.
            self._stop(delay_s)
        elif kind == 8:
            self._stop(delay_s + random.choice((0.0, 0.0005, 0.01)), reset=random.random() < 0.4)
        elif kind == 9:
            self.network.after(delay_s, self.socket.end)
            self.network.after(delay_s, self._next)
        elif kind == 10:
            self.network.after(delay_s, lambda: self.origin.lurking.append(self))
            self.network.after(delay_s, self._next)
        else:
            self.network.after(delay_s, self._next)

    def _message(self, identity: int, length: int, method: str) -> tuple[bytes, int, bool]:
        """An answer, where its body begins, and whether the end of the connection is its end."""
        # What is asked for again has the same head.
        random = Random(identity)
        interim = random.choice((0, 0, 0, 0, 1, 3)) * b"HTTP/1.1 103 Early Hints\r\nX-Id: 99\r\n\r\n"
        head = b"X-Id: %d\r\n" % identity
        body = body_of(identity, length)
        framing = random.randrange(5)
        if length == 0 and framing == 4 and method != "HEAD":
            status = random.choice(BODILESS).encode()
            message = interim + b"HTTP/1.1 " + status + b"\r\n" + head + b"\r\n"
            return message, len(message), False
        if method == "HEAD" or framing <= 1:
            version = (
                b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" if random.random() < 0.1 else b"HTTP/1.1 200 OK\r\n"
            )
            start = interim + version + head + b"Content-Length: %d\r\n\r\n" % length
            return start + (b"" if method == "HEAD" else body), len(start), False
        if framing == 2:
            start = interim + b"HTTP/1.1 200 OK\r\n" + head + b"Connection: close\r\n\r\n"
            return start + body, len(start), True
        start = interim + b"HTTP/1.1 200 OK\r\n" + head + b"Transfer-Encoding: chunked\r\n\r\n"
        pieces = [start]
        position = 0
        while position < length:
            count = min(length - position, random.choice((7, 100, 5000, 70_000)) if length < 4000 else 9000)
            extension = random.choice((b"", b"", b";a=b"))
            pieces.append(b"%x%b\r\n%b\r\n" % (count, extension, body[position : position + count]))
            position += count
        pieces.append(b"0\r\n" + random.choice((b"", b"", b"X-Trailer: t\r\n")) + b"\r\n")
        return b"".join(pieces), len(start), False

    def _send_in_pieces(self, message: bytes, delay_s: float, *, drip: bool, whole: bool) -> float:
        """Let the message come, in whatever pieces; returns when the last one does."""
        random = self.origin.random
        if drip:
            for index in range(min(len(message), 40)):
                self._later(delay_s, message[index : index + 1])
                delay_s += 0.3
            self._later(delay_s, message[40:])
            return delay_s
        position = 0
        while position < len(message):
            count = len(message)
            if not whole:
                sizes = (1, 10, 300, 65_536, 10**6) if len(message) < 2000 else (5000, 65_536, 10**6)
                count = random.choice(sizes)
            self._later(delay_s, message[position : position + count])
            position += count
            if random.random() < 0.2:
                delay_s += random.random() * 0.01
        return delay_s

    def _later(self, delay_s: float, data: bytes) -> None:
        self.network.after(delay_s, lambda: self.socket.deliver(data))

    def _next(self) -> None:
        """The answer is out: whatever came meanwhile is the next request."""
        self.answering = False
        self._read()

    def _stop(self, delay_s: float, *, reset: bool = False) -> None:
        def stop() -> None:
            self.over = True
            if reset:
                self.socket.reset()
            else:
                self.socket.leave()

        self.network.after(delay_s, stop)

    def speak_unasked(self) -> None:
        if self.over or self.answering or self.request is not None or self.buffer:
            return
        kind = self.origin.random.randrange(3)
        if kind == 0:
            self.socket.deliver(JUNK)
        elif kind == 1:
            self._stop(0.0)
        else:
            self._stop(0.0, reset=True)
