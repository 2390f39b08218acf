"""Reference: a URI reference split into its components, and resolved against a base (RFC 3986 §4 and §5).

Splitting and resolving alone: nothing is checked, decoded or encoded, and every text is a reference to something. What
may be requested is for `url.py` to say.
"""

from __future__ import annotations

from typing import Final, NamedTuple

_SCHEME_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.")


class Reference(NamedTuple):
    """The five components of a URI or of a reference to one (RFC 3986 §3); None is one that is not there."""

    scheme: str | None
    authority: str | None
    path: str
    query: str | None
    fragment: str | None


def split_reference(text: str) -> Reference:
    """The components of a reference, as RFC 3986's appendix B splits them."""
    text, mark, rest = text.partition("#")
    fragment = rest if mark else None
    text, mark, rest = text.partition("?")
    query = rest if mark else None
    scheme, colon, rest = text.partition(":")
    # By the grammar, not the appendix: "1:2" and "a/b:c" are paths, as browsers have it.
    if colon and scheme and scheme[0].isascii() and scheme[0].isalpha() and _SCHEME_CHARACTERS.issuperset(scheme):
        text = rest
        own_scheme: str | None = scheme
    else:
        own_scheme = None
    authority = None
    if text.startswith("//"):
        end = text.find("/", 2)
        end = end if end >= 0 else len(text)
        authority, text = text[2:end], text[end:]
    return Reference(own_scheme, authority, text, query, fragment)


def resolved(base: Reference, reference: Reference) -> Reference:
    """The target of a reference, seen from `base` (RFC 3986 §5.2.2, strict: a scheme makes it absolute)."""
    scheme, authority, path, query, fragment = reference
    if scheme is not None or authority is not None:
        return Reference(scheme or base.scheme, authority, without_dot_segments(path), query, fragment)
    if not path:
        return Reference(base.scheme, base.authority, base.path, base.query if query is None else query, fragment)
    if not path.startswith("/"):
        path = _merged(base, path)
    return Reference(base.scheme, base.authority, without_dot_segments(path), query, fragment)


def _merged(base: Reference, path: str) -> str:
    """A relative path behind the directory of the base's (RFC 3986 §5.2.3)."""
    if base.authority is not None and not base.path:
        return "/" + path
    return base.path[: base.path.rfind("/") + 1] + path


def without_dot_segments(path: str) -> str:
    """A path without "." and ".." segments (RFC 3986 §5.2.4), in linear time."""
    absolute = path.startswith("/")
    segments = path.split("/")
    kept: list[str] = []
    for segment in segments[1:] if absolute else segments:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        # What names a directory ends with a slash.
        kept.append("")
    return ("/" if absolute else "") + "/".join(kept)
