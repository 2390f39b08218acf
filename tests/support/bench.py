"""tools/bench for tests: `load` imports its modules for one test."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Protocol

import pytest

BENCH = Path(__file__).parent.parent.parent / "tools" / "bench"
# What a process of the benchmarks finds its modules by.
PATHS = {"PYTHONPATH": os.pathsep.join([os.fspath(BENCH), os.fspath(BENCH.parent.parent)])}


class Load(Protocol):
    """Imports one of the benchmarks' modules by its name."""

    def __call__(self, name: str) -> ModuleType: ...


@contextlib.contextmanager
def loading(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Imports from tools/bench, and leaves neither its path nor its short module names behind."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(BENCH)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(os.fspath(BENCH)):
            del sys.modules[name]
