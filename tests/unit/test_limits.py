"""Bounds: related as they must be, each with a reason, and refused when a change breaks a relation."""

from __future__ import annotations

from pathlib import Path

import pytest

from turbosock import limits


def names() -> list[str]:
    return [name for name in vars(limits) if name.isupper()]


def test_relations_of_the_bounds_hold() -> None:
    limits.check_relations()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RECEIVE_RING_BYTES", 1024),
        ("MAX_CHUNK_LINE_BYTES", limits.RECEIVE_RING_BYTES),
        ("MAX_HEAD_FIELDS", limits.MAX_HEAD_BYTES),
        ("MIN_BUCKET_BYTES", 1000),
        ("MAX_BUCKET_BYTES", 3_000_000),
        ("SEGMENT_BYTES", 8 * limits.MAX_BUCKET_BYTES),
        ("MAX_CONTENT_LENGTH_DIGITS", 19),
        ("MAX_CHUNK_SIZE_DIGITS", 16),
        ("MAX_CONNECTIONS_PER_ORIGIN", limits.MAX_CONNECTIONS + 1),
        ("MAX_IDLE_CONNECTIONS", limits.MAX_CONNECTIONS + 1),
        ("MASK_KEY_BATCH_BYTES", 4095),
        ("FAILED_NAME_LIFETIME_S", limits.NAME_LIFETIME_S + 1),
        ("CONNECT_TIMEOUT_S", limits.TOTAL_TIMEOUT_S + 1),
        ("POLL_BATCH", 43),
    ],
)
def test_relation_broken_is_noticed(monkeypatch: pytest.MonkeyPatch, name: str, value: float) -> None:
    monkeypatch.setattr(limits, name, value)
    with pytest.raises(AssertionError):
        limits.check_relations()


def test_bounds_are_positive_numbers() -> None:
    for name in names():
        value = getattr(limits, name)
        assert isinstance(value, (int, float)) and value > 0, name


def test_bounds_are_all_used_by_the_library() -> None:
    package = Path(limits.__file__).parent
    text = "\n".join(path.read_text() for path in package.rglob("*.py") if path.name != "limits.py")
    own = Path(limits.__file__).read_text()
    unused = [name for name in names() if name not in text and own.count(name) < 2]
    assert unused == []
