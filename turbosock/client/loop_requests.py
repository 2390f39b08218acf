"""LoopRequests: the requests of one Loop that are under way, and the exchanges that they are made with.

An exchange is its caller's for as long as it is kept; one that nobody is told of and nobody holds serves again. Those
that cannot take a step, and not for their connection's sake, wait here: in `held` by their own choice, for middleware
or before another attempt; in `starved` for memory, or for room in the queue of events; in `called` for the next turn,
to be looked after there.

Invariants: each that has begun counts in `under_way` until it is taken back, once; of all that is here, another thread
touches `called` alone.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.buffers import ObjectPool
from turbosock.client.chained_exchange import ChainedExchange
from turbosock.client.loop_exchange import Exchange
from turbosock.errors import LimitError

if TYPE_CHECKING:
    from turbosock.client.exchange_connecting import ExchangeConnecting
    from turbosock.client.exchange_ending import ExchangeEnding
    from turbosock.client.flow import Flow
    from turbosock.client.loop_services import Attended, HeldExchange, LoopServices
    from turbosock.client.request import PreparedRequest
    from turbosock.config import Timeouts
    from turbosock.connection.source import BodySource


class _Here(threading.local):
    """Which thread this is: the same object each time, where get_ident() makes an int."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()


here: Final = _Here()


class LoopRequests:
    """See the module.

    Args:
        loop: whose they are.
        pooling: as in Config.

    Attributes:
        under_way: how many have begun and are not done.
        spare: exchanges that may serve again. None is reset on its return: it stays readable for whoever holds it, and
            forgets when it is lent again.
        held, starved, called: those that wait; see the module.
        exhausted_count: how often a connection was left unread because there was no memory.
        thread: the one that the Loop runs in; it says so in each turn.
    """

    __slots__ = ("_loop", "called", "exhausted_count", "held", "spare", "starved", "thread", "under_way")

    def __init__(self, loop: LoopServices, *, pooling: bool) -> None:
        self._loop = loop
        self.under_way = 0
        self.spare: ObjectPool[Exchange] = ObjectPool(
            self._make, None, max_idle=limits.MAX_IDLE_EVENTS, pooling=pooling
        )
        self.held: set[HeldExchange] = set()
        self.starved: list[Exchange] = []
        self.called: deque[Attended] = deque()
        self.exhausted_count = 0
        self.thread = here.thread

    def _make(self) -> Exchange:
        return Exchange(self._loop) if self._loop.chain is None else ChainedExchange(self._loop)

    def check_room(self) -> None:
        """Whether another may begin.

        Raises:
            LimitError: MAX_QUEUED_EXCHANGES are under way.
        """
        if self.under_way >= limits.MAX_QUEUED_EXCHANGES:
            raise LimitError(f"{limits.MAX_QUEUED_EXCHANGES} exchanges are under way: poll() until some are done")

    def begin(
        self,
        exchange: Exchange,
        prepared: PreparedRequest,
        source: BodySource | None,
        timeouts: Timeouts,
        flow: Flow | None,
        *,
        stream: bool,
    ) -> None:
        """Begin one whose end is no event. `Loop.request` does the same in its own frame, for speed."""
        self.under_way += 1
        try:
            exchange.begin(prepared, source, timeouts, None, stream, False, flow)
        except BaseException as error:
            self.break_off(exchange, prepared, False, error)
            raise

    def break_off(self, exchange: Exchange, prepared: PreparedRequest, notify: bool, error: BaseException) -> None:
        """The beginning of an exchange raised, and its caller raises the same."""
        # It may not have come so far as to note these.
        exchange.prepared = prepared
        exchange.notifies = notify
        try:
            exchange.break_off(error)
        finally:
            self._loop.mend()

    def take_back(self, exchange: Exchange) -> None:
        """One is done."""
        self.under_way -= 1
        if not exchange.notifies and not exchange.gathers and exchange.pooled:
            # Nobody will be told: it is used again once nobody holds it. Others wait for their event to be over.
            self.spare.give_back(exchange)

    def cancel_later(self, exchange: ExchangeEnding) -> None:
        """End a cancelled one in the loop's thread; from any."""
        if here.thread == self.thread:
            exchange.end_cancelled()
        else:
            self.attend_later(exchange)

    def attend_later(self, attended: Attended) -> None:
        """Look after an exchange or an event stream in the next turn; from any thread."""
        self.called.append(attended)
        if here.thread != self.thread:
            self._loop.reactor.waker.wake()

    def attend(self) -> None:
        """The beginning of a turn: look after those that were called for, and see whether there is memory again."""
        for _ in range(len(self.called)):
            # Not those that are called meanwhile: they wait for the next turn.
            self.called.popleft().attend()
        if self.starved:
            self._resume_starved()

    def _resume_starved(self) -> None:
        """Let the exchange that starves for longest try; if it is fed, the others follow, each in its own step."""
        waiting = [exchange for exchange in self.starved if not exchange.done]
        self.starved = []
        if not waiting:
            return
        waiting[0].resume()
        if self.starved:
            # Behind the others, so that they get what little there is in turns.
            self.starved = waiting[1:] + self.starved
            return
        for exchange in waiting[1:]:
            exchange.resume_later()

    def close_held(self) -> None:
        """The loop is closed: those that wait by their own choice end."""
        for held in tuple(self.held):
            held.close()

    def drop_held(self) -> list[ExchangeConnecting | None]:
        """In the child of a fork: forget those waits. Whose they were."""
        exchanges = [held.exchange for held in self.held]
        self.held.clear()
        return exchanges

    def clear(self) -> None:
        """All of them have ended, and nothing is to be done any more."""
        self.starved.clear()
        self.called.clear()
        self.spare.clear()
