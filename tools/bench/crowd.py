"""A crowd of WebSocket clients, for `ws_fanin`, `ws_broadcast` and `tick_latency`: `crowd.py PORT WORD...`.

It runs in a process of its own and sends frames that were made before, so that it costs less than any server. Its
first connection is the one in command: by texts of its own length on it the server is told what comes and what is
over. What it is to do, the words say:

- fanin CONNECTIONS RATE SECONDS: each sends RATE small messages a second, spread evenly ("paced"); then all of them
  one each, as soon as the server has said that the last but one such round is there ("singly"); then the same with
  BURST_FRAMES each ("bursts").
- audience CONNECTIONS: they read whatever comes, and say nothing, until the server has closed them all.
- players CONNECTIONS RATE SLOW SECONDS: each sends RATE small messages a second, which say when they were sent. Beside
  them one floods, one never reads, and SLOW send their handshakes a byte a second, and begin again when they are told
  to go.

It says "there" when everybody is connected, and one line of JSON at the end: what was sent.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import time
from struct import Struct

from raw_websocket import ask_as_client, masked_frame, open_as_client

MESSAGE_BYTES = 32
COMMAND_BYTES = 8
STEP_S = 0.001
BURST_FRAMES = 50
FLOOD_SENDS = 10
TOGETHER = 50
ROUNDS_AHEAD = 2
# What a server says whenever it has taken another message for each connection.
ROUND_IS_THERE = b"there"
ROUND_BYTES = 2 + len(ROUND_IS_THERE)
SETTLE_S = 0.3
SLOW_BYTE_S = 1.0
PLAYER_KEY = bytes(4)
_stamp = Struct(">q").pack_into


def command(word: str) -> bytes:
    """The payload by which the server is told something."""
    return word.encode().ljust(COMMAND_BYTES)


class Crowd:
    """The connections."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self.commander, *self.sockets = self.connect(1 + count)

    def connect(self, count: int) -> list[socket.socket]:
        """So many connections, some at a time, so that a server takes several in each of its turns."""
        made: list[socket.socket] = []
        while len(made) < count:
            some = [
                socket.create_connection(("127.0.0.1", self._port)) for _ in range(min(TOGETHER, count - len(made)))
            ]
            for sock in some:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ask_as_client(sock, self._port)
            for sock in some:
                open_as_client(sock, self._port, asked=True)
            made += some
        return made

    def say(self, word: str) -> None:
        self.commander.sendall(masked_frame(command(word)))

    def paced(self, rate: float, seconds: float) -> int:
        """Everybody in turn, so many a second each; how many were sent."""
        frame = masked_frame(b"x" * MESSAGE_BYTES)
        sends = [sock.send for sock in self.sockets]
        total = int(len(sends) * rate * seconds)
        a_second = len(sends) * rate
        sent = 0
        start_s = time.monotonic()
        while sent < total:
            due = min(total, int((time.monotonic() - start_s) * a_second))
            while sent < due:
                sends[sent % len(sends)](frame)
                sent += 1
            time.sleep(STEP_S)
        return sent

    def rounds(self, frames: int, seconds: float) -> int:
        """So many messages of everybody at once after the other, at most ROUNDS_AHEAD rounds ahead of the server."""
        data = masked_frame(b"x" * MESSAGE_BYTES) * frames
        sends = [sock.send for sock in self.sockets]
        ahead = sent = heard = 0
        end_s = time.monotonic() + seconds
        while ahead or time.monotonic() < end_s:
            if ahead < ROUNDS_AHEAD * frames and time.monotonic() < end_s:
                for send in sends:
                    send(data)
                ahead += frames
                sent += frames * len(sends)
            else:
                heard += len(self.commander.recv(65536))
                ahead -= heard // ROUND_BYTES
                heard %= ROUND_BYTES
        return sent

    def fanin(self, rate: float, seconds: float) -> dict[str, int]:
        sent = {}
        for phase, perform in (
            ("paced", lambda: self.paced(rate, seconds)),
            ("singly", lambda: self.rounds(1, seconds)),
            ("bursts", lambda: self.rounds(BURST_FRAMES, seconds)),
        ):
            time.sleep(SETTLE_S)
            with contextlib.suppress(BlockingIOError):
                # Of the phase before.
                self.commander.recv(65536, socket.MSG_DONTWAIT)
            self.say(phase)
            sent[phase] = perform()
            self.say("end")
        self.say("over")
        # To leave with answers unread would reset the connection, and with it go what the server has not read.
        sys.stdin.read()
        return sent

    def audience(self) -> dict[str, int]:
        """Read until the server has closed every connection."""
        received = 0
        view = memoryview(bytearray(256 * 1024))
        with contextlib.closing(select.epoll()) as epoll:
            sockets = {sock.fileno(): sock for sock in self.sockets}
            for sock in sockets.values():
                epoll.register(sock, select.EPOLLIN)
            self.say("begin")
            while sockets:
                for descriptor, _ in epoll.poll(1.0):
                    try:
                        count = sockets[descriptor].recv_into(view)
                    except ConnectionError:
                        count = 0
                    received += count
                    if not count:
                        epoll.unregister(descriptor)
                        sockets.pop(descriptor).close()
        return {"bytes": received}


class Players(Crowd):
    """Those that behave, and those that do not."""

    def __init__(self, port: int, count: int, slow: int) -> None:
        super().__init__(port, count)
        [self._flooder] = self.connect(1)
        self._flooder.setblocking(False)
        # As little room as may be, so that the server has its own full soon.
        self._deaf = socket.socket()
        self._deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._deaf.connect(("127.0.0.1", port))
        open_as_client(self._deaf, port)
        self._slow = [self._begin_slowly() for _ in range(slow)]
        self._slow_at = 0
        self.flooded = self.received = self.refused = 0
        self._flood = masked_frame(b"f" * MESSAGE_BYTES) * 1000
        self._rest = memoryview(self._flood)

    def _begin_slowly(self) -> tuple[socket.socket, list[int]]:
        sock = socket.create_connection(("127.0.0.1", self._port))
        sock.setblocking(False)
        return sock, [0]

    def play(self, rate: float, seconds: float) -> dict[str, int]:
        """All of it, for so long."""
        template = masked_frame(bytes(MESSAGE_BYTES), PLAYER_KEY)
        frame = bytearray(template)
        at = len(frame) - MESSAGE_BYTES
        sends = [sock.send for sock in self.sockets]
        receives = {sock.fileno(): sock.recv_into for sock in self.sockets}
        view = memoryview(bytearray(65536))
        self.say("begin")
        sent = 0
        a_second = len(sends) * rate
        start_s = time.monotonic()
        tended_s = start_s
        with contextlib.closing(select.epoll()) as epoll:
            for sock in self.sockets:
                epoll.register(sock, select.EPOLLIN)
            while (now_s := time.monotonic()) < start_s + seconds:
                due = int((now_s - start_s) * a_second)
                while sent < due:
                    _stamp(frame, at, time.monotonic_ns())
                    sends[sent % len(sends)](frame)
                    sent += 1
                for descriptor, _ in epoll.poll(0, 256):
                    self.received += receives[descriptor](view)
                self._flood_on()
                if now_s >= tended_s + SLOW_BYTE_S / max(1, len(self._slow)):
                    tended_s = now_s
                    self._tend_one_slow()
                time.sleep(STEP_S)
        self.say("end")
        # As in fanin().
        sys.stdin.read()
        return {"sent": sent, "flooded": self.flooded, "received": self.received, "refused": self.refused}

    def _flood_on(self) -> None:
        try:
            for _ in range(FLOOD_SENDS):
                count = self._flooder.send(self._rest)
                self.flooded += count
                self._rest = self._rest[count:] if count < len(self._rest) else memoryview(self._flood)
        except BlockingIOError:
            # The server has it that way.
            return

    def _tend_one_slow(self) -> None:
        """One byte more of one handshake; one that the server has ended begins again."""
        if not self._slow:
            return
        index = self._slow_at = (self._slow_at + 1) % len(self._slow)
        sock, done = self._slow[index]
        head = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nX-Slow: " + b"s" * 100_000
        try:
            sock.send(head[done[0] : done[0] + 1])
            done[0] += 1
        except OSError:
            self.refused += 1
            sock.close()
            self._slow[index] = self._begin_slowly()


def main() -> None:
    """What the command line says."""
    port, word, numbers = int(sys.argv[1]), sys.argv[2], [float(each) for each in sys.argv[3:]]
    if word == "players":
        count, rate, slow, seconds = numbers
        players = Players(port, int(count), int(slow))
        print("there", flush=True)
        print(json.dumps(players.play(rate, seconds)), flush=True)
        return
    crowd = Crowd(port, int(numbers[0]))
    print("there", flush=True)
    print(json.dumps(crowd.audience() if word == "audience" else crowd.fanin(*numbers[1:])), flush=True)


if __name__ == "__main__":
    main()
