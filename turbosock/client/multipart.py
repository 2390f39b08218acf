"""Multipart forms (RFC 7578): fields and files as one body, which is streamed and never put together in memory.

Names and file names are UTF-8 and escaped as browsers do (WHATWG HTML §4.10.21.8): a quote, CR and LF as %22, %0D and
%0A, so that no name can end its field; line ends within a field's name become CRLF. `filename*` is not sent, as
RFC 7578 §4.2 forbids it. The boundary is 128 bits of the system's randomness: no content holds it by plan or chance.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from turbosock.client.form import form_fields
from turbosock.connection.body_source import body_source
from turbosock.connection.joined_source import JoinedSource
from turbosock.errors import InvalidHeader, InvalidOption
from turbosock.protocol.http1.headers import HeaderList

if TYPE_CHECKING:
    from turbosock.buffers import BufferPool, BufferWriter
    from turbosock.connection.source import BodySource

# RFC 2046 §5.1.1, without what would need quotes in the Content-Type.
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'+_.-]{1,70}\Z")
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_BY_CODING: Final = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
_ANY_TYPE: Final = "application/octet-stream"


class MultipartForm:
    """A form with files, for `files=`, or to be written elsewhere.

    Args:
        fields: a mapping or pairs, as `data=` takes them.
        files: a mapping or pairs of a field's name and a file, or a list of files: bytes, str, a binary file or an
            iterable of buffers, alone or in a tuple (filename, content[, content type[, headers]]). Where only a file
            is given, its own name is sent. A filename of None sends a field.
        boundary: 1 to 70 letters, digits and ``'+_.-`` that no part contains; None: a random one.

    Attributes:
        boundary, content_type: as sent.

    Raises:
        InvalidOption: an argument cannot work; it names the argument.
    """

    __slots__ = ("_parts", "boundary", "content_type")

    def __init__(self, fields: object = None, files: object = None, *, boundary: str | None = None) -> None:
        if boundary is None:
            boundary = os.urandom(16).hex()
        elif not isinstance(boundary, str) or not _BOUNDARY.match(boundary):
            raise InvalidOption("boundary: give 1 to 70 letters, digits and '+_.- in a str")
        self.boundary = boundary
        self.content_type = f"multipart/form-data; boundary={boundary}"
        # Heads, and what goes behind them.
        self._parts: list[tuple[bytes, object]] = []
        if fields is not None:
            for name, value in form_fields(fields):
                self._parts.append((_head(name, None, (), "data"), _encoded(value, "data")))
        if files is not None:
            for name, file in _named_files(files):
                self._parts.append(_file_part(name, file))

    def write_to(self, writer: BufferWriter) -> int:
        """Copy the whole body into a writer; how many bytes. Files are read to their end.

        Raises:
            LimitError: it is more than the writer may hold.
            WriteError: a file cannot be read.
        """
        source = self.source(writer.pool)
        try:
            return source.write_to(writer)
        finally:
            source.release()

    def source(self, buffers: BufferPool) -> JoinedSource:
        """The form as a request's body, with files from their present positions on.

        Raises:
            InvalidOption: a file is closed, or cannot be sent.
        """
        opening = f"--{self.boundary}\r\n".encode()
        pieces: list[bytes | BodySource] = []
        between = b""
        for head, content in self._parts:
            pieces.append(between + opening + head)
            piece = body_source(content, buffers, "files")
            assert piece is not None, "checked when the form was made"
            pieces.append(piece)
            between = b"\r\n"
        pieces.append(between + f"--{self.boundary}--\r\n".encode())
        return JoinedSource(pieces, buffers)


def _named_files(files: object) -> Iterable[tuple[str, Any]]:
    items = files.items() if isinstance(files, Mapping) else files
    try:
        pairs = [(name, file) for name, file in items]  # type: ignore[attr-defined]  # the except clause answers for it
    except (TypeError, ValueError) as error:
        raise InvalidOption("files: give a mapping, or pairs of a field's name and a file") from error
    for name, file in pairs:
        if isinstance(file, list):
            yield from ((name, one) for one in file)
        else:
            yield name, file


def _file_part(name: object, file: Any) -> tuple[bytes, object]:
    content_type: object = None
    headers: Any = ()
    if isinstance(file, tuple):
        if not 2 <= len(file) <= 4:
            raise InvalidOption("files: a tuple is (filename, content[, content type[, headers]])")
        filename, content, *more = file
        content_type = more[0] if more else None
        headers = more[1] if len(more) == 2 and more[1] is not None else ()
    else:
        content = file
        filename = _own_name(file) or (name.decode(errors="replace") if isinstance(name, bytes) else name)
    if content is None:
        raise InvalidOption("files: a file without content; give bytes, a binary file or an iterable")
    if filename is not None and not isinstance(filename, (str, bytes)):
        raise InvalidOption(f"files: a filename is a str or None, not a {type(filename).__name__}")
    if content_type is not None and not isinstance(content_type, str):
        raise InvalidOption(f"files: a content type is a str or None, not a {type(content_type).__name__}")
    try:
        fields = HeaderList(headers)
        if content_type is None and filename is not None:
            content_type = _type_of(filename)
        if content_type is not None and "content-type" not in fields:
            fields = HeaderList([*fields.items(), ("Content-Type", content_type)])
    except InvalidHeader as error:
        raise InvalidOption(f"files: {error}") from error
    return _head(name, filename, fields.raw, "files"), content


def _own_name(file: Any) -> str:
    """The last part of the path that a file was opened by, or nothing."""
    name = getattr(file, "name", None)
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    # A number is a descriptor's, and <stdin> nobody's.
    if not isinstance(name, str) or name.startswith("<"):
        return ""
    return os.path.basename(name)


def _type_of(filename: str | bytes) -> str:
    # Reads the system's tables when it is first asked: only those who send files wait for that.
    import mimetypes

    text = filename.decode(errors="replace") if isinstance(filename, bytes) else filename
    kind, coding = mimetypes.guess_type(os.path.basename(text))
    if coding is not None:
        return _BY_CODING.get(coding, _ANY_TYPE)
    return kind or _ANY_TYPE


def _head(name: object, filename: str | bytes | None, fields: Iterable[tuple[bytes, bytes]], argument: str) -> bytes:
    """A part's fields, and the empty line."""
    if not isinstance(name, (str, bytes)):
        raise InvalidOption(f"{argument}: the name of a field is a str, not a {type(name).__name__}")
    disposition = b'form-data; name="%b"' % _escaped(name, argument, is_name=True)
    if filename is not None:
        disposition += b'; filename="%b"' % _escaped(filename, argument, is_name=False)
    lines = []
    for key, value in fields:
        if key.lower() == b"content-disposition":
            # The user's own, instead.
            disposition = value
        else:
            lines.append(b"%b: %b\r\n" % (key, value))
    return b"Content-Disposition: %b\r\n%b\r\n" % (disposition, b"".join(lines))


def _encoded(text: str | bytes, argument: str) -> bytes:
    try:
        return text if isinstance(text, bytes) else text.encode()
    except UnicodeEncodeError as error:
        raise InvalidOption(f"{argument}: a text holds a lone surrogate, which is half a character") from error


def _escaped(text: str | bytes, argument: str, *, is_name: bool) -> bytes:
    data = _encoded(text, argument)
    if is_name:
        data = _LINE_END.sub(b"\r\n", data)
    return data.replace(b'"', b"%22").replace(b"\r", b"%0D").replace(b"\n", b"%0A")
