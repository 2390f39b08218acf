"""-F: curl's syntax, and what is refused of it, without its values."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

import pytest

from turbosock.cli.form_part import FormPart, PartKind, form_part, form_string
from turbosock.cli.input_file import InputFiles, Unreadable
from turbosock.errors import InvalidOption

TEXT, FILE, FILE_AS_TEXT = PartKind.TEXT, PartKind.FILE, PartKind.FILE_AS_TEXT


@pytest.mark.parametrize(
    ("argument", "part"),
    [
        ("a=b", FormPart("a", TEXT, "b")),
        ("a=", FormPart("a", TEXT, "")),
        ("a=b=c,d", FormPart("a", TEXT, "b=c,d")),
        ("a=b;type=text/html", FormPart("a", TEXT, "b", None, "text/html")),
        ('a="b;c\\"d\\\\"', FormPart("a", TEXT, 'b;c"d\\')),
        ('a="@b"', FormPart("a", TEXT, "@b")),
        ('a=b"c', FormPart("a", TEXT, 'b"c')),
        ("a=@b", FormPart("a", FILE, "b")),
        ("a=@-", FormPart("a", FILE, "-")),
        ("a=@dir/b;filename=c;type=d/e", FormPart("a", FILE, "dir/b", "c", "d/e")),
        ('a=@"b,c;d" ; type=e/f', FormPart("a", FILE, "b,c;d", None, "e/f")),
        ('a=@b; filename="c;d"', FormPart("a", FILE, "b", "c;d")),
        ("a=<b", FormPart("a", FILE_AS_TEXT, "b")),
    ],
)
def test_part_of_an_argument(argument: str, part: FormPart) -> None:
    assert form_part(argument) == part


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("s3cr3t", "name=value"),
        ("=s3cr3t", "name=value"),
        ("a=s3cr3t;b", "--form-string"),
        ("a=s3cr3t;s3cr3t=c", "--form-string"),
        ("a=s3cr3t;headers=c", "--form-string"),
        ("a=s3cr3t;type=a/b;type=a/b", "two type="),
        ('a="s3cr3t', "quote"),
        ('a="s3cr3t"b', "quote"),
        ('a="s3cr3t\\"', "quote"),
        ("a=@s3cr3t,b", "repeat -F"),
        ("a=@", "path"),
        ("a=<;type=a/b", "path"),
    ],
)
def test_argument_that_is_no_part_is_refused_without_its_value(argument: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as raised:
        form_part(argument)
    assert said in str(raised.value)
    assert "s3cr3t" not in str(raised.value)


def test_form_string_gives_no_meaning_to_anything() -> None:
    assert form_string('a=@"b;type=c') == FormPart("a", TEXT, '@"b;type=c')


def test_part_as_file_has_the_name_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "ü.txt"
    path.write_bytes(b"content")
    with ExitStack() as stack:
        files = InputFiles(stack)
        name, (filename, content, content_type) = form_part(f"a=@{path}").as_file(files)
        assert (name, filename, content_type) == (b"a", "ü.txt".encode(), None)
        assert content.read() == b"content"  # type: ignore[attr-defined]  # an open file
        assert form_part(f"a=@{path};filename=b;type=c/d").as_file(files)[1][::2] == (b"b", "c/d")
        assert form_part(f"a=<{path}").as_file(files)[1][0] is None
    assert content.closed  # type: ignore[attr-defined]  # as above


def test_part_as_text_keeps_bytes_that_are_not_utf_8() -> None:
    with ExitStack() as stack:
        assert form_part("\udcffa=\udcff").as_file(InputFiles(stack)) == (b"\xffa", (None, b"\xff", None))


def test_file_that_cannot_be_opened_is_unreadable(tmp_path: Path) -> None:
    with ExitStack() as stack:
        files = InputFiles(stack)
        for path, said in (("missing", "No such file"), (".", "directory")):
            with pytest.raises(Unreadable) as raised:
                form_part(f"a=@{tmp_path / path}").as_file(files)
            assert raised.value.filename == str(tmp_path / path)
            assert said in str(raised.value)


def test_standard_input_twice_is_refused() -> None:
    with ExitStack() as stack:
        files = InputFiles(stack)
        form_part("a=@-").as_file(files)
        with pytest.raises(InvalidOption, match="standard input"):
            form_part("b=@-").as_file(files)
