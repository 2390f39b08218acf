"""ThreadPrewarming: idle connections to one origin of a Client, kept ready by a background thread.

The thread only dials, looks after idle connections once an interval, and closes what is unfit; it never touches one
that an exchange uses. An origin has a thread of its own so that one which accepts and says nothing holds up no other.
It ends with its Prewarming, with the client, or when the client is dropped.

Invariant: a Client that is dropped without close() is not kept alive by its threads.
"""

from __future__ import annotations

import threading
import weakref
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.client.prewarm import Prewarming
from turbosock.config import check_seconds
from turbosock.errors import Cancelled, ClientClosed, LimitError, Phase, TotalTimeout
from turbosock.reactor.clock import NS_PER_S

if TYPE_CHECKING:
    from turbosock.client.client_base import ClientBase
    from turbosock.client.thread_prewarmer import ThreadPrewarmer
    from turbosock.config import Timeouts
    from turbosock.pool.origin_pool import OriginPool
    from turbosock.pool.refill import Refill


class ThreadPrewarming(Prewarming):
    """A Prewarming whose connections a thread makes."""

    def __init__(
        self,
        owner: ThreadPrewarmer,
        client: ClientBase,
        origin: OriginPool,
        refill: Refill,
        timeouts: Timeouts,
        url: str,
    ) -> None:
        self._client = weakref.ref(client)
        self._changed = threading.Condition()
        # Of all locks and queues this one may be rung from a finalizer, and no interrupt leaves it shut.
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._rung = False
        self._thread: threading.Thread | None = None
        super().__init__(owner, origin, refill, timeouts, url)

    def start(self, client: ClientBase) -> None:
        """Begin; for ThreadPrewarmer.

        Raises:
            LimitError: the system has no thread to give.
        """
        bell = self._bell
        weakref.finalize(client, bell.put, None).atexit = False
        thread = threading.Thread(target=_run, args=(weakref.ref(self), bell), name="turbosock prewarming", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise LimitError(
                f"prewarm(): the system gave no thread for {self.url}: prewarm fewer origins, or raise the limit of "
                "processes"
            ) from error
        self._thread = thread

    def wake(self) -> None:
        if not self._rung:
            self._rung = True
            self._bell.put(None)

    def wait(self, timeout_s: float) -> bool:
        """Block until `min_ready` connections are ready; False: the time passed, or it was closed.

        Raises:
            InvalidOption: `timeout_s` is not a number of seconds.
        """
        check_seconds("timeout_s", timeout_s)
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self.ready >= self.refill.min_ready, timeout_s)
            return not self.closed and self.ready >= self.refill.min_ready

    def step(self) -> float | None:
        """Make what is due; for how many seconds nothing more is, or None when it is over."""
        # Before looking: who takes one from now on rings again.
        self._rung = False
        client = self._client()
        if client is None:
            # Nobody else can use what is left.
            self.warm.origin.close_idle()
        if self.closed or client is None or client.closed:
            self.close()
            return None
        now_ns = client.now_ns()
        try:
            self.look_after(now_ns)
            if self.builds_due(now_ns):
                self._build(client)
            due_ns = self.next_due_ns()
        except BaseException as error:
            # No memory, say: nobody else would go on.
            self.note_error(error)
            due_ns = now_ns + self.refill.interval_ns
        with self._changed:
            self._changed.notify_all()
        return min(max(0, due_ns - client.now_ns()) / NS_PER_S, limits.MAX_POLL_WAIT_S)

    def _build(self, client: ClientBase) -> None:
        origin = self.warm.origin
        refill = self.refill
        refill.began()
        try:
            place = origin.reserve_spare()
            if place is None:
                self.found_no_room(client.now_ns())
                return
            connection = client.connections.dial(_Dial(client, self), origin, place)
        except (Cancelled, ClientClosed):
            refill.abandoned()
        except BaseException as error:
            # Whatever a connector raises: with a pause, and on.
            self.failed(error, client.now_ns())
        else:
            now_ns = client.now_ns()
            origin.give_back(connection, now_ns)
            self.built(now_ns)

    def close(self) -> None:
        super().close()
        self._bell.put(None)
        with self._changed:
            self._changed.notify_all()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the thread, after close(); for ThreadPrewarmer."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def drop_inherited(self) -> None:
        """In the child of a fork, where the thread is not."""
        self._changed = threading.Condition()
        self._bell = SimpleQueue()
        self._thread = None
        self.closed = True
        self.refill.restart()
        self.warm.close()


class _Dial:
    """What a dial asks of the one for whom it is; see blocking_dial.Dialler."""

    def __init__(self, client: ClientBase, prewarming: Prewarming) -> None:
        self._client = client
        self._prewarming = prewarming
        self.timeouts = prewarming.timeouts
        self.deadline_ns = client.now_ns() + prewarming.timeouts.total_ns
        self.phase = Phase.NONE

    def check_deadline(self) -> None:
        if self._client.closed or self._prewarming.closed:
            raise Cancelled("prewarming was closed")
        if self._client.now_ns() >= self.deadline_ns:
            raise TotalTimeout(f"the total deadline of {self.timeouts.total_s} s passed; raise it")


def _run(prewarming_ref: weakref.ref[ThreadPrewarming], bell: SimpleQueue[None]) -> None:
    """The thread: between its steps it holds neither the prewarming nor the client."""
    while True:
        prewarming = prewarming_ref()
        wait_s = None if prewarming is None else prewarming.step()
        del prewarming
        if wait_s is None:
            return
        try:
            bell.get(timeout=wait_s)
        except Empty:
            pass
