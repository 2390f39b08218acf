"""Latch: what threads wait for that happens once: an offer, an outcome, an end.

Not a threading.Event: that is a lock inside a condition, and an interrupt (KeyboardInterrupt) in the middle of its
`set()` may leave the lock held, so that whoever waits hangs. Here everything is one lock, the gate, held from the
beginning, and a flag. Once the flag is set everybody may release the gate and nobody may keep it, so an interrupt at
any place, and any number of threads that set it or wait for it at once, leave it open.

Invariants: `is_set` never goes back; who calls `set()` again after an interrupt makes up for it; in the child of a fork
a latch that is set lets everybody pass.
"""

from __future__ import annotations

import threading


class Latch:
    """Closed at first; any number of threads may wait, and any may set it.

    Attributes:
        is_set: whether it was set.
    """

    __slots__ = ("_gate", "is_set")

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._gate.acquire()
        self.is_set = False

    def set(self) -> None:
        """Let everybody pass from now on; more calls do nothing."""
        self.is_set = True
        try:
            self._gate.release()
        except RuntimeError:
            # It is open.
            pass

    def wait(self, timeout_s: float) -> bool:
        """Whether it was set before `timeout_s` seconds passed; 0 or less does not wait."""
        if self.is_set:
            return True
        try:
            self._gate.acquire(timeout=min(max(timeout_s, 0.0), threading.TIMEOUT_MAX))
        finally:
            if self.is_set:
                # For the next one who waits, whether this one was let in or not. Not by set(), at whose beginning an
                # interrupt may come.
                try:
                    self._gate.release()
                except RuntimeError:
                    pass
        return self.is_set
