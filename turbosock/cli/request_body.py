"""The body of `turbosock get`, from -d and its kin, --json, or -F: options for `Client.stream`, checked and opened.

-d follows curl, surprises included: a file's line ends and zero bytes are left out. What --data-binary sends is not
touched; a single file of it is streamed, and so are the files of forms.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple, TypedDict

from turbosock.cli.form_part import FormPart
from turbosock.cli.input_file import InputFiles, text_bytes
from turbosock.client.form import FORM_TYPE
from turbosock.client.multipart import MultipartForm
from turbosock.errors import InvalidOption

JSON_TYPE: Final = "application/json"
_LEFT_OUT: Final = b"\r\n\0"


class DataKind(Enum):
    """Which option gave a piece of data."""

    DATA = "-d"
    RAW = "--data-raw"
    BINARY = "--data-binary"
    JSON = "--json"


class Data(NamedTuple):
    """What one such option said: a text, or `@` and the path of a file."""

    kind: DataKind
    text: str

    @property
    def path(self) -> str | None:
        """The file that is meant, or None."""
        return self.text[1:] if self.text.startswith("@") and self.kind is not DataKind.RAW else None


class BodyOptions(TypedDict, total=False):
    """What `Client.stream` is told of the body."""

    content: object
    files: MultipartForm


class RequestBody(NamedTuple):
    """A body for one request.

    Attributes:
        options: for `Client.stream`; empty without a body.
        headers: fields that go with it, unless the user names them.
    """

    options: BodyOptions
    headers: tuple[tuple[str, str], ...] = ()


def request_body(data: list[Data], json: list[Data], form: list[FormPart], files: InputFiles) -> RequestBody:
    """The body that the options mean.

    Raises:
        InvalidOption: options that exclude each other, or that cannot be sent.
        Unreadable: a file cannot be opened or read.
    """
    given = [name for name, values in (("-d", data), ("--json", json), ("-F", form)) if values]
    if len(given) > 1:
        raise InvalidOption(f"{', '.join(given)}: a request has one body; give one kind of them")
    if form:
        return RequestBody({"files": _form(form, files)})
    if json:
        return RequestBody({"content": _joined(json, b"", files)}, (("Content-Type", JSON_TYPE), ("Accept", JSON_TYPE)))
    if data:
        return RequestBody({"content": _joined(data, b"&", files)}, (("Content-Type", FORM_TYPE),))
    return RequestBody({})


def _form(parts: list[FormPart], files: InputFiles) -> MultipartForm:
    named = [part.as_file(files) for part in parts]
    try:
        return MultipartForm(None, named)
    except InvalidOption as error:
        raise InvalidOption(f"-F: {str(error).removeprefix('files: ')}") from None


def _joined(pieces: list[Data], between: bytes, files: InputFiles) -> object:
    first = pieces[0]
    if len(pieces) == 1 and first.kind is DataKind.BINARY and first.path is not None:
        return files.open(_checked(first), first.kind.value)
    return between.join([_bytes_of(piece, files) for piece in pieces])


def _bytes_of(piece: Data, files: InputFiles) -> bytes:
    if piece.path is None:
        return text_bytes(piece.text)
    data = files.read(_checked(piece), piece.kind.value)
    return data.translate(None, _LEFT_OUT) if piece.kind is DataKind.DATA else data


def _checked(piece: Data) -> str:
    if not piece.path:
        raise InvalidOption(f"{piece.kind.value}: '@' without a path; give @FILE, or @- for standard input")
    return piece.path
