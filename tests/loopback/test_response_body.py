"""The body of a Response in each way of reading it: whole, in pieces, lent in segments, as a file."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import tarfile
import zipfile

import pytest

from support import peers
from support.clients import MakeClient
from support.scripted_server import Script, answer, await_close, close, read_request, scripted, send, send_bytewise
from turbosock import Client, OrjsonSerializer, SegmentedSequence, limits
from turbosock.errors import BodyTooLarge, BodyTruncated, InvalidOption, ResponseClosed, StateError

BIG = peers.big_body(3_000_000)
SHORT = b"0123456789" * 10
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def again(data: bytes) -> Script:
    """A connection that gives the same answer to six requests."""
    return [read_request, send(data)] * 6 + [await_close]


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes, size: int = 50_000) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def gzipped(body: bytes) -> bytes:
    coded = gzip.compress(body, 1, mtime=0)
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(coded) + coded


WIRES = {"whole": whole, "chunked": chunked, "gzip": gzipped}


# Segments


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("body", [b"", SHORT, BIG[:65_536], BIG], ids=len)
def test_segments_hold_the_body_and_go_back_at_close(make_client: MakeClient, wire: str, body: bytes) -> None:
    client = make_client(diagnostics=True)
    with scripted(again(WIRES[wire](body))) as server:
        for _ in range(2):
            with client.stream("GET", server.url()) as response:
                segments = response.segments()
                assert isinstance(segments, SegmentedSequence)
                assert response.segments() is segments
                assert bytes(segments) == body
                assert response.nbytes == len(body)
                assert all(len(segment) <= limits.SEGMENT_BYTES for segment in segments)
            assert client.buffers.stats().outstanding == 0
            with pytest.raises(StateError):
                bytes(segments)
        assert client.stats()[:3] == (1, 1, 0)


def test_segments_make_no_memory_above_a_segment(make_client: MakeClient) -> None:
    client = make_client()
    with scripted(again(chunked(BIG))) as server, client.stream("GET", server.url()) as response:
        segments = response.segments()
        assert segments.find(BIG[-100:], len(BIG) - 200) == len(BIG) - 100
        assert max(client.buffers.stats().buckets) == limits.SEGMENT_BYTES or all(
            not bucket.rented
            for capacity, bucket in client.buffers.stats().buckets.items()
            if capacity > limits.SEGMENT_BYTES
        )
        assert client.buffers.stats().unpooled == 0


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("limit", [50, 100_000])
def test_segments_above_the_bound_are_refused(make_client: MakeClient, wire: str, limit: int) -> None:
    client = make_client(max_body_bytes=limit)
    with scripted([read_request, send(WIRES[wire](SHORT if limit == 50 else BIG)), await_close]) as server:
        with client.stream("GET", server.url()) as response:
            for _ in range(2):
                with pytest.raises(BodyTooLarge, match="max_body_bytes"):
                    response.segments()
        assert client.buffers.stats().outstanding == 0
        # What was read to its end all the same costs no connection.
        assert client.stats()[:3] == ((0, 0, 0) if limit > 50 or wire == "gzip" else (1, 1, 0))


def test_segments_that_fail_half_way_give_their_memory_back(make_client: MakeClient) -> None:
    client = make_client(diagnostics=True)
    with scripted([read_request, send(whole(BIG)[:200_000]), close]) as server:
        with client.stream("GET", server.url()) as response:
            with pytest.raises(BodyTruncated):
                response.segments()
            with pytest.raises(BodyTruncated):
                response.segments()
        assert client.buffers.stats().outstanding == 0


def test_body_is_lent_in_one_way(client: Client) -> None:
    with scripted(again(whole(SHORT))) as server:
        with client.stream("GET", server.url()) as response:
            response.segments()
            for other in (response.view, response.read):
                with pytest.raises(ResponseClosed):
                    other()
        with client.stream("GET", server.url()) as response:
            response.view()
            with pytest.raises(ResponseClosed):
                response.segments()
        with client.stream("GET", server.url()) as response:
            assert response.content == SHORT
            with pytest.raises(ResponseClosed):
                response.segments()
            assert response.reader().read() == SHORT
        with pytest.raises(ResponseClosed):
            response.segments()


# As a file


def archive() -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as file:
        file.writestr("big.bin", BIG)
        file.writestr("short.txt", SHORT)
    return memory.getvalue()


def test_libraries_read_the_body_in_place(client: Client) -> None:
    with (
        scripted(again(whole(archive()))) as server,
        client.stream("GET", server.url()) as response,
        zipfile.ZipFile(response.reader()) as file,
    ):
        assert file.read("big.bin") == BIG
        assert file.read("short.txt") == SHORT
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("big.bin")
        member.size = len(BIG)
        tar.addfile(member, io.BytesIO(BIG))
    with (
        scripted(again(chunked(packed.getvalue()))) as server,
        client.stream("GET", server.url()) as response,
        tarfile.open(fileobj=response.reader()) as tar,
    ):
        extracted = tar.extractfile("big.bin")
        assert extracted is not None and extracted.read() == BIG
    rows = [["name", "value"], ["é", "1"]] * 10_000
    text = "\n".join(",".join(row) for row in rows).encode()
    with scripted(again(gzipped(text))) as server, client.stream("GET", server.url()) as response:
        lines = io.TextIOWrapper(response.reader(), "utf-8", newline="")  # type: ignore[type-var]  # as above
        assert list(csv.reader(lines)) == rows


def test_reader_of_content_is_a_file_too(client: Client) -> None:
    with scripted(again(whole(b'{"a": [1, 2]}'))) as server:
        assert json.load(client.get(server.url()).reader()) == {"a": [1, 2]}
        with client.stream("GET", server.url()) as response:
            assert json.load(response.reader()) == {"a": [1, 2]}


# Reading on


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("body", [b"", SHORT, BIG], ids=len)
def test_read_gives_as_many_bytes_as_asked_until_the_end(client: Client, wire: str, body: bytes) -> None:
    with scripted(again(WIRES[wire](body))) as server:
        with client.stream("GET", server.url()) as response:
            assert response.read(0) == b""
            assert response.read(7) == body[:7]
            assert response.read(100_000) == body[7:100_007]
            assert response.read(limits.MAX_WRITER_BYTES) == body[100_007:]
            assert response.read(1) == b""
        assert client.get(server.url()).read(-1) == body
        assert client.get(server.url()).read(5) == body[:5]
        assert client.stats()[:3] == (1, 1, 0)


@pytest.mark.parametrize("size", [-2, 1.0, None, True, limits.MAX_WRITER_BYTES + 1])
def test_read_of_what_is_no_size_is_refused(client: Client, size: object) -> None:
    with scripted(again(whole(SHORT))) as server, pytest.raises(InvalidOption, match="size"):
        client.get(server.url()).read(size)  # type: ignore[arg-type]  # that is the point


def test_iter_raw_gives_the_bytes_as_they_came(client: Client) -> None:
    data = gzipped(BIG)
    coded = data.partition(b"\r\n\r\n")[2]
    with scripted(again(data), again(whole(SHORT))) as server:
        with client.stream("GET", server.url()) as response:
            assert b"".join(response.iter_raw()) == coded
            assert response.nbytes == len(coded)
        with client.stream("GET", server.url()) as response:
            assert [len(piece) for piece in response.iter_raw(1000)][:-1] == [1000] * (len(coded) // 1000)
        with client.stream("GET", server.url()) as response:
            response.readinto(bytearray(10))
            with pytest.raises(ResponseClosed, match="decoded"):
                response.iter_raw()
        with scripted(again(whole(SHORT))) as plain, client.stream("GET", plain.url()) as response:
            assert b"".join(response.iter_raw()) == SHORT
        response = client.get(server.url())
        assert b"".join(response.iter_raw()) == SHORT


def test_iter_raw_of_a_coded_body_that_was_gathered_is_refused(client: Client) -> None:
    with scripted(again(gzipped(SHORT))) as server, pytest.raises(ResponseClosed, match="decoded"):
        client.get(server.url()).iter_raw()


# Text


def typed(body: bytes, content_type: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def test_encoding_is_the_fields_then_the_marks_then_utf_8(client: Client) -> None:
    cases = [
        (typed("é".encode("latin-1"), "text/plain; charset=latin-1"), "latin-1", "é"),
        (typed(codecs.BOM_UTF16_LE + "é".encode("utf-16-le"), "text/plain"), "utf-16", "é"),
        (typed(codecs.BOM_UTF8 + "é".encode(), "text/plain"), "utf-8-sig", "é"),
        (typed("é".encode(), "text/plain"), "utf-8", "é"),
    ]
    for data, encoding, text in cases:
        with scripted(again(data)) as server:
            response = client.get(server.url())
            assert (response.encoding, response.text) == (encoding, text)
            with client.stream("GET", server.url()) as response:
                assert list(response.iter_lines()) == [text]


def test_encoding_that_is_set_is_used_until_it_is_unset(client: Client) -> None:
    with scripted(again(typed("é".encode("latin-1"), "text/plain; charset=utf-8"))) as server:
        response = client.get(server.url())
        assert response.text == "�"
        response.encoding = "latin-1"
        assert (response.encoding, response.text) == ("latin-1", "é")
        response.encoding = None
        assert response.encoding == "utf-8"
        for wrong in ("no-such", "hex", 5):
            with pytest.raises(InvalidOption, match="encoding"):
                response.encoding = wrong  # type: ignore[assignment]  # that is the point
        with client.stream("GET", server.url()) as response:
            response.encoding = "latin-1"
            assert list(response.iter_lines()) == ["é"]
        with client.stream("GET", server.url()) as response:
            assert response.encoding == "utf-8"


def test_lines_of_utf_16_byte_by_byte_are_lines(client: Client) -> None:
    body = "one\r\ntwo\u010atwo\nthree".encode("utf-16")
    script = [read_request, send_bytewise(typed(body, "text/plain; charset=utf-16")), await_close]
    with scripted(script) as server, client.stream("GET", server.url()) as response:
        assert list(response.iter_lines()) == ["one", "two\u010atwo", "three"]


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be"])
def test_json_in_every_encoding_is_read(client: Client, codec: str) -> None:
    with scripted(again(whole('{"é": [1]}'.encode(codec)))) as server:
        assert client.get(server.url()).json() == {"é": [1]}
        for lend in ("view", "segments", "reader"):
            with client.stream("GET", server.url()) as response:
                getattr(response, lend)()
                assert response.json() == {"é": [1]}


def test_json_of_another_library_reads_lent_memory_and_bears_a_mark(make_client: MakeClient) -> None:
    pytest.importorskip("orjson")
    client = make_client(serializer=OrjsonSerializer())
    with scripted(again(whole(codecs.BOM_UTF8 + b'{"a": [1]}'))) as server:
        assert client.get(server.url()).json() == {"a": [1]}
        for lend in ("view", "segments"):
            with client.stream("GET", server.url()) as response:
                getattr(response, lend)()
                assert response.json() == {"a": [1]}


# What the head says


def test_links_are_absolute_and_redirects_known(client: Client) -> None:
    fields = b'HTTP/1.1 200 OK\r\nLink: </next?page=2>; rel="next"\r\nLink: <x>; rel=up; title=t\r\n'
    with scripted([read_request, answer(b"ok", fields), await_close]) as server:
        response = client.get(server.url("/a/b"))
        assert response.links["next"]["url"] == server.url("/next?page=2")
        assert response.links["up"] == {"url": server.url("/a/x"), "rel": "up", "title": "t"}
        assert not response.is_redirect
    script = [read_request, answer(b"", b"HTTP/1.1 302 Found\r\nLocation: /x\r\n"), await_close]
    with scripted(script) as server, client.stream("GET", server.url(), follow_redirects=False) as response:
        assert response.is_redirect
        assert response.links == {}
    with scripted([read_request, answer(b"", b"HTTP/1.1 304 Not Modified\r\nLocation: /x\r\n"), await_close]) as server:
        assert not client.get(server.url()).is_redirect
