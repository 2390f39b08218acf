"""Lingering: how much is read away, in which turns, and when it is over."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from turbosock import limits
from turbosock.connection.lingering import MORE, OVER, WAITING, Lingering
from turbosock.reactor.sockets import WOULD_BLOCK

BLOCK = 16 * limits.KIB


def coming(*counts: int) -> Callable[[], int]:
    """Receives so many bytes each time."""
    return iter(counts).__next__


@pytest.mark.parametrize(
    ("counts", "outcome"),
    [((0,), OVER), ((5, 0), OVER), ((WOULD_BLOCK,), WAITING), ((5, 5, WOULD_BLOCK), WAITING)],
)
def test_lingering_reads_what_has_come(counts: tuple[int, ...], outcome: int) -> None:
    received = coming(*counts)
    assert Lingering().turn(received) == outcome
    with pytest.raises(StopIteration):
        received()


def test_lingering_reads_a_turns_share_and_in_all_no_more_than_its_bound() -> None:
    lingering = Lingering()
    taken: list[int] = []

    def receive() -> int:
        taken.append(BLOCK)
        return BLOCK

    turns = 0
    while lingering.turn(receive) == MORE:
        turns += 1
        assert sum(taken) == turns * limits.TURN_QUANTUM_BYTES
    assert limits.MAX_SERVER_LINGER_BYTES <= sum(taken) < limits.MAX_SERVER_LINGER_BYTES + BLOCK
    count = len(taken)
    assert lingering.turn(receive) == OVER and len(taken) == count
