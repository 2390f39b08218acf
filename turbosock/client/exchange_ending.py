"""ExchangeEnding: an exchange of a Loop, as far as it ends: its answer was read, it failed, was cancelled or dropped.

What it held is given back in a fixed order: the wait for a connection, the connection, the body's source, which the
connection may view; then the end is told, and the Loop takes the exchange back.

Invariants: an exchange ends exactly once, with one RESPONSE or ERROR event if it asked for events; whatever breaks off
on the way there, for want of memory or by an interrupt, what is held is given back, and the end is told; nothing here
runs outside the loop's thread except `cancel()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from turbosock.client.events import Event, EventKind
from turbosock.client.exchange import ClientExchange
from turbosock.errors import Cancelled, TurbosockError

if TYPE_CHECKING:
    from turbosock.client.gather import Gatherer
    from turbosock.client.loop_connection import LoopConnection
    from turbosock.client.loop_exchange import Exchange
    from turbosock.client.loop_http2 import LoopHttp2Stream
    from turbosock.client.loop_services import LoopServices

# What an exchange of a Loop is sent on.
TickedConnection: TypeAlias = "LoopConnection | LoopHttp2Stream"

# Looking a member up on its enum class costs a descriptor call in CPython 3.11.
_ERROR = EventKind.ERROR

# Of what is not ours, whose catcher raises it again.
_BROKEN_OFF: Final = "broken_off"
# Of an exchange that ended when there was no memory even for an error of its own; nothing is written into it.
_WITHOUT_WORDS = TurbosockError("there was no memory; the call that took the step said so", code=_BROKEN_OFF)


class ExchangeEnding(ClientExchange, Event):
    """A request under way in a Loop, and the event of its end.

    Attributes:
        done: whether it has ended, with an answer or an error.
        into: the buffer that the body goes into, or None; None once the exchange is done.
        notifies: whether its end is told.
    """

    __slots__ = ("_gatherer", "_loop", "done", "into", "kind", "notifies")

    # As of ClientExchange, `Exchange.forget()` sets every slot.
    connection: TickedConnection | None
    _gatherer: Gatherer | None
    _loop: LoopServices
    done: bool
    into: memoryview | None
    kind: EventKind
    notifies: bool

    # What an event has and an exchange has not.
    data = None

    @property
    def exchange(self) -> Exchange:
        """The exchange itself: it is the event of its own end."""
        return self  # type: ignore[return-value]  # as in _finish()

    def _goes_on(self, failure: TurbosockError | None) -> bool:
        """Have another request follow this failure; False: it stands."""
        raise AssertionError("an Exchange says what follows")

    def _stop_connecting(self) -> None:
        """Wait for a connection no more."""
        raise AssertionError("an Exchange says what it waits for")

    def _finish(self) -> None:
        if self._gatherer is not None:
            self._content = self._gatherer.take()
            self._gatherer = None
        connection = self.connection
        assert connection is not None, "finished once"
        self._release(connection)
        # The caller's memory is free again, though the exchange may be held for long.
        self.into = None
        if self.source is not None:
            self._release_source()
        self.done = True
        try:
            if self.notifies:
                self._loop.events.append(self)
        except MemoryError:
            # A second attempt: an end that is not told would be none.
            self._loop.events.append(self)
            raise
        finally:
            self._loop.requests.take_back(self)  # type: ignore[arg-type]  # it is an Exchange

    def _release(self, connection: TickedConnection) -> None:
        """The answer was read: the connection goes back to its origin, and is watched there."""
        # A receive that filled its buffer left this unknown. Only the poller tells whether there is more, and the next
        # exchange has to wait for it.
        transport = connection.transport
        transport.readable = False
        try:
            self.release_connection(self._now_ns())
        except BaseException:
            connection.discard()
            raise
        if transport.fd >= 0 and connection.owner is None:
            try:
                # Idle: it is told when the peer closes, and closes itself when it was idle for too long.
                transport.arm()
                due_ns = self.finished_ns + self._loop.pool.max_idle_ns
                retire_ns = connection.retire_ns
                if due_ns > retire_ns:
                    due_ns = retire_ns
                timer = connection.timer
                if timer.deadline_ns > due_ns:
                    timer.move(due_ns)
            except TurbosockError:
                # It cannot be watched, or there is no timer. The answer is here all the same.
                connection.discard()
            except BaseException:
                connection.discard()
                raise

    def break_off(self, error: BaseException) -> None:
        """End with an error that is not ours, whose catcher raises it again: no exchange is left without an end."""
        if self.done:
            return
        try:
            broken = TurbosockError(
                # Not what it says: a callback may say anything. Its catcher has it.
                f"a step broke off with {type(error).__name__}; the call that took it raised the same",
                code=_BROKEN_OFF,
            )
        except MemoryError:
            broken = _WITHOUT_WORDS
        self.fail(broken)

    def fail(self, error: TurbosockError) -> None:
        """End the exchange with an error, unless it is worth another attempt."""
        if self.done:
            return
        if self.flow is not None and self.head is None and error.code != _BROKEN_OFF:
            try:
                if self._goes_on(self.explained(error)):
                    return
            except TurbosockError as failure:
                error = failure
            except BaseException as interrupt:
                # Who called this may be past where it would look for it.
                self.break_off(interrupt)
                raise
        self._conclude(error)
        # Whatever breaks off in here, for want of memory or by an interrupt: what is held is given back, and the end
        # is told.
        try:
            if error is not _WITHOUT_WORDS:
                error = self.explained(error)
            # Their frames are ours, and would keep the caller's buffer for as long as the exchange is held: those of
            # the error, and of what it came from.
            cause: BaseException | None = error
            while cause is not None:
                cause.__traceback__ = None
                cause = cause.__cause__ or cause.__context__
            if self._gatherer is not None:
                self._gatherer.abandon()
                self._gatherer = None
        finally:
            try:
                self._stop_connecting()
            finally:
                try:
                    self.drop_connection()
                finally:
                    self._tell_failure()

    def _conclude(self, error: TurbosockError) -> None:
        self.error = error
        self.done = True
        self.kind = _ERROR
        self.into = None

    def _release_source(self) -> None:
        source = self.source
        assert source is not None, "asked for where there is one"
        self.source = None
        source.release()

    def _tell_failure(self) -> None:
        if self.source is not None:
            # Not before its connection, which views its memory.
            self._release_source()
        try:
            self.finished_ns = self._now_ns()
            if self.notifies:
                self._loop.events.append(self)
        except MemoryError:
            # As in _finish(). That the time is not known can be borne.
            if self.notifies:
                self._loop.events.append(self)
            raise
        finally:
            self._loop.requests.take_back(self)  # type: ignore[arg-type]  # it is an Exchange

    def drop(self, error: TurbosockError) -> None:
        """In the child of a fork: end without a step. The connection, the dial and the line are the parent's."""
        if self.done:
            return
        self._conclude(error)
        self.source = None
        self.explained(error)
        self.finished_ns = self._now_ns()
        self.connection = None
        if self._gatherer is not None:
            self._gatherer.abandon()
            self._gatherer = None

    def cancel(self) -> None:
        """End the exchange: at once on the loop's thread, in its next turn from any other."""
        if self.done:
            return
        self.cancelled = True
        self._loop.requests.cancel_later(self)

    def attend(self) -> None:
        """The loop was asked to look after this exchange, by `cancel()` for one."""
        if self.cancelled:
            self.end_cancelled()

    def end_cancelled(self) -> None:
        """The loop's part of `cancel()`."""
        if not self.done:
            self.fail(Cancelled("the exchange was cancelled"))
