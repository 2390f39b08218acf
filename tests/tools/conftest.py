"""The benchmarks' modules, for tests of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.bench import Load, loading


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Import from tools/bench for one test, and leave nothing behind."""
    with loading(monkeypatch) as load:
        yield load
