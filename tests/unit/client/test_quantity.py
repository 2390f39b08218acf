"""Quantities: the unit fits the size."""

from __future__ import annotations

import pytest

from turbosock.client.quantity import bytes_text, left_text, time_text


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (3 << 30, "3.0 GiB"),
        (5 << 40, "5.0 TiB"),
        (9000 << 40, "9000.0 TiB"),
    ],
)
def test_bytes_text_has_the_unit_that_fits(count: int, shown: str) -> None:
    assert bytes_text(count) == shown


@pytest.mark.parametrize(
    ("duration_s", "shown"), [(0.0, "0 µs"), (0.00085, "850 µs"), (0.00123, "1.23 ms"), (2.5, "2.50 s")]
)
def test_time_text_has_the_unit_that_fits(duration_s: float, shown: str) -> None:
    assert time_text(duration_s) == shown


@pytest.mark.parametrize(
    ("duration_s", "shown"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (185, "3:05 min"), (7800, "2:10 h")]
)
def test_left_text_has_whole_units(duration_s: float, shown: str) -> None:
    assert left_text(duration_s) == shown
