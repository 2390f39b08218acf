"""FormPart: what one -F says, in curl's syntax: `name=value`, `name=@file` and `name=<file`, with `;type=…` and
`;filename=…` behind them.

A value, path or filename that holds ';', ',' or leading quotes is put in double quotes, with a backslash before a quote
or backslash inside them. No message repeats a value: it may be a password.
"""

from __future__ import annotations

import argparse
import os
from enum import Enum
from typing import NamedTuple

from turbosock.cli.input_file import STANDARD_INPUT, InputFiles, text_bytes


class PartKind(Enum):
    """Where the content comes from."""

    TEXT = "text"
    FILE = "@"
    FILE_AS_TEXT = "<"


class FormPart(NamedTuple):
    """One field of a form.

    Attributes:
        name: of the field.
        kind, content: a text, or the path of a file, which is sent as a file or as a field's text.
        filename, content_type: that were given, or None.
    """

    name: str
    kind: PartKind
    content: str
    filename: str | None = None
    content_type: str | None = None

    def as_file(self, files: InputFiles) -> tuple[bytes, tuple[bytes | None, object, str | None]]:
        """The part as MultipartForm takes it, with its file open; raises as InputFiles.open."""
        filename = None if self.filename is None else text_bytes(self.filename)
        content: object = text_bytes(self.content)
        if self.kind is not PartKind.TEXT:
            content = files.open(self.content, "-F")
        if self.kind is PartKind.FILE and filename is None:
            path = self.content
            filename = text_bytes(path if path == STANDARD_INPUT else os.path.basename(path))
        return text_bytes(self.name), (filename, content, self.content_type)


def form_part(argument: str) -> FormPart:
    """The part that `-F argument` means."""
    name, value = _split(argument)
    kind = PartKind.TEXT
    if value.startswith(("@", "<")):
        kind = PartKind(value[0])
        value = value[1:]
    content, rest = _word(value, ";" if kind is PartKind.TEXT else ";,")
    if kind is not PartKind.TEXT and not content:
        raise argparse.ArgumentTypeError(f"give a path behind name={kind.value}")
    if rest.startswith(","):
        raise argparse.ArgumentTypeError("one file each: repeat -F, or put a path that holds a comma in double quotes")
    given: dict[str, str] = {}
    while rest:
        key, equals, rest = rest[1:].partition("=")
        key = key.strip()
        if not equals or key not in ("type", "filename"):
            raise argparse.ArgumentTypeError(
                "behind ';' there may be type=… and filename=…; put a value that holds ';' in double quotes, or use "
                "--form-string"
            )
        if key in given:
            raise argparse.ArgumentTypeError(f"it has two {key}=")
        given[key], rest = _word(rest, ";")
    return FormPart(name, kind, content, given.get("filename"), given.get("type"))


def form_string(argument: str) -> FormPart:
    """The part that `--form-string argument` means: the value as it stands."""
    name, value = _split(argument)
    return FormPart(name, PartKind.TEXT, value)


def _split(argument: str) -> tuple[str, str]:
    name, equals, value = argument.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError("give a part as name=value, name=@file or name=<file")
    return name, value


def _word(text: str, ends: str) -> tuple[str, str]:
    """The word at the start of `text`, quotes undone, and the rest, which is empty or begins with one of `ends`."""
    if not text.startswith('"'):
        at = min((at for at in map(text.find, ends) if at >= 0), default=len(text))
        return text[:at], text[at:]
    letters = []
    at = 1
    while at < len(text) and text[at] != '"':
        if text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\"):
            at += 1
        letters.append(text[at])
        at += 1
    rest = text[at + 1 :].lstrip(" ")
    if at >= len(text) or (rest and rest[0] not in ends):
        raise argparse.ArgumentTypeError("a double quote is open, or something stands behind the closing one")
    return "".join(letters), rest
