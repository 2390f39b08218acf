"""What the buffers need to know about the interpreter that runs them.

Two facts about CPython 3.11 to 3.13 with its global lock carry this package:

- A thread may lose the lock only at a call, a function's start or a backward jump. A read-modify-write of an
  attribute with none of these inside (`self.count += 1`) is therefore whole, and needs no lock of ours.
- Every reference to an object is in its reference count, so a pool can see that nobody else holds an object.

Where either does not hold, pools keep their interface and lend fresh memory each time.

Counters on the hot path are floats. CPython keeps freed floats for the next one, while each int above 256 is
an allocation of its own; a float counts exactly up to 2**53.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import Any


def _global_lock_holds() -> bool:
    probe = getattr(sys, "_is_gil_enabled", None)
    return probe is None or bool(probe())


def _references_of_a_local() -> int:
    """Return what sys.getrefcount says of an object that one local variable alone holds."""
    idle = deque((object(),))
    candidate = idle.popleft()
    # The variable and the argument make two, fewer where the interpreter borrows. A debugger that watches this
    # frame would add its own reference, and too high a figure would let shared objects be lent.
    return min(sys.getrefcount(candidate), 2)


# Whether memory and objects that came back may be lent again.
REUSE_IS_SAFE = hasattr(sys, "getrefcount") and _global_lock_holds()

# The reference count of an object that a pool has just taken into a local variable and that nobody else holds.
UNSHARED_REFERENCES = _references_of_a_local() if REUSE_IS_SAFE else 0

if REUSE_IS_SAFE:
    from sys import getrefcount as getrefcount
else:

    def getrefcount(object: Any, /) -> int:
        """Say that an object is shared, where nobody can tell; returns more than any unshared object has."""
        return UNSHARED_REFERENCES + 1
