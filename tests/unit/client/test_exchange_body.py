"""How much of a body one step of a Loop's exchange takes."""

from __future__ import annotations

from turbosock.client import exchange_body


def test_a_step_asks_for_a_quantum_in_all_and_a_segment_at_least() -> None:
    assert exchange_body._left_in_step(0) == 256 * 1024
    assert exchange_body._left_in_step(100 * 1024) == 156 * 1024
    assert exchange_body._left_in_step(255 * 1024) == 64 * 1024
