"""The plugin for pytest: a marker and a fixture that fail a test whose steady state takes more than it says, or leaks.

The marker is of a test whose body is one call of the steady state: it is called some hundreds of times with the same
fixtures, and then once more as any test is, which is when pytest-memray looks at it. The fixture is for a test that
names a part of itself.

Nothing is imported from this package before a test asks for it: every run of pytest loads this file.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from turbosock.audit.steady_state import SteadyState

MARKER = "steady_state"


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(mallocs=None, allocations=None, nbytes=None, kept_bytes=None, leaks=True, warm_up=50, count=200): "
        "call the test many times; fail it if a call takes more from memory than that, or leaks a lease, socket or "
        "I/O context (turbosock)",
    )


# Outermost: what counts must not run inside another plugin's tracer, and calls the test as its author wrote it.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Look at the steady state of a marked test, then let it run."""
    __tracebackhide__ = True
    marker = pyfuncitem.get_closest_marker(MARKER)
    if marker is not None:
        if inspect.iscoroutinefunction(pyfuncitem.obj):
            pytest.fail(f"{MARKER}: the test is a coroutine; mark one that is called", pytrace=False)
        arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
        _examine(functools.partial(pyfuncitem.obj, **arguments), _allowed(marker.args, marker.kwargs))
    return (yield)


@pytest.fixture
def steady_state() -> Callable[..., None]:
    """A function of a callable and of what the marker takes: fails the test if calls take more, or leak."""

    def check(step: Callable[[], object], /, **allowed: Any) -> None:
        __tracebackhide__ = True
        _examine(step, _allowed((), allowed))

    return check


def _allowed(args: tuple[object, ...], kwargs: Mapping[str, Any]) -> SteadyState:
    __tracebackhide__ = True
    from turbosock.audit.steady_state import SteadyState
    from turbosock.errors import InvalidOption

    if args:
        pytest.fail(f"{MARKER}: give its arguments by name", pytrace=False)
    try:
        return SteadyState(**kwargs)
    except (InvalidOption, TypeError) as error:
        pytest.fail(f"{MARKER}: {error}", pytrace=False)


def _examine(step: Callable[[], object], allowed: SteadyState) -> None:
    __tracebackhide__ = True
    from turbosock.audit.counting import why_no_memray
    from turbosock.audit.steady_state import complaints

    if allowed.counts:
        reason = why_no_memray()
        if reason:
            pytest.skip(f"{MARKER}: only memray counts allocations, and {reason}")
    found = complaints(step, allowed)
    if found:
        pytest.fail("the steady state of this test:\n" + "\n".join(found), pytrace=False)
