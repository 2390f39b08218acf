"""Floor 2: time, sockets, readiness, deadlines, wake-ups and names; one turn of a loop is made of these.

`clock` tells time, `sockets` wraps the system calls, `poller` waits for descriptors, `timers` keeps deadlines,
`waker` ends a wait from another thread, `resolver` turns names into addresses. Nothing here knows a protocol.
"""

from __future__ import annotations

from turbosock.reactor.address import Address
from turbosock.reactor.clock import SYSTEM_CLOCK, Clock, ManualClock, MonotonicClock
from turbosock.reactor.poller import READABLE, WRITABLE, Poller, SingleWaiter, available_pollers, make_poller
from turbosock.reactor.resolver import Lookup, LookupTarget, Resolver
from turbosock.reactor.timers import NEVER, Timer, TimerHeap, TimerTarget
from turbosock.reactor.waker import Waker

__all__ = [
    "NEVER",
    "READABLE",
    "SYSTEM_CLOCK",
    "WRITABLE",
    "Address",
    "Clock",
    "Lookup",
    "LookupTarget",
    "ManualClock",
    "MonotonicClock",
    "Poller",
    "Resolver",
    "SingleWaiter",
    "Timer",
    "TimerHeap",
    "TimerTarget",
    "Waker",
    "available_pollers",
    "make_poller",
]
