"""FaultTransport: puts faults between a Client or a Loop and its connections.

    faults = FaultTransport(Fault.cut(at=1000))
    with turbosock.Client(connector=faults) as client:
        client.get(url)                          # BodyTruncated, where the answer is longer
    faults.made                                  # [<connection 0: cut at byte 1000 of what it receives>]

Faults are told one by one, or drawn from a seed: then the connection with the same number has the same ones in every
run. They are of the bytes that protocols say and hear: of TLS, what is inside.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from turbosock.config import check_count
from turbosock.errors import InvalidOption
from turbosock.pool.queue_handle import check_wait
from turbosock.reactor.clock import SYSTEM_CLOCK, Clock
from turbosock.testing.faults.course import Course
from turbosock.testing.faults.fault import MAX_PLACE, Direction, Fault, FaultKind
from turbosock.testing.faults.spoilt_socket import SpoiltSocket
from turbosock.testing.faults.spoilt_transport import SpoiltTransport

if TYPE_CHECKING:
    from turbosock.reactor.reactor import Reactor
    from turbosock.transport.connector import Connector, Target, Wrapper
    from turbosock.transport.transport import Transport

# Of a drip that is drawn: its pieces have up to so many bytes, and it ends after so many pieces.
_MAX_DRAWN_PIECE: Final = 16
_MAX_DRAWN_PIECES: Final = 64


class MadeFault(NamedTuple):
    """A fault that happened, and on which connection."""

    connection: int
    fault: Fault

    def __str__(self) -> str:
        return f"connection {self.connection}: {self.fault}"


class FaultTransport:
    """Give it as `connector=`, to one Client or Loop or to several.

    Args:
        faults: each happens on the connection that it names, or on every one.
        seed: draws further ones for each connection and direction; None: none are drawn.
        chances: how probable each kind is in each direction of a connection, as in {"cut": 0.1, "delay": 0.5}.
        within_bytes: where drawn faults happen, at most.
        max_delay_s: the longest drawn delay.
        inner: whose connections have them, a connector; None: the network's.

    Attributes:
        made: what has happened so far, in order.
        connections: how many were made.
        seed: the same.

    Raises:
        InvalidOption: an argument cannot work; it is named.
    """

    def __init__(
        self,
        *faults: Fault,
        seed: int | None = None,
        chances: Mapping[str, float] | None = None,
        within_bytes: int = 4096,
        max_delay_s: float = 0.1,
        inner: Connector | Wrapper | None = None,
    ) -> None:
        for fault in faults:
            if not isinstance(fault, Fault):
                raise InvalidOption(f"faults: {fault!r} is none; make them with Fault.cut(at=1000) and its like")
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise InvalidOption(f"seed={seed!r}: give an int, or None")
        if (seed is None) != (not chances):
            raise InvalidOption("seed and chances: faults are drawn by both, or not at all")
        check_count("within_bytes", within_bytes, 1, MAX_PLACE)
        check_wait("max_delay_s", max_delay_s)
        self._faults = faults
        self._chances = _checked_chances(chances or {})
        self._within_bytes = within_bytes
        self._max_delay_s = max_delay_s
        self._lock = threading.Lock()
        self.inner = inner
        self.seed = seed
        self.made: list[MadeFault] = []
        self.connections = 0

    @property
    def clock(self) -> Clock | None:
        """The time that its connections live in; None: the system's."""
        clock: Clock | None = getattr(self.inner, "clock", None)
        return clock

    def wrap(self, transport: Transport, target: Target, reactor: Reactor | None) -> Transport:
        """See Wrapper.wrap."""
        with self._lock:
            number = self.connections
            self.connections += 1
        faults = [fault for fault in self._faults if fault.connection in (None, number)]
        if self.seed is not None:
            faults += self._drawn(Random(f"{self.seed}/{number}"))
        receiving, sending = (
            Course([fault for fault in faults if fault.direction is direction], lambda fault: self._note(number, fault))
            for direction in Direction
        )
        clock = reactor.clock if reactor is not None else self.clock or SYSTEM_CLOCK
        return SpoiltTransport(SpoiltSocket(transport, receiving, sending, clock, reactor), reactor)

    def _note(self, number: int, fault: Fault) -> None:
        self.made.append(MadeFault(number, fault))

    def _drawn(self, random: Random) -> list[Fault]:
        """The faults that chance has for one connection."""
        faults = []
        # Every number is drawn whether it is used or not, so that one chance more or less does not move the others.
        for direction in Direction:
            for kind in FaultKind:
                chance, at = random.random(), random.randrange(self._within_bytes)
                seconds, size, xor = (
                    random.random() * self._max_delay_s,
                    random.randrange(_MAX_DRAWN_PIECE),
                    random.randrange(255),
                )
                if chance >= self._chances.get(kind, 0.0):
                    continue
                size += 1
                nbytes = size * _MAX_DRAWN_PIECES
                if kind is FaultKind.DRIP:
                    # All of its pieces together take as long as a delay.
                    seconds /= _MAX_DRAWN_PIECES
                faults.append(Fault(kind, at, direction, None, seconds, size, nbytes, xor + 1))
        return faults

    def __repr__(self) -> str:
        seed = "" if self.seed is None else f" seed={self.seed}"
        return f"<FaultTransport{seed} made={len(self.made)}>"


def _checked_chances(chances: Mapping[str, float]) -> dict[FaultKind, float]:
    found: dict[FaultKind, float] = {}
    known = {kind.value: kind for kind in FaultKind}
    if not isinstance(chances, Mapping):
        raise InvalidOption("chances: give a mapping, as in {'cut': 0.1}")
    for name, chance in chances.items():
        kind: Any = known.get(name)
        if kind is None:
            raise InvalidOption(f"chances: {name!r} is no fault; there are {', '.join(known)}")
        if isinstance(chance, bool) or not isinstance(chance, (int, float)) or not 0 <= chance <= 1:
            raise InvalidOption(f"chances: {name}={chance!r}; give a number from 0 to 1")
        found[kind] = chance
    return found
