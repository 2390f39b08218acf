"""Fault: what goes wrong with one direction of a connection, and at which byte."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from turbosock.config import check_count
from turbosock.errors import InvalidOption
from turbosock.pool.queue_handle import check_wait

# Bytes of a connection, counted from its first one.
MAX_PLACE: Final = 2**62


class FaultKind(enum.Enum):
    """What goes wrong."""

    DELAY = "delay"
    DRIP = "drip"
    CUT = "cut"
    RESET = "reset"
    CORRUPT = "corrupt"


class Direction(enum.Enum):
    """Whose bytes, as the client sees them."""

    RECEIVE = "receive"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; made by the functions `delay`, `drip`, `cut`, `reset` and `corrupt`.

    Attributes:
        kind: what goes wrong.
        at: after so many bytes of the direction.
        direction: of the bytes concerned.
        connection: the number of the one concerned, from 0 on in the order in which they were made; None: each.
        seconds: of a delay; of a drip, between two of its pieces.
        size, nbytes: of a drip: the bytes of a piece, and of all of its pieces; None: up to the end.
        xor: of a corruption: what the byte is combined with.

    Raises:
        InvalidOption: an attribute cannot work; it is named.
    """

    kind: FaultKind
    at: int
    direction: Direction = Direction.RECEIVE
    connection: int | None = None
    seconds: float = 0.0
    size: int = 1
    nbytes: int | None = None
    xor: int = 0xFF

    def __post_init__(self) -> None:
        if not isinstance(self.kind, FaultKind):
            raise InvalidOption(f"kind={self.kind!r}: make it with Fault.cut(at=1000) and its like")
        if not isinstance(self.direction, Direction):
            raise InvalidOption(f"direction={self.direction!r}: give a Direction")
        check_count("at", self.at, 0, MAX_PLACE)
        check_wait("seconds", self.seconds)
        check_count("size", self.size, 1, MAX_PLACE)
        check_count("xor", self.xor, 1, 0xFF)
        for name, value in (("connection", self.connection), ("nbytes", self.nbytes)):
            if value is not None:
                check_count(name, value, 0, MAX_PLACE)

    @classmethod
    def delay(
        cls, at: int, seconds: float, *, direction: Direction = Direction.RECEIVE, connection: int | None = None
    ) -> Fault:
        """What comes after `at` bytes comes so much later."""
        return cls(FaultKind.DELAY, at, direction, connection, seconds)

    @classmethod
    def drip(
        cls,
        at: int = 0,
        *,
        size: int = 1,
        every_s: float = 0.0,
        nbytes: int | None = None,
        direction: Direction = Direction.RECEIVE,
        connection: int | None = None,
    ) -> Fault:
        """What comes after `at` bytes comes in pieces of `size`, each so much after the last one."""
        check_wait("every_s", every_s)
        return cls(FaultKind.DRIP, at, direction, connection, every_s, size, nbytes)

    @classmethod
    def cut(cls, at: int, *, direction: Direction = Direction.RECEIVE, connection: int | None = None) -> Fault:
        """The connection ends, in good order, after `at` bytes."""
        return cls(FaultKind.CUT, at, direction, connection)

    @classmethod
    def reset(cls, at: int, *, direction: Direction = Direction.RECEIVE, connection: int | None = None) -> Fault:
        """The connection breaks after `at` bytes."""
        return cls(FaultKind.RESET, at, direction, connection)

    @classmethod
    def corrupt(
        cls, at: int, xor: int = 0xFF, *, direction: Direction = Direction.RECEIVE, connection: int | None = None
    ) -> Fault:
        """The byte after the first `at` ones is another one."""
        return cls(FaultKind.CORRUPT, at, direction, connection, xor=xor)

    def __str__(self) -> str:
        more = f" by {self.seconds:g} s" if self.kind is FaultKind.DELAY else ""
        return f"{self.kind.value} at byte {self.at} of what it {self.direction.value}s{more}"
