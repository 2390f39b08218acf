"""Observer: a link that looks on, and never breaks what it looks at.

A link of middleware has its say: what it raises ends the exchange. An observer has none. One that fails is logged once,
with its traceback, and not asked again; the request goes on as if it had not been there. Clients without observers pay
nothing for them, and an observer that does not ask for phases pays nothing for those.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Final

from turbosock.client.middleware import GO, Middleware, Timeline
from turbosock.logs import area

if TYPE_CHECKING:
    from turbosock.client.middleware.chained import Chained
    from turbosock.errors import Phase

_log: Final = area("observe")


class Observer(Middleware):
    """Subclass it and override what you want to see; give it among the `middleware` of a Client or a Loop.

    Each request that is sent is one start and one end: a redirect by itself, and with the observer behind the links
    that ask for further attempts, each attempt. The methods are called on the thread, or in the turn, that takes the
    step; a shared observer of several threads guards what it keeps. An exchange is lent for the call: keep a weak
    reference, or none.

    Attributes:
        failed: whether one of its methods raised; none is called any more then.
    """

    failed = False

    def on_start(self, exchange: Chained) -> None:
        """The request is about to be sent."""

    def on_phase(self, exchange: Chained, phase: Phase) -> None:
        """It begins to wait for a connection, to resolve, connect, send, or to wait for the head, or for the body."""

    def on_answer(self, exchange: Chained) -> None:
        """The head of an answer is there: `exchange.status_code`, `exchange.headers`."""

    def on_end(self, exchange: Chained) -> None:
        """It is over: `exchange.error` failed it, or is None."""

    def cut_off(self, step: str) -> None:
        """Have nothing called any more, because of the exception that is being handled in `step`."""
        # Two threads may come here at once: twice is once too often, and does no harm.
        if not self.failed:
            self.failed = True
            name = type(self).__name__
            _log.exception(
                "%s.%s() failed, and is not called any more; requests go on without it",
                name,
                step,
                extra={"observer": name, "step": step},
            )

    # What the chain calls

    def enter(self, exchange: Chained, now_ns: int) -> int:
        if not self.failed:
            if type(self).on_phase is not Observer.on_phase:
                phases = _Phases(exchange)
                phases.begin(exchange, self)
                exchange.timeline = phases
            try:
                self.on_start(exchange)
            except Exception:
                self.cut_off("on_start")
        return GO

    def answered(self, exchange: Chained) -> None:
        if not self.failed:
            try:
                self.on_answer(exchange)
            except Exception:
                self.cut_off("on_answer")

    def leave(self, exchange: Chained) -> None:
        timeline = exchange.timeline
        if timeline is not None and timeline.recorder is self:
            exchange.timeline = timeline.outer
        if not self.failed:
            try:
                self.on_end(exchange)
            except Exception:
                self.cut_off("on_end")


class _Phases(Timeline):
    """Tells an observer of each phase as it begins."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Chained) -> None:
        super().__init__()
        # No more than a look: as a cycle, an exchange that is dropped would not end before the collector comes.
        self._exchange = weakref.ref(exchange)

    def reach(self, phase: Phase, now_ns: int) -> None:
        observer = self.recorder
        exchange = self._exchange()
        if exchange is not None and isinstance(observer, Observer) and not observer.failed:
            try:
                observer.on_phase(exchange, phase)
            except Exception:
                observer.cut_off("on_phase")
