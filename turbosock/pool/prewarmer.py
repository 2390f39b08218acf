"""Prewarmer: keeps anything that is slow to make ready, over three callables: build, check and close.

How many are made, and when, is `Refill`'s business; here are the items, and who builds them: one background thread
after `start()`, or whoever calls `step()`. The oldest item is taken first, so that few grow too old unused.

What a `take()` does that finds nothing ready:

- With the background thread it stands in line: first come, first served, and what is built goes to the line before it
  counts as ready. While builds fail the line waits through the pauses, until its own timeout.
- Otherwise it builds on the spot, in its own thread: nobody else would while it waits. What `build` raises is then the
  caller's.

Invariants: everything that was built is taken or closed, once (in the child of a fork: dropped or forgotten);
0 <= ready <= max_ready; nobody stands in line while something is ready; `build`, `check`, `close` and `drop` are
called without the lock, and an item is with one of them or with one caller at a time, never with two.
An item that is being checked is out of `ready` meanwhile: a `try_take()` may miss it, a `take()` waits for it.

Left to others: what the items are. A `check` must not block; a `build` may where a thread drives.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Generic, NamedTuple, TypeVar

from turbosock import limits
from turbosock.config import check_seconds
from turbosock.errors import ClientClosed, InvalidOption, PoolTimeout, StateError, TurbosockError
from turbosock.forks import renewed_in_child
from turbosock.pool.refill import Refill
from turbosock.reactor.clock import NS_PER_S, SYSTEM_CLOCK, Clock
from turbosock.reactor.latch import Latch
from turbosock.reactor.timers import NEVER

T = TypeVar("T")


class PrewarmerStats(NamedTuple):
    """Counts since it was made, or since the fork in a child.

    At rest, built = taken + discarded + ready.

    Attributes:
        ready, building: how many there are now.
        built, failed: how many builds succeeded and failed.
        taken: how many went to a caller.
        missed: how often a caller found none ready.
        discarded: how many were closed here: unfit, too old, one too many, or left at the end.
        last_error: what a build, check, close or drop raised last, as text; empty for nothing.
    """

    ready: int
    building: int
    built: int
    failed: int
    taken: int
    missed: int
    discarded: int
    last_error: str


class _Entry(Generic[T]):
    """A built item and the end of its life on the keeper's clock."""

    __slots__ = ("expires_ns", "item")

    def __init__(self, item: T, expires_ns: int) -> None:
        self.item = item
        self.expires_ns = expires_ns


class _Waiter(Generic[T]):
    """A caller in line. `entry` is what it was given; without one, a set `latch` means that the keeper closed."""

    __slots__ = ("entry", "latch")

    def __init__(self) -> None:
        self.entry: _Entry[T] | None = None
        self.latch = Latch()


class Prewarmer(Generic[T]):
    """Keeps between `min_ready` and `max_ready` items ready; safe to share between threads.

    Args:
        build: makes an item, anything but None; what it raises counts as a failure.
        check: whether an item is still fit; one for which it raises is not.
        close: ends an item that nobody took.
        drop: lets go of an item inherited by the child of a fork, without telling a peer; None forgets it.
        max_age_s: how long an item is kept.
        clock: whose times `step()` is given.
        min_ready, max_ready, interval_s, backoff_first_s, backoff_cap_s, max_building, adaptive, rng: see `Refill`; the
            ready ones are checked at the interval, and one step builds `max_building` at most.

    Raises:
        InvalidOption: an option is wrong, or contradicts another; both are named.
    """

    __slots__ = (
        "__weakref__",
        "_bell",
        "_build",
        "_builders",
        "_built",
        "_check",
        "_check_ns",
        "_close",
        "_closed",
        "_discarded",
        "_driving",
        "_drop",
        "_failed",
        "_generation",
        "_inline",
        "_last_error",
        "_lock",
        "_max_age_ns",
        "_missed",
        "_next_ns",
        "_now_ns",
        "_ready",
        "_refill",
        "_rung",
        "_settled",
        "_taken",
        "_thread",
        "_waiters",
        "_wanted",
    )

    def __init__(
        self,
        build: Callable[[], T],
        check: Callable[[T], bool],
        close: Callable[[T], object],
        *,
        drop: Callable[[T], object] | None = None,
        min_ready: int = 1,
        max_ready: int = limits.MAX_CONNECTIONS_PER_ORIGIN,
        max_age_s: float = limits.PREWARM_MAX_AGE_S,
        interval_s: float = limits.PREWARM_INTERVAL_S,
        backoff_first_s: float = limits.PREWARM_BACKOFF_FIRST_S,
        backoff_cap_s: float = limits.PREWARM_BACKOFF_CAP_S,
        max_building: int = limits.PREWARM_BUILDING,
        adaptive: bool = False,
        rng: random.Random | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        for name, value in (("build", build), ("check", check), ("close", close)):
            if not callable(value):
                raise InvalidOption(f"{name}={value!r}: give a callable")
        if drop is not None and not callable(drop):
            raise InvalidOption(f"drop={drop!r}: give a callable, or None")
        self._refill = Refill(
            min_ready,
            max_ready,
            interval_s=interval_s,
            backoff_first_s=backoff_first_s,
            backoff_cap_s=backoff_cap_s,
            max_building=max_building,
            adaptive=adaptive,
            rng=rng,
        )
        check_seconds("max_age_s", max_age_s)
        if max_age_s < interval_s:
            raise InvalidOption(
                f"max_age_s={max_age_s} is below interval_s={interval_s}: items would be too old before they are "
                "looked at; raise the first or lower the second"
            )
        self._build = build
        self._check = check
        self._close = close
        self._drop = drop
        self._max_age_ns = int(max_age_s * NS_PER_S)
        self._now_ns = clock.now_ns
        self._closed = False
        self._generation = 0
        self._ready: deque[_Entry[T]] = deque()
        self._start_clean()
        _prewarmers.add(self)

    def _start_clean(self) -> None:
        self._lock = threading.Lock()
        self._settled = Latch()
        self._thread: threading.Thread | None = None
        self._bell: queue.SimpleQueue[None] | None = None
        self._rung = False
        self._driving = False
        self._waiters: deque[_Waiter[T]] = deque()
        # The threads that build or place what they built, one entry for each.
        self._builders: list[int] = []
        # Callers that build on the spot, and calls that Refill was not told of yet.
        self._inline = 0
        self._wanted = 0
        self._next_ns = 0
        self._check_ns = NEVER
        self._built = self._failed = self._taken = self._missed = self._discarded = 0
        self._last_error = ""

    # Taking

    def try_take(self) -> T | None:
        """Take a ready item, or None: one pop and a check, and nothing that waits.

        Raises:
            ClientClosed: it is closed.
        """
        with self._lock:
            if self._closed:
                raise _closed_error("try_take")
            self._wanted += 1
            if self._ready:
                entry = self._ready.popleft()
                self._taken += 1
            else:
                entry = None
                self._missed += 1
        if entry is not None and not self._is_fit(entry, self._now_ns(), 1):
            entry = self._replace(entry)
        if self._bell is not None and not self._rung:
            self._ring()
        return None if entry is None else entry.item

    def take(self, timeout_s: float | None = None) -> T:
        """Take a ready item, or one that is built meanwhile; without the background thread, build one on the spot.

        Args:
            timeout_s: how long to stand in line; None is the default of `Timeouts.pool_s`. What is built on the spot
                takes as long as `build` does.

        Raises:
            InvalidOption: `timeout_s` is no time. try_take() does not wait.
            ClientClosed: it is closed, or was meanwhile.
            PoolTimeout: the time passed; the message tells how builds failed, if they did.
        """
        check_seconds("timeout_s", timeout_s, optional=True)
        entry, waiter = self._take_or_stand_in_line(1)
        while entry is not None and not self._is_fit(entry, self._now_ns(), 1):
            self._discard(entry, 1)
            entry, waiter = self._take_or_stand_in_line(0)
        if self._bell is not None and not self._rung:
            self._ring()
        if entry is not None:
            return entry.item
        if waiter is not None:
            return self._wait(waiter, limits.POOL_TIMEOUT_S if timeout_s is None else timeout_s)
        return self._build_on_the_spot()

    def _is_fit(self, entry: _Entry[T], now_ns: int, counted: int) -> bool:
        """Whether an item out of `ready`, which was counted as taken so often, may be used.

        It is closed when the asking is interrupted.
        """
        if now_ns >= entry.expires_ns:
            return False
        try:
            return self._check(entry.item)
        except Exception as error:
            self._note_error(error)
            return False
        except BaseException:
            self._discard(entry, counted)
            raise

    def _replace(self, entry: _Entry[T]) -> _Entry[T] | None:
        """Close an unfit item that was counted as taken, and take the next fit one."""
        while True:
            self._discard(entry, 1)
            with self._lock:
                if not self._ready:
                    self._missed += 1
                    return None
                entry = self._ready.popleft()
                self._taken += 1
            if self._is_fit(entry, self._now_ns(), 1):
                return entry

    def _take_or_stand_in_line(self, wanted: int) -> tuple[_Entry[T] | None, _Waiter[T] | None]:
        """An item, or a place in line, or neither for who must build on the spot.

        In one step, so that nobody stands in line while something is ready.

        Args:
            wanted: 1 for the first look of a caller, 0 for the others.
        """
        with self._lock:
            if self._closed:
                raise _closed_error("take")
            self._wanted += wanted
            if self._ready:
                self._taken += 1
                return self._ready.popleft(), None
            self._missed += 1
            if self._thread is None or self._thread is threading.current_thread():
                return None, None
            waiter: _Waiter[T] = _Waiter()
            self._waiters.append(waiter)
            return None, waiter

    def _wait(self, waiter: _Waiter[T], timeout_s: float) -> T:
        try:
            waiter.latch.wait(timeout_s)
            with self._lock:
                entry = waiter.entry
                if entry is None:
                    if self._closed:
                        raise ClientClosed("the prewarmer was closed while take() waited for a build")
                    told = f"; the last build, check or close raised {self._last_error}" if self._last_error else ""
                    raise PoolTimeout(
                        f"take() waited for {timeout_s} s and nothing was built for it{told}: raise min_ready or "
                        "timeout_s"
                    )
            return entry.item
        except BaseException:
            self._leave_line(waiter)
            raise

    def _leave_line(self, waiter: _Waiter[T]) -> None:
        """The caller gives up: what it was given at the last moment goes to the next one."""
        with self._lock:
            entry = waiter.entry
            waiter.entry = None
            if entry is None:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                return
            self._taken -= 1
        self._keep(entry, self._generation)

    def _build_on_the_spot(self) -> T:
        with self._lock:
            if self._closed:
                raise _closed_error("take")
            generation = self._generation
            self._tell_wanted(self._now_ns())
            self._inline += 1
            self._begin()
        try:
            entry = self._make(generation)
            with self._lock:
                usable = generation == self._generation and not self._closed
                if usable:
                    self._taken += 1
            if usable:
                return entry.item
            self._keep(entry, generation)
        finally:
            with self._lock:
                if generation == self._generation:
                    self._inline -= 1
                    # What the next step may do has changed, and it would only look where somebody wanted something.
                    self._next_ns = 0
            self._end_build(generation)
        if generation != self._generation:
            raise StateError("build() began before a fork, and its item is the parent's: take() again")
        raise ClientClosed("the prewarmer was closed while take() built")

    # Driving

    def start(self) -> None:
        """Let one background thread do the building, from now on; more calls do nothing.

        Raises:
            ClientClosed: it is closed.
            StateError: it was called inside step().
        """
        with self._lock:
            if self._closed:
                raise _closed_error("start")
            if self._driving:
                raise StateError("start() was called inside step(): call it between steps")
            if self._thread is not None:
                return
            self._bell = queue.SimpleQueue()
            self._rung = False
            thread = threading.Thread(target=self._run, args=(self._bell,), name="turbosock-prewarmer", daemon=True)
            self._thread = thread
        try:
            thread.start()
        except BaseException:
            with self._lock:
                self._thread = None
                self._bell = None
            raise

    def step(self, now_ns: int) -> int:
        """Check what is to be checked, and build what is due, on the calling thread; for callables that do not block.

        Returns:
            When the next step is due, on the clock; `now_ns` if more is due at once, NEVER for not before a take.

        Raises:
            ClientClosed: it is closed.
            StateError: the background thread does this, or another step is under way.
        """
        if self._closed:
            raise _closed_error("step")
        if self._thread is not None:
            raise StateError("step() was called after start(): the background thread builds")
        if now_ns < self._next_ns and not self._wanted:
            return self._next_ns
        with self._lock:
            if self._driving:
                raise StateError("step() was called inside step(): let the first one end")
            self._driving = True
            generation = self._generation
        try:
            return self._drive(now_ns, generation)
        finally:
            with self._lock:
                if generation == self._generation:
                    self._driving = False

    def _run(self, bell: queue.SimpleQueue[None]) -> None:
        """The background thread: nothing that a callable raises ends it, because nobody else would fill then."""
        generation = self._generation
        while not self._closed and generation == self._generation:
            # Before looking: who wants something from now on rings again.
            self._rung = False
            try:
                wait_ns = self._drive(self._now_ns(), generation) - self._now_ns()
            except BaseException as error:
                # SystemExit, say. A build that raised it has its pause; an item whose check did is closed.
                self._note_error(error)
                continue
            if wait_ns > 0 and not self._closed:
                try:
                    bell.get(timeout=min(wait_ns / NS_PER_S, limits.MAX_POLL_WAIT_S))
                except queue.Empty:
                    pass

    def _ring(self) -> None:
        self._rung = True
        bell = self._bell
        if bell is not None:
            bell.put(None)

    def _drive(self, now_ns: int, generation: int) -> int:
        with self._lock:
            self._tell_wanted(now_ns)
            if self._check_ns == NEVER:
                self._check_ns = now_ns + self._refill.interval_ns
            checks = now_ns >= self._check_ns
            if checks:
                self._check_ns = now_ns + self._refill.interval_ns
        if checks:
            self._check_ready(now_ns, generation)
        for _ in range(self._refill.max_building):
            with self._lock:
                if generation != self._generation or self._closed:
                    break
                if not self._refill.builds_due(self._available(), now_ns):
                    break
                self._begin()
            try:
                self._keep(self._make(generation), generation)
            except Exception:
                # Noted, and followed by a pause.
                continue
            finally:
                self._end_build(generation)
        with self._lock:
            if generation != self._generation or self._closed:
                return NEVER
            next_ns = self._refill.next_due_ns(self._available())
            if self._ready:
                next_ns = min(next_ns, self._check_ns)
            self._next_ns = next_ns = max(next_ns, now_ns)
            return next_ns

    def _check_ready(self, now_ns: int, generation: int) -> None:
        """Look at every ready item once and close what is dead or too old; it is replaced after this."""
        for _ in range(len(self._ready)):
            with self._lock:
                if not self._ready:
                    return
                entry = self._ready.popleft()
            if self._is_fit(entry, now_ns, 0) or generation != self._generation:
                self._keep(entry, generation)
            else:
                self._discard(entry, 0)

    def _available(self) -> int:
        """What is ready, less the callers who wait or build for themselves; under the lock."""
        return len(self._ready) - len(self._waiters) - self._inline

    def _tell_wanted(self, now_ns: int) -> None:
        if self._wanted:
            self._refill.taken(now_ns, self._wanted)
            self._wanted = 0

    def _begin(self) -> None:
        self._refill.began()
        self._builders.append(threading.get_ident())

    def _make(self, generation: int) -> _Entry[T]:
        """build(), told to Refill by _begin(), and its end noted."""
        try:
            item = self._build()
            if item is None:
                raise StateError("build() returned None: let it return what it built, or raise")
        except BaseException as error:
            self._note_error(error)
            with self._lock:
                if generation == self._generation:
                    if isinstance(error, Exception) or threading.current_thread() is self._thread:
                        self._refill.failed(self._now_ns())
                        self._failed += 1
                    else:
                        # The caller was interrupted, which says nothing of the origin.
                        self._refill.abandoned()
            raise
        now_ns = self._now_ns()
        with self._lock:
            if generation == self._generation:
                self._refill.built(now_ns)
                self._built += 1
        return _Entry(item, now_ns + self._max_age_ns)

    def _end_build(self, generation: int) -> None:
        """What was built has found its place."""
        with self._lock:
            if generation == self._generation:
                self._builders.remove(threading.get_ident())
                if self._closed and not self._builders:
                    self._settled.set()

    # What becomes of an item

    def _keep(self, entry: _Entry[T], generation: int) -> None:
        """Give an item to the first in line, or keep it ready; close it where it is not wanted any more."""
        with self._lock:
            inherited = generation != self._generation
            if not inherited and not self._closed:
                if self._waiters:
                    waiter = self._waiters.popleft()
                    waiter.entry = entry
                    self._taken += 1
                    waiter.latch.set()
                    return
                if len(self._ready) < self._refill.max_ready:
                    self._ready.append(entry)
                    return
        if inherited:
            self._let_go(entry)
        else:
            self._discard(entry, 0)

    def _discard(self, entry: _Entry[T], counted: int) -> None:
        """Close an item that was counted as taken so often, 0 or 1, and was not."""
        with self._lock:
            self._taken -= counted
            self._discarded += 1
        try:
            self._close(entry.item)
        except Exception as error:
            self._note_error(error)

    def _let_go(self, entry: _Entry[T]) -> None:
        """In the child of a fork: an item of the parent's."""
        if self._drop is None:
            return
        try:
            self._drop(entry.item)
        except Exception as error:
            self._note_error(error)

    def _note_error(self, error: BaseException) -> None:
        # Text, because an exception would keep every frame it went through alive; of a foreign one its name alone,
        # because what it says may hold a secret.
        self._last_error = str(error) if isinstance(error, TurbosockError) else type(error).__name__

    # The end

    def close(self, wait_s: float = limits.PREWARM_CLOSE_WAIT_S) -> bool:
        """Build no more, close what is ready, and wake those in line with ClientClosed; more calls only wait.

        What is being built is closed when it arrives, however long after.

        Args:
            wait_s: how long to wait for that; 0 does not wait. It does not wait inside `build` itself.

        Returns:
            Whether nothing is being built any more.

        Raises:
            InvalidOption: `wait_s` is no time.
        """
        if wait_s != 0 or isinstance(wait_s, bool):
            check_seconds("wait_s", wait_s)
        with self._lock:
            self._closed = True
            ready = tuple(self._ready)
            self._ready.clear()
            waiters = tuple(self._waiters)
            self._waiters.clear()
            if not self._builders:
                self._settled.set()
            inside = threading.get_ident() in self._builders
            thread = self._thread
        for waiter in waiters:
            waiter.latch.set()
        self._ring()
        for entry in ready:
            self._discard(entry, 0)
        if wait_s and not inside:
            end_s = time.monotonic() + wait_s
            self._settled.wait(wait_s)
            if thread is not None and thread is not threading.current_thread() and thread.ident is not None:
                thread.join(max(0.0, end_s - time.monotonic()))
        return self._settled.is_set

    def drop_inherited(self) -> None:
        """In the child of a fork: there is no thread, and what is ready is the parent's; called by itself."""
        inherited = tuple(self._ready)
        self._ready.clear()
        self._generation += 1
        self._start_clean()
        self._refill.restart()
        for entry in inherited:
            self._let_go(entry)

    def stats(self) -> PrewarmerStats:
        """Counts at this moment; also after close()."""
        with self._lock:
            return PrewarmerStats(
                ready=len(self._ready),
                building=self._refill.building,
                built=self._built,
                failed=self._failed,
                taken=self._taken,
                missed=self._missed,
                discarded=self._discarded,
                last_error=self._last_error,
            )

    def __enter__(self) -> Prewarmer[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _closed_error(method: str) -> ClientClosed:
    return ClientClosed(f"the prewarmer is closed: {method}() needs an open one")


# A connection that both processes used would mix what they say.
_prewarmers: Final = renewed_in_child(Prewarmer[Any].drop_inherited)
