"""One request through each face: a Client of either transport mode, and a Loop."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from support.clients import TIMEOUTS
from turbosock import Client, Config, Loop, Response, TransportMode, TurbosockError
from turbosock.client.loop_exchange import Exchange
from turbosock.reactor.resolver import Resolver

FACES = ("stream", "saea", "loop")
PATIENCE_S = 20.0


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
        return owner._resolver if isinstance(owner, Client) else owner.reactor.resolver

    def get(self, url: str, **options: Any) -> Response | Exchange:
        """The answer to a GET; raises the error that ended it."""
        if isinstance(self.owner, Client):
            return self.owner.get(url, **options)
        exchange = self.owner.get(url, **options)
        self.turn_until(lambda: exchange.done)
        if exchange.error is not None:
            raise exchange.error
        return exchange

    def error(self, url: str, **options: Any) -> TurbosockError:
        """What a GET fails with."""
        try:
            self.get(url, **options)
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
