"""Deadlines in a heap, shaped for the usual case: a deadline that is moved later again and again and rarely passes.

Every request moves its connection's deadline further away. A heap would pay a push for each; here `Timer.move` only
writes a field, and the entry in the heap, which is now too early, is put right when it comes up. Cancelling works the
same way, so garbage is possible, and is bounded by compaction.

Invariants:

- A timer has at most one *live* entry, the one whose sequence number it holds, and
  `entry deadline = timer._queued_ns <= timer.deadline_ns`. So the heap is never late.
- `timer.deadline_ns == NEVER` exactly when the timer is not armed; `timer._queued_ns == NEVER` exactly when it has no
  live entry.
- Dead entries (of timers disarmed, cancelled or moved earlier) are at most half of the heap, or `_MIN_GARBAGE`.

Left to others: what time it is, and when to call `expire`. One thread at a time uses a heap.
"""

from __future__ import annotations

import heapq
from typing import Final, Protocol

from turbosock.errors import InvalidOption, LimitError, StateError
from turbosock.limits import MAX_TIMERS

NEVER: Final = 2**63 - 1

# Below this many dead entries a compaction costs more than it frees.
_MIN_GARBAGE = 64


class TimerTarget(Protocol):
    """Whatever is told that a deadline passed."""

    def on_timer(self, now_ns: int) -> None:
        """The deadline passed; the timer is not armed any more, and may be moved again."""
        ...


class Timer:
    """One deadline of one target, made by `TimerHeap.add` and reused for the target's life.

    `deadline_ns` is the deadline on the heap's clock, or NEVER while it is not armed.
    """

    __slots__ = ("_heap", "_queued_ns", "_sequence", "_target", "deadline_ns")

    def __init__(self, heap: TimerHeap, target: TimerTarget) -> None:
        self._heap = heap
        self._target: TimerTarget | None = target
        self._sequence = 0
        self._queued_ns = NEVER
        self.deadline_ns = NEVER

    @property
    def armed(self) -> bool:
        """Whether a deadline is set."""
        return self.deadline_ns != NEVER

    def move(self, deadline_ns: int) -> None:
        """Set the deadline, arming the timer if it is not; moving later costs O(1) and allocates nothing.

        Raises:
            StateError: the timer was cancelled.
            LimitError: MAX_TIMERS are armed.
        """
        if self._queued_ns <= deadline_ns and self.deadline_ns != NEVER:
            self.deadline_ns = deadline_ns if deadline_ns < NEVER else NEVER - 1
        else:
            self._heap._arm(self, deadline_ns)

    def disarm(self) -> None:
        """Forget the deadline but keep the target, ready for another `move`; O(1)."""
        if self.deadline_ns != NEVER:
            self._heap._disarm(self)


_Entry = tuple[int, int, Timer]


class TimerHeap:
    """The deadlines of one loop.

    Args:
        max_timers: how many may be armed at once.
    """

    __slots__ = ("_armed", "_entries", "_garbage", "_last_sequence", "_max_timers")

    def __init__(self, max_timers: int = MAX_TIMERS) -> None:
        if max_timers < 1:
            raise InvalidOption(f"max_timers is {max_timers}: it must be at least 1")
        self._max_timers = max_timers
        self._entries: list[_Entry] = []
        self._armed = 0
        self._garbage = 0
        self._last_sequence = 0

    def __len__(self) -> int:
        """Return how many timers are armed."""
        return self._armed

    def add(self, deadline_ns: int, target: TimerTarget) -> Timer:
        """Return a new timer, armed for `deadline_ns`.

        Raises:
            LimitError: MAX_TIMERS are armed.
        """
        timer = Timer(self, target)
        self._arm(timer, deadline_ns)
        return timer

    def idle(self, target: TimerTarget) -> Timer:
        """Return a new timer that is not armed; `move` arms it."""
        return Timer(self, target)

    def cancel(self, timer: Timer) -> None:
        """End `timer` for good and let go of its target; a second call does nothing."""
        timer.disarm()
        timer._target = None

    def next_deadline_ns(self) -> int | None:
        """Return a time no later than the first deadline, or None when nothing is armed.

        It may be earlier than that deadline, by as much as the timer was moved: `expire` then puts the entry right.
        """
        entries = self._entries
        while entries:
            queued_ns, sequence, timer = entries[0]
            if timer._sequence == sequence:
                if timer.deadline_ns != NEVER:
                    return queued_ns
                timer._queued_ns = NEVER
                timer._sequence = 0
            heapq.heappop(entries)
            self._garbage -= 1
        return None

    def expire(self, now_ns: int, max_count: int = MAX_TIMERS) -> int:
        """Call `on_timer` of every target whose deadline is at or before `now_ns`, earliest entry first.

        Args:
            now_ns: the present time.
            max_count: how many entries may be examined; more remain when `next_deadline_ns()` is still not later
                than `now_ns`.

        Returns:
            How many targets were called. An exception of a target passes through; the rest stay armed.
        """
        entries = self._entries
        fired = 0
        while max_count > 0 and entries and entries[0][0] <= now_ns:
            max_count -= 1
            _, sequence, timer = entries[0]
            if timer._sequence != sequence:
                heapq.heappop(entries)
                self._garbage -= 1
            elif timer.deadline_ns == NEVER:
                heapq.heappop(entries)
                self._garbage -= 1
                timer._queued_ns = NEVER
                timer._sequence = 0
            elif timer.deadline_ns > now_ns:
                timer._queued_ns = timer.deadline_ns
                heapq.heapreplace(entries, (timer.deadline_ns, sequence, timer))
            else:
                # The sum first: it may lack memory, and a timer that left the heap must be called.
                armed = self._armed - 1
                target = timer._target
                assert target is not None, "a cancelled timer is never armed"
                fired += 1
                try:
                    heapq.heappop(entries)
                    self._armed = armed
                    timer.deadline_ns = timer._queued_ns = NEVER
                    timer._sequence = 0
                    target.on_timer(now_ns)
                except Exception:
                    raise
                except BaseException:
                    self._tell_again(timer, sequence, now_ns)
                    raise
        return fired

    def _tell_again(self, timer: Timer, sequence: int, now_ns: int) -> None:
        """An interrupt came, perhaps before the target knew of its deadline: unless it has dealt with it, once more."""
        if timer._target is None:
            return
        if timer._sequence == sequence:
            # It has left the heap, and no more.
            heapq.heappush(self._entries, (timer._queued_ns, sequence, timer))
        elif timer.deadline_ns == NEVER:
            self._arm(timer, now_ns)

    def _arm(self, timer: Timer, deadline_ns: int) -> None:
        if timer._target is None:
            raise StateError("the timer was cancelled: add a new one")
        deadline_ns = min(deadline_ns, NEVER - 1)
        if timer.deadline_ns == NEVER and self._armed >= self._max_timers:
            raise LimitError(f"{self._max_timers} timers are armed already: close connections, or run another loop")
        earlier = deadline_ns < timer._queued_ns
        if earlier:
            # Before anything is noted: there may be no memory for it.
            sequence = self._last_sequence + 1
            self._last_sequence = sequence
            heapq.heappush(self._entries, (deadline_ns, sequence, timer))
        if timer.deadline_ns == NEVER:
            self._armed += 1
            if timer._queued_ns != NEVER:
                # Its entry was counted as dead since the timer was disarmed.
                self._garbage -= 1
        timer.deadline_ns = deadline_ns
        if earlier:
            if timer._queued_ns != NEVER:
                self._garbage += 1
            timer._sequence = sequence
            timer._queued_ns = deadline_ns
            self._compact_if_worth()

    def _disarm(self, timer: Timer) -> None:
        timer.deadline_ns = NEVER
        self._armed -= 1
        self._garbage += 1
        self._compact_if_worth()

    def _compact_if_worth(self) -> None:
        """Rebuild the heap from live entries once more than half of it is dead: O(n), paid by n/2 earlier calls."""
        entries = self._entries
        if self._garbage <= _MIN_GARBAGE or self._garbage * 2 <= len(entries):
            return
        kept: list[_Entry] = []
        try:
            for _, sequence, timer in entries:
                if timer._sequence != sequence:
                    continue
                timer._queued_ns = timer.deadline_ns
                if timer.deadline_ns == NEVER:
                    timer._sequence = 0
                else:
                    kept.append((timer.deadline_ns, sequence, timer))
            # In place: `expire` holds this list while targets arm and disarm.
            entries[:] = kept
        except MemoryError:
            # Later, then: entries that are too early are put right when they come up.
            return
        heapq.heapify(entries)
        self._garbage = 0
