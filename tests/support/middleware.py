"""What tests of middleware share: links that record and hold, an exchange for links alone, and both faces as one.

A `Face` is a Client of one transport mode, or a Loop, behind the same few calls, so that a test is written once for all
three. A call of a client runs in a thread of its own; one of a loop is driven by `outcome()`, on a clock that a test
moves and that otherwise creeps on by a microsecond a turn.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from support.in_thread import GUARD_S, InThread
from turbosock import CancelToken, Client, Config, EventKind, Exchange, Loop, Middleware, Timeouts, TransportMode
from turbosock.client.cookies import Cookies
from turbosock.client.middleware import GO, NOT_AGAIN, UNTIL_WOKEN, Draft
from turbosock.client.middleware.chained import Chained
from turbosock.client.request import PreparedRequest, Preparer
from turbosock.config import PoolConfig
from turbosock.errors import TurbosockError
from turbosock.pool.connection_pool import ConnectionPool
from turbosock.reactor.clock import NS_PER_S, ManualClock

TIMEOUTS = Timeouts(connect_s=10, read_s=10, write_s=10, pool_s=10, total_s=15)


class Spy(Middleware):
    """Records the calls of each step, and checks that every exchange that was entered is left once."""

    def __init__(self, name: str = "spy", calls: list[str] | None = None) -> None:
        self.name = name
        self.calls: list[str] = [] if calls is None else calls
        self.left_with: list[TurbosockError | None] = []
        self.left = threading.Semaphore(0)
        self._inside: set[int] = set()
        self._faults: list[str] = []

    def prepare(self, draft: Draft) -> None:
        self.calls.append(f"{self.name}.prepare")

    def enter(self, exchange: Chained, now_ns: int) -> int:
        self.calls.append(f"{self.name}.enter")
        if id(exchange) in self._inside:
            self._faults.append("entered twice")
        self._inside.add(id(exchange))
        return GO

    def answered(self, exchange: Chained) -> None:
        self.calls.append(f"{self.name}.answered")

    def again(self, exchange: Chained, now_ns: int) -> int:
        self.calls.append(f"{self.name}.again")
        return NOT_AGAIN

    def leave(self, exchange: Chained) -> None:
        self.calls.append(f"{self.name}.leave")
        if id(exchange) not in self._inside:
            self._faults.append("left without being entered")
        self._inside.discard(id(exchange))
        self.left_with.append(exchange.error)
        self.left.release()

    @property
    def steps(self) -> list[str]:
        """The calls without the name."""
        return [call.partition(".")[2] for call in self.calls]

    def check(self, times: int = 1) -> None:
        """It was entered so often, and left as often."""
        assert not self._faults
        assert not self._inside
        assert self.steps.count("enter") == self.steps.count("leave") == times


class Hold(Middleware):
    """Holds exchanges until `release()`.

    Attributes:
        asked: released once for each question.
        due_ns: what it answers meanwhile.
    """

    def __init__(self, due_ns: int = UNTIL_WOKEN) -> None:
        self.due_ns = due_ns
        self.asked = threading.Semaphore(0)
        self.questions = 0
        self._open = False
        self._held: list[Chained] = []

    def enter(self, exchange: Chained, now_ns: int) -> int:
        self._held.append(exchange)
        self.questions += 1
        self.asked.release()
        return GO if self._open else self.due_ns

    def leave(self, exchange: Chained) -> None:
        self._held = [other for other in self._held if other is not exchange]

    def await_held(self) -> None:
        """Wait until an exchange was asked to wait; it may not sleep yet."""
        assert self.asked.acquire(timeout=GUARD_S)

    def release(self) -> None:
        """Let those who wait go on."""
        self._open = True
        for exchange in tuple(self._held):
            exchange.wake()

    def wake_all(self) -> None:
        """Have those who wait ask, for nothing."""
        for exchange in tuple(self._held):
            exchange.wake()


class Raising(Middleware):
    """Raises `error` in one of the steps."""

    def __init__(self, step: str, error: BaseException) -> None:
        self._step = step
        self._error = error

    def _look(self, step: str) -> None:
        if step == self._step:
            raise self._error

    def prepare(self, draft: Draft) -> None:
        self._look("prepare")

    def enter(self, exchange: Chained, now_ns: int) -> int:
        self._look("enter")
        return GO

    def answered(self, exchange: Chained) -> None:
        self._look("answered")

    def again(self, exchange: Chained, now_ns: int) -> int:
        self._look("again")
        return NOT_AGAIN

    def leave(self, exchange: Chained) -> None:
        self._look("leave")


class FakeExchange(Chained):
    """An exchange for links alone: nothing is sent.

    Attributes:
        wakes: how often it was woken.
        cancels: how often it was cancelled.
    """

    def __init__(
        self, url: str = "http://example.com/path", method: str = "GET", clock: ManualClock | None = None
    ) -> None:
        self.clock = clock or ManualClock(NS_PER_S)
        self.timeline = None
        self._phase = None  # type: ignore[assignment]  # no phase yet
        self.prepared = prepared(url, method)
        self.timeouts = TIMEOUTS
        self.started_ns = self.clock.now_ns()
        self.deadline_ns = self.started_ns + TIMEOUTS.total_ns
        self.cancelled = False
        self.error = None
        self.head = None
        self.ring = None
        self.nbytes = 0
        self.attempts = 0
        self.wakes = 0
        self.cancels = 0

    def wake(self) -> None:
        self.wakes += 1

    def now_ns(self) -> int:
        return self.clock.now_ns()

    def cancel(self) -> None:
        self.cancels += 1


def prepared(url: str, method: str = "GET") -> PreparedRequest:
    """A request as links see it."""
    return Preparer(ConnectionPool(PoolConfig()), []).prepare(method, url)


class Call:
    """A request under way."""

    def outcome(self) -> Any:
        """What it ended with, its error included; drives it there."""
        raise AssertionError("each face has its own")

    def cancel(self) -> None:
        """Cancel it from another thread than that which drives it."""
        raise AssertionError("each face has its own")

    def result(self) -> Any:
        """Its answer; raises its error."""
        outcome = self.outcome()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class ClientCall(Call):
    """A request of a client, in a thread of its own."""

    def __init__(self, client: Client, method: str, url: str, options: dict[str, Any]) -> None:
        self._token = CancelToken()
        self._thread = InThread(lambda: client.request(method, url, cancel=self._token, **options))

    def outcome(self) -> Any:
        return self._thread.outcome()

    def cancel(self) -> None:
        self._token.cancel()


class LoopCall(Call):
    """A request of a loop."""

    def __init__(self, face: Face, exchange: Exchange) -> None:
        self._face = face
        self.exchange = exchange

    def outcome(self) -> Any:
        if not self._face.loop.closed:
            self._face.drive(lambda: self.exchange.done)
        assert self.exchange.done
        return self.exchange if self.exchange.error is None else self.exchange.error

    def cancel(self) -> None:
        assert InThread(self.exchange.cancel).outcome() is None


class Face:
    """See the module.

    Args:
        kind: "stream", "saea" or "loop".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.clock = ManualClock(NS_PER_S)
        self._made: list[Client | Loop] = []

    @property
    def ticks(self) -> bool:
        """Whether it is a loop."""
        return self.kind == "loop"

    def open(self, *links: Middleware, timeouts: Timeouts = TIMEOUTS, **options: Any) -> Face:
        """Make the client or the loop, of their own options and those of Config."""
        own = {name: options.pop(name) for name in ("redirects", "retries", "auth", "cookies") if name in options}
        config = Config(timeouts=timeouts, **options)
        if self.ticks:
            self.loop = Loop(config, middleware=links, clock=self.clock, **own)
            self._made.append(self.loop)
        else:
            mode = TransportMode(self.kind)
            self.client = Client(Config(timeouts=timeouts, transport=mode, **options), middleware=links, **own)
            self._made.append(self.client)
        return self

    @property
    def cookies(self) -> Cookies:
        """The jar."""
        return self.loop.cookies if self.ticks else self.client.cookies

    def begin(self, method: str, url: str, **options: Any) -> Call:
        """Begin a request."""
        if self.ticks:
            return LoopCall(self, self.loop.request(method, url, **options))
        return ClientCall(self.client, method, url, options)

    def request(self, method: str, url: str, **options: Any) -> Any:
        """A request from its beginning to its end; raises its error."""
        if self.ticks:
            return self.begin(method, url, **options).result()
        return self.client.request(method, url, **options)

    def get(self, url: str, **options: Any) -> Any:
        """GET; see `request`."""
        return self.request("GET", url, **options)

    def read_stream(self, url: str) -> bytes:
        """A body that is streamed to its end; raises its error."""
        if not self.ticks:
            with self.client.stream("GET", url) as response:
                body = b""
                view = memoryview(bytearray(50))
                while count := response.readinto(view):
                    body += view[:count]
                return body
        pieces: list[bytes] = []
        exchange = self.loop.request("GET", url, stream=True)

        def take() -> bool:
            for event in self.loop.events:
                if event.kind is EventKind.DATA:
                    pieces.append(bytes(event.data or b""))
            return exchange.done

        self.drive(take)
        if exchange.error is not None:
            raise exchange.error
        return b"".join(pieces)

    def leave_stream(self, url: str) -> None:
        """A body that is left in its middle."""
        if not self.ticks:
            with self.client.stream("GET", url) as response:
                assert response.readinto(bytearray(1)) == 1
            return
        exchange = self.loop.request("GET", url, stream=True)
        self.drive(lambda: len(self.loop.events))
        exchange.cancel()

    def drive(self, until: Callable[[], object]) -> None:
        """Turn the loop until then."""
        end = time.monotonic() + GUARD_S
        while not until():
            # With events that nobody took, no turn would wait, and this thread would keep the interpreter from a server
            # in another one.
            for _ in self.loop.events:
                pass
            self.loop.poll(0.05)
            self.clock.advance(ns=1000)
            assert time.monotonic() < end, "the loop did not get there"

    def pass_time(self, seconds: float) -> None:
        """Time goes by: a loop's is moved; that of a client goes by while its call waits."""
        if self.ticks:
            self.clock.advance(seconds)

    def idle_turns(self) -> None:
        """Whatever can happen has happened."""
        if self.ticks:
            for _ in range(3):
                self.loop.poll()

    def end(self) -> None:
        """Close the client or the loop, as a user does."""
        (self.loop if self.ticks else self.client).close()

    def close(self) -> None:
        """Close whatever was made."""
        for made in self._made:
            made.close()
