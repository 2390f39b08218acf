"""The fixtures, in runs of pytest inside this one: what they give, what they fail, and what loading them imports."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

pytest_plugins = ("pytester",)

PLUGIN = "turbosock.testing.pytest_plugin"


def run(pytester: pytest.Pytester, source: str) -> pytest.RunResult:
    pytester.makepyfile(inspect.cleandoc(source))
    return pytester.runpytest("-p", PLUGIN, "-p", "no:cacheprovider", "-rA", "--strict-markers")


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
        """,
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*1 lease not returned: 70 bytes of the mine taken at *test_*.py:6*"])


def test_loading_the_plugin_imports_no_part_of_the_kit() -> None:
    code = f"""
import sys, {PLUGIN}
print([name for name in sys.modules if name.startswith("turbosock.testing.") and name != {PLUGIN!r}])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
