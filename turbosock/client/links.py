"""Links: the Link fields of an answer (RFC 8288 §3), by what they are to it.

Parsing is lenient, as that section's appendix B has it: what is no link is skipped, and ends nothing. It is linear in
the length of the fields, which the bound of a head bounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlunsplit

from turbosock.client.uri_reference import Reference, resolved, split_reference

_SPACE: Final = " \t"


def parse_links(fields: Iterable[str], base: str) -> dict[str, dict[str, str]]:
    """The links by relation, in lower case; the first one of each.

    Args:
        fields: the values of the Link fields.
        base: the URL that relative targets are seen from.

    Returns:
        For each relation the link's parameters by name, in lower case, and its target as "url". Links whose context is
        something else than the answer (`anchor`) are left out.
    """
    found: dict[str, dict[str, str]] = {}
    origin = split_reference(base)
    for field in fields:
        for target, parameters in _links(field):
            if "anchor" in parameters:
                continue
            parameters["url"] = _absolute(resolved(origin, split_reference(target)))
            for relation in parameters.get("rel", "").lower().split():
                # Of several relations of one link each has the same dictionary: a field may name thousands.
                found.setdefault(relation, parameters)
    return found


def _absolute(target: Reference) -> str:
    # urlunsplit() tells an empty part from one that is not there no better than servers do.
    scheme, authority, path, query, fragment = target
    return urlunsplit((scheme or "", authority or "", path, query or "", fragment or ""))


def _links(field: str) -> Iterable[tuple[str, dict[str, str]]]:
    """The targets of one field, as they stand there, with their parameters."""
    at = 0
    while True:
        at = field.find("<", at)
        end = field.find(">", at)
        if at < 0 or end < 0:
            return
        target = field[at + 1 : end].strip()
        parameters: dict[str, str] = {}
        at = _skip_space(field, end + 1)
        while at < len(field) and field[at] == ";":
            name, value, at = _parameter(field, at + 1)
            if name:
                # The first one counts (RFC 8288 §3.3).
                parameters.setdefault(name, value)
        yield target, parameters
        # On to the comma; what stands before it is nothing that is known.
        at = field.find(",", at)
        if at < 0:
            return


def _parameter(field: str, at: int) -> tuple[str, str, int]:
    """Name, value, and where what follows them begins."""
    start = at = _skip_space(field, at)
    while at < len(field) and field[at] not in "=;, \t":
        at += 1
    name = field[start:at].lower()
    at = _skip_space(field, at)
    if at >= len(field) or field[at] != "=":
        return name, "", at
    at = _skip_space(field, at + 1)
    if at < len(field) and field[at] == '"':
        value, at = _quoted(field, at + 1)
    else:
        start = at
        while at < len(field) and field[at] not in ";,":
            at += 1
        value = field[start:at].rstrip(_SPACE)
    return name, value, _skip_space(field, at)


def _quoted(field: str, at: int) -> tuple[str, int]:
    """The text up to the closing quotation mark, and where what follows it begins."""
    parts: list[str] = []
    start = at
    while at < len(field) and field[at] != '"':
        if field[at] == "\\" and at + 1 < len(field):
            parts.append(field[start:at])
            start = at + 1
            at += 2
        else:
            at += 1
    parts.append(field[start:at])
    return "".join(parts), at + 1


def _skip_space(field: str, at: int) -> int:
    while at < len(field) and field[at] in _SPACE:
        at += 1
    return at
