"""Multipart forms: what parts say of themselves, that no name breaks out of its place, and what others read in them."""

from __future__ import annotations

import email
import email.policy
import io
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.seeds import seeds
from turbosock import BufferWriter, MultipartForm
from turbosock.buffers import BufferPool
from turbosock.errors import InvalidOption, LimitError


def whole(form: MultipartForm) -> bytes:
    with BufferWriter(BufferPool(diagnostics=True)) as writer:
        assert form.write_to(writer) == len(writer)
        return b"".join(writer.segments())


def parts_of(form: MultipartForm) -> list[tuple[str, str | None, str, bytes]]:
    """Name, filename, content type and content of each part, as the standard library's reader of mail sees them."""
    message = email.message_from_bytes(
        f"Content-Type: {form.content_type}\r\n\r\n".encode() + whole(form), policy=email.policy.HTTP
    )
    found = []
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        found.append((str(name), part.get_filename(), part.get_content_type(), payload))
    return found


def head_of(name: Any, file: Any) -> bytes:
    """The fields of the one part of a form."""
    body = whole(MultipartForm(None, [(name, file)], boundary="b"))
    assert body.startswith(b"--b\r\n") and body.endswith(b"\r\n--b--\r\n")
    return body[5:].partition(b"\r\n\r\n")[0]


def test_form_is_these_bytes() -> None:
    form = MultipartForm({"a": "1"}, {"f": ("x.txt", b"content")}, boundary="b")
    assert form.content_type == "multipart/form-data; boundary=b"
    assert whole(form) == (
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        b'--b\r\nContent-Disposition: form-data; name="f"; filename="x.txt"\r\nContent-Type: text/plain\r\n\r\n'
        b"content\r\n"
        b"--b--\r\n"
    )


def test_form_of_nothing_is_its_end() -> None:
    assert whole(MultipartForm(boundary="b")) == b"--b--\r\n"


def test_boundary_is_another_each_time() -> None:
    boundaries = {MultipartForm().boundary for _ in range(100)}
    assert len(boundaries) == 100
    assert all(len(each) == 32 for each in boundaries)


@pytest.mark.parametrize("boundary", ["", "a" * 71, "a b", 'a"', "a\r\n", "ä", b"abc", "a;b"])
def test_boundary_that_is_none_is_refused(boundary: Any) -> None:
    with pytest.raises(InvalidOption, match=r"^boundary: "):
        MultipartForm(boundary=boundary)


def test_fields_are_those_of_any_form_and_come_first() -> None:
    form = MultipartForm({"a": ["1", None, b"\xff"], "b": True}, {"f": b"x"})
    assert [(name, content) for name, _, _, content in parts_of(form)] == [
        ("a", b"1"),
        ("a", b"\xff"),
        ("b", b"true"),
        ("f", b"x"),
    ]


@pytest.mark.parametrize(
    "files",
    [
        {"f": [b"1", ("n", b"2")], "g": "3"},
        [("f", b"1"), ("f", ("n", io.BytesIO(b"2"))), ("g", [b"3"])],
        (("f", memoryview(b"1")), ("f", ("n", iter([b"2"]))), ("g", ("g", [b"3"]))),
    ],
)
def test_files_of_one_name_are_each_a_part(files: Any) -> None:
    expected = [("f", "f", b"1"), ("f", "n", b"2"), ("g", "g", b"3")]
    assert [
        (name, filename, content) for name, filename, _, content in parts_of(MultipartForm(None, files))
    ] == expected


def test_file_brings_its_own_name_and_the_type_that_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"jpeg")
    with path.open("rb") as file:
        assert head_of("f", file) == (
            b'Content-Disposition: form-data; name="f"; filename="photo.jpg"\r\nContent-Type: image/jpeg'
        )
    descriptor = os.open(path, os.O_RDONLY)
    with open(descriptor, "rb") as file:
        # Its name is a number.
        assert b'filename="f"' in head_of("f", file)
    with open(os.fsencode(path), "rb") as file:
        assert b'filename="photo.jpg"' in head_of("f", file)


@pytest.mark.parametrize(
    ("filename", "kind"),
    [
        ("a.png", b"image/png"),
        ("A.PNG", b"image/png"),
        ("a.tar.gz", b"application/gzip"),
        ("a.txt.Z", b"application/octet-stream"),
        ("noextension", b"application/octet-stream"),
        ("", b"application/octet-stream"),
        ("data:text/html,x", b"application/octet-stream"),
    ],
)
def test_content_type_follows_the_filename(filename: str, kind: bytes) -> None:
    assert head_of("f", (filename, b"x")).endswith(b"\r\nContent-Type: " + kind)


def test_content_type_and_fields_that_are_given_are_sent() -> None:
    assert head_of("f", ("a.png", b"x", "text/x-own")).endswith(b"\r\nContent-Type: text/x-own")
    fields = {"X-Own": "1", "content-type": "text/first"}
    assert head_of("f", ("a.png", b"x", "text/second", fields)) == (
        b'Content-Disposition: form-data; name="f"; filename="a.png"\r\nX-Own: 1\r\ncontent-type: text/first'
    )
    assert head_of("f", ("a.png", b"x", None, [("Content-Disposition", "form-data; name=own")])).startswith(
        b"Content-Disposition: form-data; name=own\r\nContent-Type: image/png"
    )


def test_file_without_a_filename_is_a_field() -> None:
    assert head_of("f", (None, b"x")) == b'Content-Disposition: form-data; name="f"'
    assert head_of("f", (None, b"x", "text/plain")).endswith(b"\r\nContent-Type: text/plain")


@pytest.mark.parametrize(
    ("text", "in_name", "in_filename"),
    [
        ('a"b', b"a%22b", b"a%22b"),
        ("a\r\nb", b"a%0D%0Ab", b"a%0D%0Ab"),
        # Browsers make the line ends of names alike, and leave those of file names.
        ("a\nb\rc", b"a%0D%0Ab%0D%0Ac", b"a%0Ab%0Dc"),
        ("ä\\;=%", "ä\\;=%".encode(), "ä\\;=%".encode()),
    ],
)
def test_names_are_escaped_as_browsers_do(text: str, in_name: bytes, in_filename: bytes) -> None:
    assert head_of(text, (text, b"x", "text/plain")) == (
        b'Content-Disposition: form-data; name="%b"; filename="%b"\r\nContent-Type: text/plain' % (in_name, in_filename)
    )


@pytest.mark.parametrize("seed", seeds(10))
def test_names_of_any_bytes_do_not_leave_their_line(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(50):
        text = bytes(chance.choice(b'\r\n"\0\t ;=ab\xc3') for _ in range(12))
        lines = head_of(text, (text, b"x", "text/plain")).split(b"\r\n")
        assert len(lines) == 2 and lines[1] == b"Content-Type: text/plain"
        assert lines[0].count(b'"') == 4 and b"\n" not in lines[0] and b"\r" not in lines[0]


@pytest.mark.parametrize("fields", [{"A": "b\r\nc: d"}, {"a\r\nb": "c"}, {"": "x"}, [("a",)], {"a": "\u20ac"}])
def test_fields_that_would_break_a_part_are_refused(fields: Any) -> None:
    with pytest.raises(InvalidOption, match=r"^files: "):
        MultipartForm(None, {"f": ("n", b"x", None, fields)})


@pytest.mark.parametrize(
    "files",
    [
        5,
        "abc",
        ["abc"],
        [("a", b"x", 3)],
        {"f": None},
        {"f": ("n", None)},
        {"f": ("n",)},
        {"f": ("n", b"x", None, None, None)},
        {"f": (5, b"x")},
        {"f": ("n", b"x", 5)},
        {"f": ("n", b"x", "text/\nplain")},
        {5: b"x"},
        {"\ud800": b"x"},
        {"f": ("\ud800", b"x")},
        {"f": 5},
        {"f": io.StringIO("text")},
        {"f": "\ud800"},
    ],
)
def test_files_that_cannot_be_sent_are_refused_by_name(files: Any) -> None:
    with pytest.raises(InvalidOption, match=r"^files: "):
        MultipartForm(None, files).source(BufferPool())


@pytest.mark.parametrize("fields", [5, b"abc", "abc", ["abc"], {"a": "\ud800"}])
def test_fields_that_cannot_be_sent_are_refused_by_name(fields: Any) -> None:
    with pytest.raises(InvalidOption, match=r"^data: "):
        MultipartForm(fields).source(BufferPool())


def blocks() -> Iterator[bytes]:
    yield b"x"


@pytest.mark.parametrize(
    ("file", "known", "replayable"),
    [(b"x", True, True), (io.BytesIO(b"x"), True, True), (("n", [b"x"]), False, True), (blocks(), False, False)],
)
def test_length_is_known_and_body_replayable_where_those_of_its_files_are(
    file: Any, known: bool, replayable: bool
) -> None:
    source = MultipartForm({"a": "b"}, {"f": file}).source(BufferPool())
    assert (source.length >= 0, source.replayable) == (known, replayable)


def test_form_is_written_again_from_where_its_files_stand(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        file.seek(4)
        form = MultipartForm(None, {"f": file, "g": file})
        assert whole(form) == whole(form)
        assert [content for _, _, _, content in parts_of(form)] == [b"456789", b"456789"]


def test_form_longer_than_its_writer_is_the_writers_limit() -> None:
    with BufferWriter(BufferPool(), max_bytes=100) as writer, pytest.raises(LimitError):
        MultipartForm({"a": "x" * 100}).write_to(writer)
