"""The tree of errors: as its docstring draws it, free of credentials, and able to travel."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import threading

import pytest

from turbosock import errors
from turbosock.errors import Origin, Phase, TurbosockError

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, TurbosockError)]
BUILTIN_BASES = {"ValueError": ValueError, "OSError": OSError, "TimeoutError": TimeoutError}


def drawn_tree() -> dict[str, tuple[str | None, str | None, str | None]]:
    """Each class of the docstring's picture: its parent, its builtin base, and its origin where one is written."""
    tree: dict[str, tuple[str | None, str | None, str | None]] = {"TurbosockError": (None, None, None)}
    above = {0: "TurbosockError"}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([│ ]*[├└]── )(.*)", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        for name, base in re.findall(
            r"([A-Z][a-z]+[0-9]?(?:[A-Z][a-z]+)*)(?: \((\w+)\))?(?=\s|$)", match[2].split("   ")[0]
        ):
            origins = re.findall(r"\b(LOCAL|REMOTE|PROTOCOL|TIMEOUT|TLS|LIMIT|MISUSE)\b(?! or)", match[2])
            tree[name] = (above[depth - 1], base or None, origins[0] if len(origins) == 1 else None)
            above[depth] = name
        # Several classes on one line, as the timeouts are, share their parent.
        for name in re.findall(r"\b[A-Z][a-z]+Timeout\b", match[2]):
            tree[name] = (above[depth - 1], None, None)
    return tree


def test_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    tree = drawn_tree()
    assert set(tree) == {kind.__name__ for kind in CLASSES}
    for kind in CLASSES:
        parent, builtin, _ = tree[kind.__name__]
        if parent is not None:
            assert kind.__bases__[0].__name__ == parent, kind
        if builtin is not None:
            assert issubclass(kind, BUILTIN_BASES[builtin]), kind


def test_tree_in_the_docstring_names_the_origins_of_the_classes() -> None:
    for kind in CLASSES:
        origin = drawn_tree()[kind.__name__][2]
        if origin is not None and not issubclass(kind, errors.NetworkError):
            assert kind.origin is Origin[origin], kind


def test_codes_are_stable_words_of_their_own() -> None:
    codes = [kind.code for kind in CLASSES]
    assert len(set(codes)) == len(codes)
    for code in codes:
        assert re.fullmatch(r"[a-z0-9_]+", code)


@pytest.mark.parametrize("kind", CLASSES)
def test_error_message_says_what_was_being_done(kind: type[TurbosockError]) -> None:
    error = kind("it failed").during(Phase.BODY, "GET", "http://host/path", 42)
    assert str(error) == "GET http://host/path: it failed (while reading the response body after 42 body bytes)"
    assert str(kind("it failed")) == "it failed"
    assert str(kind("it failed").during(Phase.HEAD)) == "it failed (while waiting for the response head)"


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_error_pickled_keeps_everything_that_can_travel(kind: type[TurbosockError], protocol: int) -> None:
    error = kind("it failed").during(Phase.SEND, "PUT", "http://host/", 7)
    error.code = "special"
    error.origin = Origin.LOCAL
    if isinstance(error, errors.NetworkError):
        error.errno = 111
    if isinstance(error, errors.StatusError):
        # A lock cannot be pickled, nor can a response.
        error.response = threading.Lock()
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is kind
    assert str(again) == str(error)
    assert (again.code, again.origin, again.phase, again.method, again.url, again.bytes_done) == (
        "special",
        Origin.LOCAL,
        Phase.SEND,
        "PUT",
        "http://host/",
        7,
    )
    assert getattr(again, "errno", None) == getattr(error, "errno", None)
    assert getattr(again, "response", None) is None


def test_error_copied_is_equal_in_what_it_says() -> None:
    error = errors.ReadError("reset", errno=104).during(Phase.HEAD, "GET", "http://host/")
    again = copy.copy(error)
    assert (str(again), getattr(again, "errno", None), again.code) == (str(error), 104, "read")


def test_timeouts_are_caught_as_timeouts_and_networks_as_oserrors() -> None:
    for kind in CLASSES:
        assert issubclass(kind, TimeoutError) is issubclass(kind, errors.DeadlineError)
        assert issubclass(kind, ValueError) is issubclass(kind, errors.InvalidOption)
