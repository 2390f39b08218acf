"""What holds for every test: the environment's proxies and terminal are not ours, in this process and in those that
tests start; and settings that the environment switches (see support/switches.py) are. Ctrl-C interrupts, however the
tests were begun.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from support import switches

for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)
for name in ("TERM", "NO_COLOR"):
    os.environ.pop(name, None)

# A shell gives what it starts in the background a SIGINT that is ignored, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SWITCHED = switches.throw()

# Also where the package is only on the path, and not installed with its entry point.
pytest_plugins = ("turbosock.audit.pytest_plugin", "turbosock.testing.pytest_plugin")


def pytest_report_header() -> str | None:
    """Say in which position the switches are."""
    return f"switched: {SWITCHED}" if SWITCHED else None


def pytest_collection_finish() -> None:
    """Take what is there by now out of the collector's sight: the many tests that collect would look at each other."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def leaks_are_found_where_they_are_made() -> Iterator[None]:
    """What a module's tests leave open in a cycle is told of at its end, not in a test of another."""
    yield
    gc.collect()


@pytest.fixture
def memray() -> Any:
    """memray, for tests that count allocations."""
    # Not with this module, which begins before the environment is what it has to be.
    from turbosock.audit.counting import usable_memray

    found = usable_memray()
    if found is None:
        pytest.skip("memray is not installed, or something else traces: pip install 'turbosock[test]'")
    return found
