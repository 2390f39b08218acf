"""The plugin for pytest, in runs of pytest inside this one: what it fails, what it lets pass, and what it says."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.peers import Peer, nginx
from turbosock.audit.counting import usable_memray

pytest_plugins = ("pytester",)

PLUGIN = "turbosock.audit.pytest_plugin"

# What the tests inside are made of.
PREAMBLE = """\
import socket
import pytest
from turbosock import Client
from turbosock.buffers import BufferPool
from turbosock.reactor.context import IOContext

pool = BufferPool()
kept = []
mark = pytest.mark.steady_state
"""


@pytest.fixture(autouse=True)
def no_diagnostics(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted are the defaults, in a process of its own, too."""
    monkeypatch.setenv("TURBOSOCK_POOL_DIAGNOSTICS", "")


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with nginx(tmp_path_factory.mktemp("nginx"), big_bytes=1000) as running:
        yield running


def run(pytester: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(PREAMBLE + inspect.cleandoc(source))
    return pytester.runpytest("-p", PLUGIN, "-p", "no:cacheprovider", "-rA", "--strict-markers", *arguments)


def run_apart(pytester: pytest.Pytester, source: str) -> pytest.RunResult:
    """As `run`, in a process of its own: what is leaked there ends with it."""
    pytester.makepyfile(PREAMBLE + inspect.cleandoc(source))
    return pytester.runpytest_subprocess("-p", PLUGIN, "-p", "no:cacheprovider", "-rA", "--strict-markers")


def line(source: str, text: str) -> int:
    lines = (PREAMBLE + inspect.cleandoc(source)).splitlines()
    return 1 + next(number for number, each in enumerate(lines) if text in each)


@pytest.fixture
def memray() -> None:
    if usable_memray() is None:
        pytest.skip("memray is not installed, or something else traces: pip install 'turbosock[test]'")


COUNTED = """
@mark(mallocs=0, kept_bytes=0)
def test_idle():
    pass

@mark(mallocs=1, allocations=1, nbytes=5000)
def test_within():
    bytes(4096)

@mark(mallocs=0)
def test_mallocs():
    bytes(4096)

@mark(allocations=2)
def test_allocates():
    for _ in range(4):
        bytearray(9)

@mark(nbytes=100)
def test_large():
    bytes(300)

@mark(kept_bytes=16)
def test_keeps():
    kept.append(bytes(2000))
"""


def test_test_that_takes_more_than_it_says_fails_and_the_line_is_named(memray: None, pytester: pytest.Pytester) -> None:
    result = run(pytester, COUNTED)
    result.assert_outcomes(passed=2, failed=4)
    told = result.stdout.str()
    for expected in (
        "1.00 system mallocs a call, 0 allowed",
        "Python allocations a call, 2 allowed",
        "bytes a call, 100 allowed",
        "bytes a call are kept, 16 allowed",
    ):
        assert expected in told
    number = line(COUNTED, "kept.append(bytes(2000))")
    assert f".py:{number}: 1.00, 2,0" in told and "kept.append(bytes(2000))" in told


LEAKS = """
@mark
def test_lease_held():
    kept.append(pool.rent(2000))

@mark
def test_lease_lost():
    pool.rent(3000)

@mark
def test_socket_held():
    kept.append(socket.socket())

@mark
def test_socket_dropped():
    socket.socket(socket.AF_UNIX)

@mark
def test_context_held():
    kept.append(IOContext())

@mark(leaks=False)
def test_leak_allowed():
    kept.append(IOContext())

@mark
def test_nothing_left():
    pool.rent(4000).release()
    socket.socket().close()
"""


def test_test_that_leaks_fails_and_the_line_is_named(pytester: pytest.Pytester) -> None:
    result = run_apart(pytester, LEAKS)
    result.assert_outcomes(passed=2, failed=5)
    told = result.stdout.str()
    for what, text in (
        ("20 leases not given back after 20 calls", "pool.rent(2000)"),
        ("20 leases not given back after 20 calls", "pool.rent(3000)"),
        ("20 sockets still there after 20 calls", "append(socket.socket())"),
        ("20 sockets dropped and not closed after 20 calls", "socket.socket(socket.AF_UNIX)"),
        ("20 I/O contexts still there after 20 calls", "append(IOContext())"),
    ):
        expected = f".py:{line(LEAKS, text)} (20)"
        assert any(what in each and expected in each for each in told.splitlines()), (what, expected, told)


def test_client_in_a_fixture_leaks_nothing_and_mallocs_nothing(
    memray: None, pytester: pytest.Pytester, peer: Peer
) -> None:
    source = f"""
    @pytest.fixture
    def client():
        with Client() as client:
            yield client

    view = memoryview(bytearray(1000))

    @mark(mallocs=0.02, allocations=40, kept_bytes=100)
    def test_request(client):
        with client.stream("GET", {peer.url("/100")!r}) as response:
            while response.readinto(view):
                pass

    @mark
    def test_client_never_closed():
        client = Client()
        kept.append(client)
        client.get({peer.url("/100")!r})
    """
    result = run_apart(pytester, source)
    result.assert_outcomes(passed=1, failed=1)
    number = line(source, "client.get(")
    assert "20 sockets still there after 20 calls, made at" in result.stdout.str()
    assert f".py:{number} (20)" in result.stdout.str()


def test_fixture_looks_at_a_part_of_a_test(memray: None, pytester: pytest.Pytester) -> None:
    source = """
    def test_part(steady_state):
        bytes(10_000)
        steady_state(lambda: None, mallocs=0, allocations=0)

    def test_parameters(steady_state):
        calls = []
        steady_state(lambda: calls.append(None), warm_up=10, count=30)
        assert len(calls) == 40

    def test_leaks(steady_state):
        steady_state(lambda: kept.append(IOContext()))
    """
    result = run(pytester, source)
    result.assert_outcomes(passed=2, failed=1)


def test_test_that_fails_or_skips_by_itself_does_so(pytester: pytest.Pytester) -> None:
    source = """
    @mark
    def test_fails():
        assert 1 == 2

    @mark
    def test_skips():
        pytest.skip("not here")

    class TestMethod:
        @mark
        def test_method(self, tmp_path):
            assert tmp_path
    """
    result = run(pytester, source)
    result.assert_outcomes(passed=1, failed=1, skipped=1)
    assert "assert 1 == 2" in result.stdout.str()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("mallocs=-1", "mallocs=-1: give a number of at least 0"),
        ("leaks=1", "leaks=1: give True or False"),
        ("count=0", "count=0: give 1 to"),
        ("words=3", "words"),
        ("0", "give its arguments by name"),
    ],
)
def test_marker_that_cannot_work_fails_the_test_in_one_line(
    pytester: pytest.Pytester, arguments: str, expected: str
) -> None:
    result = run(pytester, f"@mark({arguments})\ndef test_it():\n    pass\n")
    result.assert_outcomes(failed=1)
    assert expected in result.stdout.str()


def test_marked_coroutine_fails_with_the_reason(pytester: pytest.Pytester) -> None:
    result = run(pytester, "@mark\nasync def test_it():\n    pass\n")
    result.assert_outcomes(failed=1)
    assert "the test is a coroutine" in result.stdout.str()


def test_counts_without_memray_are_skipped_and_leaks_are_not(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "memray", None)
    source = """
    @mark(mallocs=0)
    def test_counts():
        pass

    @mark
    def test_leaks():
        kept.append(IOContext())
    """
    result = run(pytester, source)
    result.assert_outcomes(skipped=1, failed=1)
    assert "memray is not installed" in result.stdout.str()


def test_beside_pytest_memray_each_does_its_own(memray: None, pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_memray", reason="pip install 'turbosock[test]'")
    source = """
    @mark(mallocs=1, allocations=1)
    @pytest.mark.limit_memory("1 KB")
    def test_both():
        bytes(4096)

    @mark(mallocs=0)
    @pytest.mark.limit_memory("1 MB")
    def test_ours():
        bytes(4096)

    def test_fixture(steady_state):
        steady_state(lambda: None, mallocs=0)
    """
    pytester.makepyfile(PREAMBLE + inspect.cleandoc(source))
    # In a process of its own: pytest-memray prepares itself at the start.
    result = pytester.runpytest_subprocess("-p", PLUGIN, "-p", "no:cacheprovider", "-rA", "--memray")
    result.assert_outcomes(failed=2, skipped=1)
    told = result.stdout.str()
    assert "1.00 system mallocs a call, 0 allowed" in told
    assert "Test was limited to" in told
    assert "memray traces this process already" in told


def test_plugin_is_an_entry_point_of_pytest() -> None:
    setup = (Path(__file__).parents[2] / "setup.cfg").read_text()
    assert f"{PLUGIN} = {PLUGIN}" in setup
