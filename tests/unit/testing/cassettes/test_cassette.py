"""The file: what is written is read again, and what is wrong in it is told with its line or entry."""

from __future__ import annotations

import gzip
import json
import os
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from turbosock import CassetteError
from turbosock.testing.cassettes.bodies import content_of
from turbosock.testing.cassettes.cassette import folder_of, load, save
from turbosock.testing.cassettes.entry import Entry, RecordedAnswer, RecordedBody, RecordedRequest, TextField
from turbosock.testing.cassettes.redaction import Redaction

OPEN = Redaction(False, ())
URL = "http://h/p?q=ä"


def entry(content: bytes = b"", fields: list[TextField] | None = None, **more: Any) -> Entry:
    answer = RecordedAnswer("HTTP/1.1", 200, "OK", fields or [("X-A", "1: ä")], RecordedBody(content), [], **more)
    return Entry(RecordedRequest("GET", URL, [("Accept", "*/*")], RecordedBody()), answer)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.json"


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"", None),
        (b"one", "one"),
        (b"two\nlines\r\n", ["two", "lines\r", ""]),
        ("ä\t\U0001f600".encode(), "ä\t\U0001f600"),
        (b"\x00", "file"),
        (b"\xff", "file"),
        (b"x" * 20_000, "file"),
    ],
)
def test_body_is_read_as_it_was_written(path: Path, content: bytes, shown: object) -> None:
    save(path, [entry(content)], OPEN)
    body = json.loads(path.read_text())["entries"][0]["answer"].get("body")
    assert (body["file"].endswith(".bin") if shown == "file" else body == shown) is True
    (found,) = load(path)
    assert content_of(found.answer.body) == content
    assert found.answer.headers == [("X-A", "1: ä")]
    assert str(found) == f"entry 1 (GET {URL})"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_coded_body_is_text_where_it_can_be_coded_again(path: Path, coding: str) -> None:
    content = {"gzip": gzip.compress(b"text"), "deflate": zlib.compress(b"text"), "br": b"\xff\x00"}[coding]
    save(path, [entry(content, [("Content-Encoding", coding)])], OPEN)
    body = json.loads(path.read_text())["entries"][0]["answer"]["body"]
    again = content_of(load(path)[0].answer.body)
    if coding == "br":
        assert again == content
    else:
        assert body == "text"
    if coding == "gzip":
        assert gzip.decompress(again) == b"text"


def test_body_that_ends_inside_its_coding_is_kept_as_it_is(path: Path) -> None:
    content = gzip.compress(b"text")[:-3]
    save(path, [entry(content, [("Content-Encoding", "gzip")], cut=True)], OPEN)
    (found,) = load(path)
    assert content_of(found.answer.body) == content
    assert found.answer.cut


def test_files_that_no_entry_needs_any_more_are_removed(path: Path) -> None:
    folder = folder_of(path)
    save(path, [entry(b"\x00"), entry(b"\x01"), entry(b"\x00")], OPEN)
    assert len(list(folder.iterdir())) == 2
    save(path, load(path)[:1], OPEN)
    assert len(list(folder.iterdir())) == 1
    save(path, [entry()], OPEN)
    assert not folder.exists()
    assert [file.name for file in path.parent.iterdir()] == ["c.json"]


def test_cassette_that_cannot_be_written_leaves_the_older_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, [entry(b"old")], OPEN)

    def fail(*names: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr("turbosock.testing.cassettes.bodies.os.replace", fail)
    with pytest.raises(OSError, match="no room"):
        save(path, [entry(b"new")], OPEN)
    monkeypatch.undo()
    assert load(path)[0].answer.body.content == b"old"
    assert [file.name for file in path.parent.iterdir()] == ["c.json"]


def test_cassette_is_for_those_whom_the_programs_mask_lets_read(path: Path) -> None:
    mask = os.umask(0o027)
    try:
        save(path, [entry(b"\x00")], OPEN)
    finally:
        os.umask(mask)
    assert [stat.S_IMODE(file.stat().st_mode) for file in (path, *folder_of(path).iterdir())] == [0o640, 0o640]


Said = dict[str, Any]


def said(change: Callable[[Said], object]) -> str:
    """A cassette of two entries, the second of which is changed."""
    request = {"method": "GET", "url": URL, "headers": ["A: b"]}
    answer = {"http_version": "HTTP/2", "status_code": 200, "body": "x"}
    entries = [{"request": dict(request), "answer": dict(answer)} for _ in range(2)]
    change(entries[1])
    return json.dumps({"turbosock_cassette": 1, "entries": entries})


DAMAGED = {
    "": "line 1, column 1",
    '{\n"turbosock_cassette": 1,\n"entries": [}': "line 3, column 13",
    "[]": "is no cassette",
    '{"turbosock_cassette": 2}': "has version 2; this turbosock reads version 1",
    '{"turbosock_cassette": 1}': "no list of entries",
    "[" * 100_000: "nested too deep",
    "1" * 10_000: "integer",
    said(lambda entry: entry.pop("answer")): rf"entry 2 \(GET {URL[:9]}.*: the entry has no 'answer'",
    said(lambda entry: entry.update(odd=1)): "entry 2 .*: the entry has 'odd', which is unknown",
    said(lambda entry: entry.update(request=7)): "entry 2: request is no object",
    said(lambda entry: entry["request"].update(method="")): "request.method is '', and no text",
    said(lambda entry: entry["request"].update(headers="A: b")): "request.headers is no list",
    said(lambda entry: entry["request"].update(headers=["A"])): "request.headers has 'A'",
    said(lambda entry: entry["answer"].update(headers=["A: b\nc"])): "answer.headers cannot be sent",
    said(lambda entry: entry["answer"].update(status_code="200")): "answer.status_code is '200'",
    said(lambda entry: entry["answer"].update(http_version="3")): "answer.http_version is '3'",
    said(lambda entry: entry["answer"].update(cut=1)): "answer.cut is 1",
    said(lambda entry: entry["answer"].update(body=5)): "answer.body is no text",
    said(lambda entry: entry["answer"].update(body={"file": "x", "bytes": 1, "sha256": ""})): "which is not there",
    said(lambda entry: entry["answer"].update(body={"file": "../x", "bytes": 1, "sha256": ""})): "is not in c.bodies",
}


@pytest.mark.parametrize("text", DAMAGED, ids=[str(number) for number in range(len(DAMAGED))])
def test_damage_is_told_with_its_place(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(CassetteError, match=rf"c\.json.*{DAMAGED[text]}"):
        load(path)


def test_damage_is_told_without_the_secrets_of_its_entry(path: Path) -> None:
    path.write_text(said(lambda entry: entry.update(request={"method": "GET", "url": "http://u:word@h/?token=word"})))
    path.write_text(path.read_text().replace('"HTTP/2"', '"HTTP/9"'))
    with pytest.raises(CassetteError) as caught:
        load(path)
    assert "word" not in str(caught.value)


def test_bytes_that_are_no_text_are_told(path: Path) -> None:
    path.write_bytes(b"{\xff")
    with pytest.raises(CassetteError, match="no UTF-8 at byte 1"):
        load(path)


def test_body_file_that_was_changed_is_told(path: Path) -> None:
    save(path, [entry(b"\x00\x01")], OPEN)
    (file,) = folder_of(path).iterdir()
    file.write_bytes(b"\x00\x02")
    (found,) = load(path)
    with pytest.raises(CassetteError, match="another body than was recorded"):
        content_of(found.answer.body)
    file.write_bytes(b"\x00")
    with pytest.raises(CassetteError, match=r"entry 1 .*answer\.body has 2 bytes"):
        load(path)
