"""The body that -d and its kin, --json and -F mean."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from turbosock import limits
from turbosock.cli.form_part import form_part
from turbosock.cli.input_file import InputFiles, Unreadable
from turbosock.cli.request_body import Data, DataKind, RequestBody, request_body
from turbosock.errors import InvalidOption

LINES = b"a=1\r\nb=\0 2\n"
FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
JSON = (("Content-Type", "application/json"), ("Accept", "application/json"))


def data(text: str) -> Data:
    return Data(DataKind.DATA, text)


def json(text: str) -> Data:
    return Data(DataKind.JSON, text)


@pytest.fixture
def files() -> Iterator[InputFiles]:
    with ExitStack() as stack:
        yield InputFiles(stack)


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "lines").write_bytes(LINES)
    return str(tmp_path / "lines")


def test_nothing_is_no_body(files: InputFiles) -> None:
    assert request_body([], [], [], files) == RequestBody({})


def test_data_is_joined_and_kept_as_the_shell_gave_it(files: InputFiles) -> None:
    assert request_body([data("a=ü"), data("\udcff")], [], [], files) == ({"content": "a=ü&".encode() + b"\xff"}, FORM)


def test_data_of_a_file_is_without_line_ends_and_zero_bytes(files: InputFiles, path: str) -> None:
    assert request_body([data("x"), data("@" + path)], [], [], files).options == {"content": b"x&a=1b= 2"}


def test_raw_data_gives_no_meaning_to_a_leading_at(files: InputFiles) -> None:
    assert request_body([Data(DataKind.RAW, "@x")], [], [], files).options == {"content": b"@x"}


def test_binary_data_of_one_file_is_the_file(files: InputFiles, path: str) -> None:
    content = request_body([Data(DataKind.BINARY, "@" + path)], [], [], files).options["content"]
    assert isinstance(content, io.BufferedReader)
    with content:
        assert content.read() == LINES


def test_binary_data_among_others_is_read_as_it_is(files: InputFiles, path: str) -> None:
    pieces = [Data(DataKind.BINARY, "@" + path), data("y")]
    assert request_body(pieces, [], [], files).options == {"content": LINES + b"&y"}


def test_json_is_put_together_as_it_is(files: InputFiles, path: str) -> None:
    assert request_body([], [json("{"), json("@" + path)], [], files) == ({"content": b"{" + LINES}, JSON)


def test_form_has_its_parts_in_their_order(files: InputFiles) -> None:
    form = request_body([], [], [form_part("b=1"), form_part("a=2")], files).options["files"]
    assert form.content_type.startswith("multipart/form-data; boundary=")


def test_standard_input_is_read(files: InputFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LINES)))
    assert request_body([data("@-")], [], [], files).options == {"content": b"a=1b= 2"}


def test_standard_input_that_is_closed_is_unreadable(files: InputFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(Unreadable, match="closed"):
        request_body([data("@-")], [], [], files)


def test_standard_input_for_two_is_refused(files: InputFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LINES)))
    with pytest.raises(InvalidOption, match="-d, --data-binary: standard input"):
        request_body([data("@-"), Data(DataKind.BINARY, "@-")], [], [], files)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (([data("a")], [json("b")], []), "-d, --json"),
        (([data("a")], [], [form_part("a=b")]), "-d, -F"),
        (([], [json("b")], [form_part("a=b")]), "--json, -F"),
        (([data("@")], [], []), "-d: '@' without a path"),
        (([data("@a\0b")], [], []), "-d: .*zero byte"),
        (([], [], [form_part("a=b;type=x\x01")]), "-F: "),
    ],
)
def test_what_cannot_be_a_body_is_refused_by_its_options(
    given: tuple[list[Data], list[Data], list[object]], said: str, files: InputFiles
) -> None:
    with pytest.raises(InvalidOption, match=said):
        request_body(*given, files)  # type: ignore[arg-type]  # the parts are parts


@pytest.mark.parametrize("kind", [DataKind.DATA, DataKind.JSON, DataKind.BINARY])
def test_file_that_is_missing_is_unreadable(kind: DataKind, files: InputFiles, tmp_path: Path) -> None:
    piece = Data(kind, f"@{tmp_path}/missing")
    with pytest.raises(Unreadable) as raised:
        request_body([] if kind is DataKind.JSON else [piece], [piece] if kind is DataKind.JSON else [], [], files)
    assert raised.value.filename == f"{tmp_path}/missing"


def test_file_that_is_too_long_for_memory_is_refused(
    files: InputFiles, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_SERIALIZED_BYTES", len(LINES) - 1)
    with pytest.raises(InvalidOption, match="--data-binary"):
        request_body([data("@" + path)], [], [], files)
