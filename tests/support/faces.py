"""One request through each face: a Client of either transport mode, and a Loop."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from queue import Queue
from typing import Any

from support.clients import TIMEOUTS
from support.in_thread import InThread
from turbosock import Client, Config, Loop, Response, TransportMode, TurbosockError
from turbosock.client.loop_exchange import Exchange
from turbosock.reactor.resolver import Resolver

FACES = ("stream", "saea", "loop")
PATIENCE_S = 20.0


class Pending:
    """A request under way."""

    def __init__(self, face: Face, *, thread: InThread | None = None, exchange: Exchange | None = None) -> None:
        self._face = face
        self._thread = thread
        self.exchange = exchange

    def outcome(self) -> Any:
        """Its answer, or its error, once it is there."""
        if self._thread is not None:
            return self._thread.outcome()
        exchange = self.exchange
        assert exchange is not None
        self._face.turn_until(lambda: exchange.done)
        return exchange if exchange.error is None else exchange.error


class Face:
    """A Client or a Loop, asked in the same words.

    Attributes:
        owner: it.
    """

    def __init__(self, owner: Client | Loop) -> None:
        self.owner = owner

    @property
    def resolver(self) -> Resolver:
        """What looks names up."""
        owner = self.owner
        return owner.connections.resolver if isinstance(owner, Client) else owner.reactor.resolver

    def get(self, url: str, **options: Any) -> Response | Exchange:
        """The answer to a GET; raises the error that ended it."""
        return self.request("GET", url, **options)

    def request(self, method: str, url: str, **options: Any) -> Response | Exchange:
        """The answer to a request; raises the error that ended it."""
        if isinstance(self.owner, Client):
            return self.owner.request(method, url, **options)
        exchange = self.owner.request(method, url, **options)
        self.turn_until(lambda: exchange.done)
        if exchange.error is not None:
            raise exchange.error
        return exchange

    def begin(self, method: str, url: str, **options: Any) -> Pending:
        """Have a request under way: in a thread of its own, or in the loop."""
        owner = self.owner
        if isinstance(owner, Client):
            return Pending(self, thread=InThread(lambda: owner.request(method, url, **options)))
        return Pending(self, exchange=owner.request(method, url, **options))

    def take_from(self, queue: Queue[Any]) -> Any:
        """What another thread puts there, with the loop turning meanwhile."""
        if isinstance(self.owner, Loop):
            self.turn_until(lambda: not queue.empty())
        return queue.get(timeout=PATIENCE_S)

    def await_event(self, event: threading.Event) -> None:
        """Wait for what another thread sets, with the loop turning meanwhile."""
        if isinstance(self.owner, Loop):
            self.turn_until(event.is_set)
        assert event.wait(PATIENCE_S), "it does not happen"

    def error(self, url: str, method: str = "GET", **options: Any) -> TurbosockError:
        """What a request fails with."""
        try:
            self.request(method, url, **options)
        except TurbosockError as error:
            return error
        raise AssertionError("the request succeeded")

    def turn_until(self, happened: Callable[[], bool]) -> None:
        """Turn a Loop until something has happened."""
        assert isinstance(self.owner, Loop)
        end_s = time.monotonic() + PATIENCE_S
        while not happened():
            if time.monotonic() > end_s:
                raise AssertionError("it does not happen")
            self.owner.poll(0.05)
            for _ in self.owner.events:
                pass


@contextlib.contextmanager
def face(kind: str, **options: Any) -> Iterator[Face]:
    """A face of this kind, with a Config of these options."""
    options = {"timeouts": TIMEOUTS, **options}
    if kind == "loop":
        with Loop(Config(**options)) as loop:
            yield Face(loop)
        return
    with Client(Config(transport=TransportMode(kind), **options)) as client:
        yield Face(client)
