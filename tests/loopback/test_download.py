"""Downloads: a file that is whole or not there, and that goes on where an attempt before it ended."""

from __future__ import annotations

import gzip
import io
import os
import stat
import sys
from pathlib import Path

import pytest

from support import peers
from support.clients import MakeClient
from support.scripted_server import Script, ScriptedServer, await_close, close, read_request, scripted, send
from support.terminal import FakeTerminal
from turbosock import Client
from turbosock.errors import (
    BodyTruncated,
    DecodingError,
    InvalidOption,
    ProtocolError,
    ResponseClosed,
    StateError,
    StatusError,
)

BODY = peers.big_body(1_000_000)
ETAG = 'ETag: "v1"'


def head(length: int, *fields: str, status: str = "200 OK") -> bytes:
    return "\r\n".join(
        [f"HTTP/1.1 {status}", "Connection: close", *fields, f"Content-Length: {length}", "", ""]
    ).encode()


def whole(*fields: str, body: bytes = BODY) -> bytes:
    return head(len(body), *fields) + body


def part(start: int, *fields: str, body: bytes = BODY, says: int | None = None) -> bytes:
    at = start if says is None else says
    content_range = f"Content-Range: bytes {at}-{len(body) - 1}/{len(body)}"
    return head(len(body) - start, content_range, *fields, status="206 Partial Content") + body[start:]


def cut(*fields: str, at: int = 300_000) -> Script:
    """A connection that ends in the middle of the body."""
    return [read_request, send(whole(*fields)[: at + len(head(len(BODY), *fields))]), close]


def served(data: bytes) -> Script:
    return [read_request, send(data), await_close]


def fields_of(server: ScriptedServer, index: int) -> dict[str, str]:
    lines = server.requests[index].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines) if name}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "file.bin"


def begin(client: Client, server: ScriptedServer, target: Path) -> int:
    """An attempt that fails; how much of it is kept."""
    with pytest.raises(BodyTruncated):
        client.download(server.url(), target)
    assert not target.exists()
    part = target.with_name("file.bin.part")
    return part.stat().st_size if part.exists() else 0


def check_done(target: Path, body: bytes = BODY) -> None:
    assert target.read_bytes() == body
    assert os.listdir(target.parent) == [target.name]


# Whole


def test_file_holds_the_body_and_nothing_stays_beside_it(client: Client, target: Path) -> None:
    told: list[tuple[int, int | None]] = []
    with scripted(served(whole(ETAG))) as server:
        path = client.download(server.url(), str(target), progress=lambda *numbers: told.append(numbers))
        assert path == target
        assert "range" not in fields_of(server, 0)
        assert fields_of(server, 0)["accept-encoding"] == "identity"
    check_done(target)
    assert told[0] == (0, len(BODY)) and told[-1] == (len(BODY), len(BODY)) and told == sorted(told)
    assert client.buffers.stats().outstanding == 0


def test_file_that_is_replaced_keeps_its_permissions_and_its_link(client: Client, target: Path) -> None:
    target.write_bytes(b"old")
    target.chmod(0o640)
    link = target.with_name("link")
    link.symlink_to(target)
    with scripted(served(whole())) as server:
        client.download(server.url(), link)
    assert target.read_bytes() == BODY and link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_length_that_is_not_known_is_told_as_such(client: Client, target: Path) -> None:
    told = []
    with scripted([read_request, send(b"HTTP/1.1 200 OK\r\n\r\nhello"), close]) as server:
        client.download(server.url(), target, progress=lambda received, total: told.append((received, total)))
    check_done(target, b"hello")
    assert told == [(0, None), (5, None)]


def test_coded_body_is_decoded_and_never_gone_on_with(client: Client, target: Path) -> None:
    data = whole("Content-Encoding: gzip", ETAG, body=gzip.compress(BODY, 1, mtime=0))
    with scripted(served(data)) as server:
        client.download(server.url(), target, headers={"Accept-Encoding": "gzip"})
    check_done(target)
    with scripted([read_request, send(data[:-1000]), close]) as server, pytest.raises(BodyTruncated):
        client.download(server.url(), target)
    check_done(target)


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "304 Not Modified", "416 Range Not Satisfiable"])
def test_answer_without_the_body_is_an_error_and_leaves_the_file(client: Client, target: Path, status: str) -> None:
    target.write_bytes(b"old")
    with scripted(served(head(0, status=status))) as server, pytest.raises(StatusError, match=status[:3]):
        client.download(server.url(), target)
    check_done(target, b"old")


def test_part_that_nobody_asked_for_is_refused(client: Client, target: Path) -> None:
    with scripted(served(part(10))) as server, pytest.raises(ProtocolError):
        client.download(server.url(), target)
    assert not target.exists()


def test_failure_of_one_that_is_not_to_resume_leaves_nothing(client: Client, target: Path) -> None:
    target.write_bytes(b"old")
    with scripted(cut(ETAG)) as server, pytest.raises(BodyTruncated):
        client.download(server.url(), target, resume=False)
    check_done(target, b"old")


def test_what_the_callback_raises_ends_the_download(client: Client, target: Path) -> None:
    def refuse(received: int, total: int | None) -> None:
        raise KeyError("mine")

    with scripted(served(whole())) as server, pytest.raises(KeyError, match="mine"):
        client.download(server.url(), target, progress=refuse)
    assert not os.listdir(target.parent)
    assert client.stats()[:3] == (0, 0, 0)


def test_bar_is_drawn_on_a_terminal_only(client: Client, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (FakeTerminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        with scripted(served(whole())) as server:
            client.download(server.url(), target, progress=True)
        assert ("100% [####" in stream.getvalue()) is stream.isatty()


# Going on


@pytest.mark.parametrize(
    "validator",
    [[ETAG], ["Last-Modified: Sat, 21 Nov 2026 00:00:00 GMT", "Date: Sat, 21 Nov 2026 00:01:00 GMT"]],
    ids=["etag", "date"],
)
def test_next_attempt_asks_for_the_rest_of_the_same_version(client: Client, target: Path, validator: list[str]) -> None:
    told: list[tuple[int, int | None]] = []
    with scripted(cut(*validator), served(part(300_000, *validator))) as server:
        assert begin(client, server, target) == 300_000
        client.download(server.url(), target, progress=lambda *numbers: told.append(numbers))
        asked = fields_of(server, 1)
    assert asked["range"] == "bytes=300000-"
    assert asked["if-range"] == validator[0].partition(": ")[2]
    check_done(target)
    assert told[0] == (300_000, len(BODY)) and told[-1] == (len(BODY), len(BODY))


def resumed(client: Client, target: Path, *answers: bytes, first: Script | None = None) -> list[dict[str, str]]:
    """A failed attempt and then one that is answered by `answers`; the fields of what that asked."""
    with scripted(first or cut(ETAG), *[served(answer) for answer in answers]) as server:
        begin(client, server, target)
        client.download(server.url(), target)
        return [fields_of(server, index) for index in range(1, len(server.requests))]


def test_version_that_has_changed_is_taken_whole(client: Client, target: Path) -> None:
    new = BODY[::-1]
    asked = resumed(client, target, whole('ETag: "v2"', body=new))
    assert len(asked) == 1 and "range" in asked[0]
    check_done(target, new)


@pytest.mark.parametrize(
    "wrong",
    [
        part(300_000, ETAG, says=299_999),
        part(300_000, 'ETag: "v2"'),
        part(300_000, "Content-Encoding: gzip"),
        head(5, ETAG, "Content-Range: bytes */5", status="416 Range Not Satisfiable") + b"wrong",
        head(5, ETAG, "Content-Range: lines 300000-300004/300005", status="206 Partial Content") + b"wrong",
        head(5, ETAG, "Content-Range: bytes 300000-9/5", status="206 Partial Content") + b"wrong",
        head(5, ETAG, "Content-Type: multipart/byteranges; boundary=x", status="206 Partial Content") + b"wrong",
    ],
    ids=["place", "version", "coded", "416", "unit", "order", "multipart"],
)
def test_wrong_part_makes_it_ask_for_everything(client: Client, target: Path, wrong: bytes) -> None:
    asked = resumed(client, target, wrong, whole(ETAG))
    assert ["range" in fields for fields in asked] == [True, False]
    check_done(target)


def test_download_whose_last_step_was_missing_is_done_without_a_body(client: Client, target: Path) -> None:
    complete = [read_request, send(head(len(BODY) + 1, ETAG) + BODY), close]
    resumed(
        client,
        target,
        head(0, f"Content-Range: bytes */{len(BODY)}", status="416 Range Not Satisfiable"),
        first=complete,
    )
    check_done(target)


def test_part_that_ends_early_is_kept_and_gone_on_with(client: Client, target: Path) -> None:
    short = head(100, f"Content-Range: bytes 300000-300099/{len(BODY)}", ETAG, status="206 Partial Content")
    short += BODY[300_000:300_100]
    with scripted(cut(ETAG), served(short), served(part(300_100, ETAG))) as server:
        assert begin(client, server, target) == 300_000
        assert begin(client, server, target) == 300_100
        client.download(server.url(), target)
    check_done(target)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        ['ETag: W/"v1"'],
        ["ETag: nonsense"],
        ["Last-Modified: Sat, 21 Nov 2026 00:00:00 GMT"],
        ["Last-Modified: Sat, 21 Nov 2026 00:00:00 GMT", "Date: Sat, 21 Nov 2026 00:00:00 GMT"],
        ["Last-Modified: yesterday", "Date: today"],
        [ETAG, "Accept-Ranges: none"],
    ],
)
def test_version_without_a_strong_validator_is_not_kept(client: Client, target: Path, fields: list[str]) -> None:
    with scripted(cut(*fields)) as server:
        assert begin(client, server, target) == 0
    assert not os.listdir(target.parent)


@pytest.mark.parametrize("note", [b"", b"[]", b'"x"', b'{"source": 1}', b"\xff", b"[" * 4000, b"x" * 100_000])
def test_note_that_says_nothing_begins_anew(client: Client, target: Path, note: bytes) -> None:
    target.with_name("file.bin.part").write_bytes(b"wrong")
    target.with_name("file.bin.part.json").write_bytes(note)
    with scripted(served(whole(ETAG))) as server:
        client.download(server.url(), target)
        assert "range" not in fields_of(server, 0)
    check_done(target)


def test_part_of_another_url_is_not_gone_on_with(client: Client, target: Path) -> None:
    with scripted(cut(ETAG), served(whole(ETAG))) as server:
        begin(client, server, target)
        client.download(server.url("/other"), target)
        assert "range" not in fields_of(server, 1)
    check_done(target)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
def test_second_download_to_the_same_file_is_refused_meanwhile(client: Client, target: Path) -> None:
    refusals: list[StateError] = []

    def try_again(received: int, total: int | None) -> None:
        if not refusals:
            with pytest.raises(StateError, match="under way") as caught:
                client.download(server.url(), target)
            refusals.append(caught.value)

    with scripted(served(whole(ETAG))) as server:
        client.download(server.url(), target, progress=try_again)
    assert refusals
    check_done(target)


def test_link_in_the_place_of_the_part_is_not_followed(client: Client, target: Path) -> None:
    victim = target.with_name("victim")
    victim.write_bytes(b"mine")
    target.with_name("file.bin.part").symlink_to(victim)
    with scripted(served(whole(ETAG))) as server, pytest.raises(OSError, match=r"file\.bin"):
        client.download(server.url(), target)
    assert victim.read_bytes() == b"mine"


# What is refused


def test_arguments_that_cannot_work_are_refused_by_name(make_client: MakeClient, tmp_path: Path) -> None:
    client = make_client()
    url = "http://127.0.0.1:1/"
    for arguments, name in (
        ({"path": 5}, "path"),
        ({"path": b"bytes"}, "path"),
        ({"path": "/dev/null"}, "path"),
        ({"resume": 1}, "resume"),
        ({"progress": 5}, "progress"),
        ({"headers": {"Range": "bytes=0-1"}}, "range"),
        ({"headers": "text"}, "headers"),
        ({"url": 5}, "url"),
    ):
        with pytest.raises(InvalidOption, match=name):
            client.download(**{"url": url, "path": tmp_path / "file", **arguments})  # type: ignore[arg-type]  # what is refused
    with pytest.raises(IsADirectoryError):
        client.download(url, tmp_path)
    with pytest.raises(FileNotFoundError):
        client.download(url, tmp_path / "none" / "file")
    assert not os.listdir(tmp_path)


# Of a response


def test_response_is_written_whole_or_not_at_all(client: Client, target: Path) -> None:
    with scripted(served(whole(ETAG))) as server:
        with client.stream("GET", server.url()) as response:
            assert response.download(target) == target
        check_done(target)
    with (
        scripted(cut(ETAG)) as server,
        client.stream("GET", server.url()) as response,
        pytest.raises(BodyTruncated),
    ):
        response.download(target.with_name("other"))
    check_done(target)


def test_response_that_was_partly_read_is_not_written(client: Client, target: Path) -> None:
    target.write_bytes(b"good")
    with scripted(served(whole())) as server, client.stream("GET", server.url()) as response:
        assert len(response.read(10)) == 10
        with pytest.raises(ResponseClosed, match="download"):
            response.download(target)
    assert target.read_bytes() == b"good"


def test_part_of_another_query_is_not_gone_on_with(client: Client, target: Path) -> None:
    with scripted(cut(ETAG), served(whole(ETAG))) as server:
        with pytest.raises(BodyTruncated):
            client.download(server.url(), target, params={"v": "1"})
        client.download(server.url(), target, params={"v": "2"})
        assert "range" not in fields_of(server, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such permissions")
def test_part_of_a_private_file_is_as_private(client: Client, target: Path) -> None:
    target.write_bytes(b"")
    target.chmod(0o600)
    with scripted(cut(ETAG)) as server, pytest.raises(BodyTruncated):
        client.download(server.url(), target)
    (found,) = target.parent.glob("*.part")
    assert stat.S_IMODE(found.stat().st_mode) == 0o600


def test_response_that_was_gathered_is_written_from_memory(client: Client, target: Path) -> None:
    told = []
    with scripted(served(whole())) as server:
        response = client.get(server.url())
    response.download(target, progress=lambda *numbers: told.append(numbers))
    check_done(target)
    # As often as it is wanted.
    response.download(target)
    check_done(target)
    assert told[-1] == (len(BODY), len(BODY))


def test_response_that_does_not_decode_leaves_nothing(client: Client, target: Path) -> None:
    with (
        scripted(served(whole("Content-Encoding: gzip", body=b"no gzip"))) as server,
        client.stream("GET", server.url()) as response,
        pytest.raises(DecodingError),
    ):
        response.download(target)
    assert not os.listdir(target.parent)
