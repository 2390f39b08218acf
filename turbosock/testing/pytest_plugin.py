"""The fixtures for pytest: a mock, a network, and a look for leaks, each closed and asserted at the end of the test.

Nothing is imported from this package before a test asks for it: every run of pytest loads this file.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from turbosock.testing.leak_tracking import LeakTracker
    from turbosock.testing.mock_transport import MockTransport
    from turbosock.testing.network import Network

_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether the test failed: what it has left unused then is no news."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


def _has_failed(request: pytest.FixtureRequest) -> bool:
    return request.node.stash.get(_FAILED, False)  # type: ignore[no-any-return]  # a node is not typed


@pytest.fixture
def turbosock_network() -> Iterator[Network]:
    """A `turbosock.testing.Network` without latency, bandwidth or loss; make your own for those."""
    from turbosock.testing.network import Network

    with Network() as network:
        yield network


@pytest.fixture
def turbosock_mock(request: pytest.FixtureRequest) -> Iterator[MockTransport]:
    """A `turbosock.testing.MockTransport`; the test fails at its end where answers were not asked for."""
    from turbosock.testing.mock_transport import MockTransport

    mock = MockTransport()
    yield mock
    mock.close()
    if not _has_failed(request):
        mock.assert_all_used()


@pytest.fixture
def turbosock_leaks(request: pytest.FixtureRequest) -> Iterator[LeakTracker]:
    """A `turbosock.testing.LeakTracker` around the test, which fails where pooled memory was not returned."""
    from turbosock.testing.leak_tracking import LeakTracker

    tracker = LeakTracker()
    tracker.__enter__()
    try:
        yield tracker
        if not _has_failed(request):
            tracker.assert_all_returned()
    finally:
        tracker.stop()
