"""The fixtures, in runs of pytest inside this one: what they give, what they fail, and what loading them imports."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

pytest_plugins = ("pytester",)

PLUGIN = "turbosock.testing.pytest_plugin"


def run(pytester: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(inspect.cleandoc(source))
    return pytester.runpytest("-p", PLUGIN, "-p", "no:cacheprovider", "-rA", "--strict-markers", *arguments)


def test_fixtures_give_what_they_are_called(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import turbosock

        def test_mock(turbosock_mock):
            turbosock_mock.add(content="hello")
            with turbosock.Client(connector=turbosock_mock) as client:
                assert client.get("http://x/").text == "hello"

        def test_network(turbosock_network):
            turbosock_network.listen(("x", 80), handler=lambda exchange: exchange.respond(200, None, b"served"))
            with turbosock.Client(connector=turbosock_network) as client:
                assert client.get("http://x/").content == b"served"

        def test_leaks(turbosock_leaks, turbosock_mock):
            turbosock_mock.add(content="hello")
            with turbosock.Client(connector=turbosock_mock) as client:
                client.get("http://x/")
            assert not turbosock_leaks.outstanding()
        """,
    )
    result.assert_outcomes(passed=3)


def test_mock_with_answers_left_is_an_error_at_the_end_of_a_test_that_passed(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        def test_left(turbosock_mock):
            turbosock_mock.route("GET", "/never")

        def test_failed(turbosock_mock):
            turbosock_mock.route("GET", "/never")
            assert 0
        """,
    )
    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*AssertionError: routes that were not used: GET /never*"])


def test_lease_that_is_out_is_an_error_with_its_line(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        from turbosock.buffers.pool import BufferPool

        kept = []

        def test_leak(turbosock_leaks):
            kept.append(BufferPool(name="mine", diagnostics=True).rent(70))

        def test_that_leaves_nothing_behind():
            kept.pop().release()
        """,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*1 lease not returned: 70 bytes of the mine taken at *test_*.py:6*"])


def test_loading_the_plugin_imports_no_part_of_the_kit() -> None:
    code = f"""
import sys, {PLUGIN}
print([name for name in sys.modules if name.startswith("turbosock.testing.") and name != {PLUGIN!r}])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


CASSETTES = """
    import pytest
    import turbosock
    from turbosock.testing import MockTransport

    service = MockTransport()
    service.route(None, "*", lambda request: turbosock.testing.Answer(content=request.path))

    def ask(cassette, path):
        with turbosock.Client(connector=cassette) as client:
            assert client.get(f"http://service.example{path}").text == path

    @pytest.mark.turbosock_cassette(match="lenient", redact=False, inner=service)
    @pytest.mark.parametrize("name", ["a/b"])
    def test_ask(turbosock_cassette, name):
        ask(turbosock_cassette, "/a")

    @pytest.mark.turbosock_cassette(inner=service)
    class TestOne:
        def test_ask(self, turbosock_cassette):
            ask(turbosock_cassette, "/one")

    @pytest.mark.turbosock_cassette(inner=service)
    class TestOther:
        def test_ask(self, turbosock_cassette):
            ask(turbosock_cassette, "/other")

    def test_fails(turbosock_cassette):
        assert 0
    """


def test_cassette_is_beside_the_test_that_passed_and_replayed_in_its_next_run(pytester: pytest.Pytester) -> None:
    result = run(pytester, CASSETTES)
    result.assert_outcomes(passed=3, failed=1)
    written = sorted(pytester.path.rglob("*.json"))
    assert {file.relative_to(pytester.path).parts[0] for file in written} == {"cassettes"}
    assert [file.name for file in written] == ["TestOne-test_ask.json", "TestOther-test_ask.json", "test_ask-a-b.json"]
    before = [file.read_text() for file in written]
    result = run(pytester, CASSETTES, "--turbosock-cassettes", "replay")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*CassetteError*test_fails.json: cannot be read*"])
    assert [file.read_text() for file in written] == before


FAULTS = """
    import turbosock

    def test_met(turbosock_faults, turbosock_mock):
        turbosock_mock.route("GET", "/", content=bytes(1000))
        faults = turbosock_faults(chances={"corrupt": 1.0}, within_bytes=100, inner=turbosock_mock)
        print("seed", faults.seed)
        with turbosock.Client(connector=faults) as client:
            client.get("http://x/")
    """


def test_faults_of_a_test_that_fails_are_told_with_their_seed(pytester: pytest.Pytester) -> None:
    said = []
    for _ in range(2):
        result = run(pytester, FAULTS, "--turbosock-seed", "7")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*faults of <FaultTransport seed=7 made=*", "connection 0: corrupt at byte *"])
        said.append([line for line in result.outlines if line.startswith("connection 0: ")])
    assert said[0] == said[1]
