"""Bodies in a cassette: text stands in it, everything else in files beside it.

What is short and text, once its content coding is undone, is written as text that people can read and edit: a str, or a
list of its lines. A replay codes it again, which gives the same content by other bytes. Everything else goes as it is
into a file named for what it holds, so that a body which comes again is one file, and a file that was written is never
changed.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import secrets
import zlib
from pathlib import Path
from typing import Any, Final

from turbosock import limits
from turbosock.errors import CassetteError, DecodingError, LimitError
from turbosock.protocol.content.registry import decoder_for
from turbosock.testing.cassettes.entry import RecordedBody, TextField, values_of
from turbosock.testing.cassettes.redaction import Redaction

# What nobody expects in a text.
_NO_TEXT: Final = frozenset(map(chr, range(32))) - {"\t", "\r", "\n"} | {"\x7f"}
# Those that can be made again from the standard library.
_CODED_AGAIN: Final = ("gzip", "x-gzip", "deflate")


def body_as_json(body: RecordedBody, headers: list[TextField], redaction: Redaction, folder: Path) -> Any:
    """What a cassette says of a body; None: there is none. It is written to a file in `folder` where it is no text."""
    if body.path is None:
        if not body.content:
            return None
        text = _as_text(body.content, headers)
        if text is not None:
            lines = redaction.text(text, _content_type(headers)).split("\n")
            return lines[0] if len(lines) == 1 else lines
        write_aside(body, folder)
    assert body.path is not None, "it has just been written"
    return {"file": body.path.name, "bytes": body.size, "sha256": body.digest}


def write_aside(body: RecordedBody, folder: Path) -> None:
    """Move a body from memory to a file."""
    content = body.content
    body.digest = hashlib.sha256(content).hexdigest()
    body.size = len(content)
    body.path = folder / f"{body.digest[:16]}.bin"
    body.content = b""
    if body.path.is_file() and body.path.stat().st_size == body.size:
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(body.path, content)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears, or is replaced, when all of it is there."""
    # Not by tempfile, whose files are their owner's alone; this one is for all who read the folder.
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    file = part.open("xb")
    try:
        with file:
            file.write(content)
        os.replace(part, path)
    except BaseException:
        part.unlink()
        raise


def body_of_json(said: Any, headers: list[TextField], folder: Path) -> RecordedBody:
    """The body that a cassette tells of.

    Raises:
        ValueError: it tells nothing that can be understood, or its file is not the one that was written.
    """
    if said is None:
        return RecordedBody()
    if isinstance(said, list) and all(isinstance(line, str) for line in said):
        said = "\n".join(said)
    if isinstance(said, str):
        return RecordedBody(_coded(said.encode(), headers))
    if not isinstance(said, dict) or said.keys() != {"file", "bytes", "sha256"}:
        raise ValueError("is no text, no list of lines, and no file with its bytes and sha256")
    name, size, digest = said["file"], said["bytes"], said["sha256"]
    if not isinstance(name, str) or not name or name != Path(name).name or name.startswith("."):
        raise ValueError(f"names the file {name!r}, which is not in {folder.name}/")
    path = folder / name
    if not path.is_file():
        raise ValueError(f"is in {folder.name}/{name}, which is not there")
    if path.stat().st_size != size:
        raise ValueError(f"has {size} bytes, {folder.name}/{name} has {path.stat().st_size}")
    return RecordedBody(path=path, size=size, digest=str(digest))


def content_of(body: RecordedBody) -> bytes:
    """The bytes of a body, wherever they are.

    Raises:
        CassetteError: its file is gone, or is not what was recorded.
    """
    if body.path is None:
        return body.content
    try:
        content = body.path.read_bytes()
    except OSError as error:
        raise CassetteError(f"{body.path}: cannot be read ({error.strerror}); record the cassette again") from error
    if hashlib.sha256(content).hexdigest() != body.digest:
        raise CassetteError(f"{body.path}: holds another body than was recorded; record the cassette again")
    return content


def comparable(content: bytes, headers: list[TextField], redaction: Redaction) -> str | bytes:
    """A body as it is compared with another: its text without secrets, or its bytes."""
    text = _as_text(content, headers)
    return content if text is None else redaction.text(text, _content_type(headers))


def _content_type(headers: list[TextField]) -> str:
    return ",".join(values_of(headers, "content-type")).lower()


def _as_text(content: bytes, headers: list[TextField]) -> str | None:
    """A body as text that says all of it; None: there is none, or it is long."""
    if len(content) > limits.MAX_INLINE_BODY_BYTES:
        return None
    coding = _coding(headers)
    try:
        if coding:
            content = _decoded(content, coding)
        text = content.decode()
    except (DecodingError, LimitError, UnicodeDecodeError):
        return None
    if not _NO_TEXT.isdisjoint(text):
        return None
    return text


def _coding(headers: list[TextField]) -> str:
    return ",".join(values_of(headers, "content-encoding")).strip().lower()


def _decoded(content: bytes, coding: str) -> bytes:
    """The content of a body that can be coded again.

    Raises:
        DecodingError: it is not in its coding, expands too far, or could not be coded again.
    """
    if coding not in _CODED_AGAIN:
        raise DecodingError("it could not be coded again")
    decoder = decoder_for(coding, max_bytes=limits.MAX_INLINE_BODY_BYTES)
    assert decoder is not None, "these codings are always there"
    parts = []
    room = memoryview(bytearray(limits.MAX_INLINE_BODY_BYTES))
    try:
        decoder.feed(memoryview(content))
        while not decoder.needs_input:
            parts.append(bytes(room[: decoder.read_into(room)]))
        decoder.finish()
    finally:
        decoder.close()
    return b"".join(parts)


def _coded(content: bytes, headers: list[TextField]) -> bytes:
    coding = _coding(headers)
    if coding in ("gzip", "x-gzip"):
        # The same bytes each time.
        return gzip.compress(content, mtime=0)
    if coding == "deflate":
        return zlib.compress(content)
    return content
