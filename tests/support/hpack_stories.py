"""Header lists that many encoders wrote, and the bytes that they made of them: `hpack-test-case.tar.xz`, read once.

A story is the traffic of one direction of one connection: its lists come in order and share a header table.
"""

from __future__ import annotations

import functools
import json
import tarfile
from dataclasses import dataclass

from support.vectors import require

ARCHIVE = "hpack-test-case.tar.xz"
# The directory with the lists alone, which is there to be encoded.
RAW = "raw-data"

Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Story:
    """One file of the archive.

    Attributes:
        encoder: whose bytes they are, or RAW.
        name: encoder and file.
        cases: for each list the table size announced before it or None, the block (b"" in RAW), and the fields.
    """

    encoder: str
    name: str
    cases: list[tuple[int | None, bytes, Fields]]


@functools.cache
def stories() -> list[Story]:
    """Every story of the archive; skips the test where it is missing."""
    found = []
    with tarfile.open(require(ARCHIVE)) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.endswith(".json") else None
            if file is not None:
                encoder, name = member.name.split("/")[-2:]
                cases = [
                    (case.get("header_table_size"), bytes.fromhex(case.get("wire", "")), _fields(case["headers"]))
                    for case in json.load(file)["cases"]
                ]
                found.append(Story(encoder, f"{encoder}/{name}", cases))
    return found


def encoders() -> list[str]:
    """The encoders of the archive, RAW not among them."""
    return sorted({story.encoder for story in stories()} - {RAW})


def stories_of(encoder: str) -> list[Story]:
    """The stories of one encoder, or of RAW."""
    return [story for story in stories() if story.encoder == encoder]


def _fields(headers: list[dict[str, str]]) -> Fields:
    return [(name.encode(), value.encode()) for header in headers for name, value in header.items()]
