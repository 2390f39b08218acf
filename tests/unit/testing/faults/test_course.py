"""Each fault happens at its byte, however the bytes are cut into pieces."""

from __future__ import annotations

import random

import pytest

from support.seeds import seeds
from turbosock import InvalidOption
from turbosock.testing import Direction, Fault
from turbosock.testing.faults.course import Course, End

S = 1_000_000_000
DATA = bytes(range(100))


def run(faults: list[Fault], pieces: list[bytes]) -> tuple[bytes, list[tuple[int, int]], End | None, list[Fault]]:
    """What came out, at which bytes something was delayed and by how much, how it ended, and what was noted."""
    noted: list[Fault] = []
    course = Course(faults, noted.append)
    came = bytearray()
    delays: list[tuple[int, int]] = []
    end = None
    for piece in [b"", *pieces]:
        for delay_ns, what in course.feed(piece):
            assert end is None, "something came behind the end"
            if delay_ns:
                delays.append((len(came), delay_ns))
            if isinstance(what, bytes):
                assert what, "an empty piece is none"
                came += what
            else:
                end = what
    assert course.over is (end is not None)
    return bytes(came), delays, end, noted


CORRUPT = bytes([*DATA[:7], DATA[7] ^ 0x0F, *DATA[8:]])
CASES = {
    "none": ([], (DATA, [], None)),
    "cut": ([Fault.cut(10)], (DATA[:10], [], End.CUT)),
    "cut before all": ([Fault.cut(0)], (b"", [], End.CUT)),
    "cut behind all": ([Fault.cut(100)], (DATA, [], End.CUT)),
    "reset": ([Fault.reset(99)], (DATA[:99], [], End.RESET)),
    "never": ([Fault.reset(101), Fault.corrupt(100), Fault.delay(100, 1)], (DATA, [], None)),
    "corrupt": ([Fault.corrupt(7, 0x0F)], (CORRUPT, [], None)),
    "corrupt twice": ([Fault.corrupt(7, 0x0E), Fault.corrupt(7, 0x01)], (CORRUPT, [], None)),
    "delay": ([Fault.delay(7, 2.0), Fault.delay(50, 1)], (DATA, [(7, 2 * S), (50, S)], None)),
    "delays of one byte": ([Fault.delay(7, 2.0), Fault.delay(7, 1)], (DATA, [(7, 3 * S)], None)),
    "drip": ([Fault.drip(95, size=2, every_s=1)], (DATA, [(95, S), (97, S), (99, S)], None)),
    "drip of some": ([Fault.drip(95, size=2, every_s=1, nbytes=3)], (DATA, [(95, S), (97, S)], None)),
    "cut inside a drip": ([Fault.drip(5, size=10, every_s=1), Fault.cut(8)], (DATA[:8], [(5, S)], End.CUT)),
}


@pytest.mark.parametrize("name", CASES)
def test_faults_happen_at_their_bytes(name: str) -> None:
    faults, expected = CASES[name]
    assert run(faults, [DATA])[:3] == expected


@pytest.mark.parametrize("seed", seeds(5))
@pytest.mark.parametrize("name", [name for name in CASES if "drip" not in name])
def test_pieces_do_not_matter(name: str, seed: int) -> None:
    faults, expected = CASES[name]
    rng = random.Random(seed)
    cuts = sorted(rng.choices(range(101), k=8))
    pieces = [DATA[one:other] for one, other in zip([0, *cuts], [*cuts, 100], strict=True)]
    assert run(faults, pieces)[:3] == expected


def test_what_happens_is_noted_and_nothing_else() -> None:
    happening = [Fault.corrupt(3), Fault.delay(5, 1), Fault.cut(10)]
    assert run([*happening, Fault.corrupt(11)], [DATA])[3] == happening


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.cut(5), "cut at byte 5 of what it receives"),
        (Fault.delay(0, 0.5, direction=Direction.SEND), "delay at byte 0 of what it sends by 0.5 s"),
    ],
)
def test_fault_says_what_it_is(fault: Fault, words: str) -> None:
    assert str(fault) == words


def test_fault_of_no_kind_is_refused_by_name() -> None:
    with pytest.raises(InvalidOption, match="kind"):
        Fault("cut", 5)  # type: ignore[arg-type]  # which is the mistake
