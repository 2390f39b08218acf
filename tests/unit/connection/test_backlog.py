"""What is kept of a stream comes out as it went in, whatever its pieces, and never what an interrupt left half kept."""

from __future__ import annotations

from random import Random

import pytest

from support.interrupts import Interrupter
from support.seeds import seeds
from turbosock import limits
from turbosock.connection.backlog import Backlog
from turbosock.connection.receive_ring import RingPool

RING = limits.RECEIVE_RING_BYTES
ORIGIN = object()


def taken(backlog: Backlog, step: int) -> bytes:
    """All that the backlog gives, by reads of `step` bytes."""
    view = memoryview(bytearray(step))
    found = b""
    while backlog.length:
        count = backlog.take(view)
        assert count > 0, "it says that there is more"
        found += view[:count]
    return found


@pytest.mark.parametrize("seed", seeds(5))
def test_pieces_of_any_size_come_out_in_their_order(seed: int) -> None:
    random = Random(seed)
    rings = RingPool(diagnostics=True)
    backlog = Backlog(rings)
    for _ in range(20):
        sent = b""
        for _ in range(random.randrange(1, 5)):
            piece = random.randbytes(random.choice((1, 100, RING - 1, RING, RING + 1, 3 * RING)))
            backlog.append(memoryview(piece), ORIGIN)
            sent += piece
        assert backlog.length == len(sent)
        assert taken(backlog, random.choice((999, RING, 5 * RING))) == sent
        assert backlog.ring is None, "memory is kept for nothing"


@pytest.mark.parametrize("kept", [0, 10, RING, RING + 10])
@pytest.mark.parametrize("step", [7000, 3 * RING])
def test_interrupt_anywhere_in_an_append_leaves_what_was_whole(kept: int, step: int) -> None:
    first = Random(kept).randbytes(kept)
    view = memoryview(b"b" * 1000)
    interrupter = Interrupter()
    target = 0
    while True:
        target += 1
        backlog = Backlog(RingPool(diagnostics=True))
        if kept:
            backlog.append(memoryview(first), ORIGIN)
        try:
            interrupter.run(lambda backlog=backlog: backlog.append(view, ORIGIN), target)  # type: ignore[misc]
        except KeyboardInterrupt:
            found = taken(backlog, step)
            assert found in (first, first + view), interrupter.where
            backlog.clear()
            assert backlog.ring is None
        else:
            break
    assert target > 5
