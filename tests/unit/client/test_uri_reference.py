"""References: split by the grammar, and resolved exactly as RFC 3986 §5.4 lists."""

from __future__ import annotations

import random

import pytest

from support.seeds import seeds
from turbosock.client.uri_reference import Reference, resolved, split_reference, without_dot_segments

BASE = "http://a/b/c/d;p?q"

# RFC 3986 §5.4.1
NORMAL = [
    ("g:h", "g:h"),
    ("g", "http://a/b/c/g"),
    ("./g", "http://a/b/c/g"),
    ("g/", "http://a/b/c/g/"),
    ("/g", "http://a/g"),
    ("//g", "http://g"),
    ("?y", "http://a/b/c/d;p?y"),
    ("g?y", "http://a/b/c/g?y"),
    ("#s", "http://a/b/c/d;p?q#s"),
    ("g#s", "http://a/b/c/g#s"),
    ("g?y#s", "http://a/b/c/g?y#s"),
    (";x", "http://a/b/c/;x"),
    ("g;x", "http://a/b/c/g;x"),
    ("g;x?y#s", "http://a/b/c/g;x?y#s"),
    ("", "http://a/b/c/d;p?q"),
    (".", "http://a/b/c/"),
    ("./", "http://a/b/c/"),
    ("..", "http://a/b/"),
    ("../", "http://a/b/"),
    ("../g", "http://a/b/g"),
    ("../..", "http://a/"),
    ("../../", "http://a/"),
    ("../../g", "http://a/g"),
]
# RFC 3986 §5.4.2; the last one by its strict reading.
ABNORMAL = [
    ("../../../g", "http://a/g"),
    ("../../../../g", "http://a/g"),
    ("/./g", "http://a/g"),
    ("/../g", "http://a/g"),
    ("g.", "http://a/b/c/g."),
    (".g", "http://a/b/c/.g"),
    ("g..", "http://a/b/c/g.."),
    ("..g", "http://a/b/c/..g"),
    ("./../g", "http://a/b/g"),
    ("./g/.", "http://a/b/c/g/"),
    ("g/./h", "http://a/b/c/g/h"),
    ("g/../h", "http://a/b/c/h"),
    ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
    ("g;x=1/../y", "http://a/b/c/y"),
    ("g?y/./x", "http://a/b/c/g?y/./x"),
    ("g?y/../x", "http://a/b/c/g?y/../x"),
    ("g#s/./x", "http://a/b/c/g#s/./x"),
    ("g#s/../x", "http://a/b/c/g#s/../x"),
    ("http:g", "http:g"),
]


def joined(reference: Reference) -> str:
    """RFC 3986 §5.3."""
    scheme, authority, path, query, fragment = reference
    text = "" if scheme is None else scheme + ":"
    text += "" if authority is None else "//" + authority
    text += path
    text += "" if query is None else "?" + query
    return text + ("" if fragment is None else "#" + fragment)


@pytest.mark.parametrize(("reference", "target"), NORMAL + ABNORMAL)
def test_reference_resolved_is_the_target_of_the_rfc(reference: str, target: str) -> None:
    assert joined(resolved(split_reference(BASE), split_reference(reference))) == target


@pytest.mark.parametrize(
    ("base", "reference", "target"),
    [
        ("http://a", "g", "http://a/g"),
        ("http://a?q", "g", "http://a/g"),
        ("http://a?q", "", "http://a?q"),
        ("http://a/b", "?", "http://a/b?"),
        ("http://a/b?q", "#", "http://a/b?q#"),
        ("http://a/b/../c", "#s", "http://a/b/../c#s"),
        ("http://a/b", "HTTP://C/d/../e", "HTTP://C/e"),
        ("http://a/b", "/.//g", "http://a//g"),
        ("http://a/b//c", "../g", "http://a/b/g"),
    ],
)
def test_reference_at_the_edges_resolves_by_the_algorithm(base: str, reference: str, target: str) -> None:
    assert joined(resolved(split_reference(base), split_reference(reference))) == target


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", (None, None, "", None, None)),
        ("//", (None, "", "", None, None)),
        ("///p", (None, "", "/p", None, None)),
        ("s:", ("s", None, "", None, None)),
        ("s+1.-:p", ("s+1.-", None, "p", None, None)),
        ("1:2", (None, None, "1:2", None, None)),
        (":p", (None, None, ":p", None, None)),
        ("a/b:c", (None, None, "a/b:c", None, None)),
        ("a?b:c", (None, None, "a", "b:c", None)),
        ("a#b?c:d#e", (None, None, "a", None, "b?c:d#e")),
        ("//h?q", (None, "h", "", "q", None)),
        ("ä:p", (None, None, "ä:p", None, None)),
        ("s://u@h:1/p?q#f", ("s", "u@h:1", "/p", "q", "f")),
    ],
)
def test_reference_split_has_the_components_of_the_grammar(text: str, parts: tuple[str | None, ...]) -> None:
    assert tuple(split_reference(text)) == parts
    assert joined(split_reference(text)) == text


def naive_without_dot_segments(path: str) -> str:
    """RFC 3986 §5.2.4, step by step as it is written there."""
    output = ""
    while path:
        if path.startswith("../"):
            path = path[3:]
        elif path.startswith(("./", "/./")):
            path = path[2:]
        elif path == "/.":
            path = "/"
        elif path.startswith("/../"):
            path = path[3:]
            output = output[: output.rfind("/")] if "/" in output else ""
        elif path == "/..":
            path = "/"
            output = output[: output.rfind("/")] if "/" in output else ""
        elif path in (".", ".."):
            path = ""
        else:
            end = path.find("/", 1)
            end = end if end >= 0 else len(path)
            output += path[:end]
            path = path[end:]
    return output


@pytest.mark.parametrize("seed", seeds(20))
def test_dot_segments_removed_are_those_of_the_naive_algorithm(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(500):
        path = "/" + "/".join(rng.choice(("", ".", "..", "...", "a", "b.")) for _ in range(rng.randrange(9)))
        assert without_dot_segments(path) == naive_without_dot_segments(path), path
