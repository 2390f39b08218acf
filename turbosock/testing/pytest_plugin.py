"""The fixtures for pytest: a mock, a network, a cassette, faults, and a look for leaks, each closed at the end of the
test.

Nothing is imported from this package before a test asks for it: every run of pytest loads this file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from turbosock.testing.cassettes.recorder import Recorder
    from turbosock.testing.faults.fault_transport import FaultTransport
    from turbosock.testing.leak_tracking import LeakTracker
    from turbosock.testing.mock_transport import MockTransport
    from turbosock.testing.network import Network

_FAILED = pytest.StashKey[bool]()
_FAULTS = pytest.StashKey[list["FaultTransport"]]()
_CASSETTE = "turbosock_cassette"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer what runs of the same tests differ in."""
    group = parser.getgroup("turbosock")
    group.addoption(
        "--turbosock-cassettes",
        choices=("once", "record", "replay"),
        default="once",
        help="what the cassettes of tests are for: record what is missing (once), record all anew, or only replay",
    )
    group.addoption(
        "--turbosock-seed",
        type=int,
        default=0,
        help="of the faults that tests draw by chance, unless they say their own",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the marker."""
    config.addinivalue_line("markers", f"{_CASSETTE}(**options): what the Recorder of the test takes (turbosock)")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether the test failed: what it has left unused then is no news. Say which faults it met."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
        for faults in item.stash.get(_FAULTS, []):
            made = "\n".join(str(each) for each in faults.made) or "none were made"
            report.sections.append((f"faults of {faults!r}", made))
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


@pytest.fixture
def turbosock_cassette(request: pytest.FixtureRequest) -> Iterator[Recorder]:
    """A `turbosock.testing.Recorder` whose cassette is named for the test: cassettes/FILE/TEST.json, beside its file.

    The name of a test in a class begins with that of the class.

    The marker of the same name has its options. A test that fails writes nothing.
    """
    from turbosock.testing.cassettes.recorder import Recorder

    marker = request.node.get_closest_marker(_CASSETTE)
    options: dict[str, Any] = {"mode": request.config.getoption("turbosock_cassettes")}
    if marker is not None:
        options.update(marker.kwargs)
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", request.node.nodeid.partition("::")[2]).strip("-.")
    recorder = Recorder(request.path.parent / "cassettes" / request.path.stem / f"{name}.json", **options)
    try:
        yield recorder
        if not _has_failed(request):
            recorder.close()
    finally:
        recorder.abandon()


@pytest.fixture
def turbosock_faults(request: pytest.FixtureRequest) -> Callable[..., FaultTransport]:
    """A function that makes a `turbosock.testing.FaultTransport`; where a test fails, its faults are told.

    Those by chance are of the seed that `--turbosock-seed` says, unless the test says its own.
    """
    from turbosock.testing.faults.fault_transport import FaultTransport

    def make(*faults: Any, **options: Any) -> FaultTransport:
        if options.get("chances"):
            options.setdefault("seed", request.config.getoption("turbosock_seed"))
        made = FaultTransport(*faults, **options)
        request.node.stash.setdefault(_FAULTS, []).append(made)
        return made

    return make
