"""A Client against nginx and CPython's http.server: what a program does with it, in every mode."""

from __future__ import annotations

import io
import json
import pickle
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from support import peers
from support.clients import MakeClient
from support.scripted_server import answer, await_close, read_request, scripted, send
from turbosock import Client, PoolConfig
from turbosock.errors import (
    BodyTooLarge,
    ConnectError,
    InvalidOption,
    Origin,
    Phase,
    ResolveError,
    ResponseClosed,
    StateError,
    StatusError,
)

BIG = peers.big_body(3_000_000)


def unix_url(peer: peers.Peer, path: str) -> str:
    return f"http+unix://{quote(str(peer.socket_path), safe='')}{path}"


# Getting


def test_get_small_gives_status_fields_and_content(client: Client, nginx: peers.Peer) -> None:
    response = client.get(nginx.url("/100"))
    assert (response.status_code, response.reason, response.http_version) == (200, "OK", "HTTP/1.1")
    assert response.content == peers.SMALL_BODY
    assert response.headers["content-length"] == "100"
    assert response.url == nginx.url("/100")
    assert response.method == "GET"
    assert response.ok
    assert response.elapsed.total_seconds() > 0
    response.raise_for_status()


@pytest.mark.parametrize("path", ["/100", "/chunked"])
def test_get_repeated_uses_one_connection(client: Client, nginx: peers.Peer, path: str) -> None:
    for _ in range(20):
        assert client.get(nginx.url(path)).content == peers.SMALL_BODY
    assert client.stats()[:3] == (1, 1, 0)


def test_get_big_is_whole(client: Client, nginx: peers.Peer) -> None:
    assert client.get(nginx.url("/big")).content == BIG
    assert client.stats()[:3] == (1, 1, 0)


def test_get_chunked_is_whole(client: Client, nginx: peers.Peer) -> None:
    response = client.get(nginx.url("/chunked"))
    assert response.headers["transfer-encoding"] == "chunked"
    assert response.content == peers.SMALL_BODY


def test_get_of_a_204_has_no_content_and_keeps_the_connection(client: Client, nginx: peers.Peer) -> None:
    for _ in range(3):
        response = client.get(nginx.url("/empty"))
        assert (response.status_code, response.content) == (204, b"")
    assert client.stats()[:3] == (1, 1, 0)


def test_get_of_a_304_has_no_content_and_keeps_the_connection(client: Client, nginx: peers.Peer) -> None:
    first = client.get(nginx.url("/100"))
    for _ in range(2):
        again = client.get(nginx.url("/100"), headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert client.stats()[:3] == (1, 1, 0)


@pytest.mark.parametrize(("path", "length"), [("/100", 100), ("/big", len(BIG))])
def test_head_tells_the_length_and_has_no_content(client: Client, nginx: peers.Peer, path: str, length: int) -> None:
    for _ in range(2):
        response = client.head(nginx.url(path))
        assert response.headers["content-length"] == str(length)
        assert response.content == b""
    assert client.get(nginx.url("/100")).content == peers.SMALL_BODY
    assert client.stats()[:3] == (1, 1, 0)


def test_get_of_a_missing_page_is_a_status_and_an_error_where_asked(client: Client, nginx: peers.Peer) -> None:
    response = client.get(nginx.url("/missing?token=hunter2"))
    assert (response.status_code, response.ok, response.text) == (404, False, "missing\n")
    with pytest.raises(StatusError, match="404 Not Found") as caught:
        response.raise_for_status()
    assert caught.value.response is response
    assert caught.value.origin is Origin.REMOTE
    assert "hunter2" not in str(caught.value)


def test_get_where_the_server_closes_dials_again(client: Client, nginx: peers.Peer) -> None:
    for _ in range(3):
        assert client.get(nginx.url("/close")).text == "closing\n"
        assert client.stats()[:3] == (0, 0, 0)


def test_request_is_understood_as_it_was_meant(client: Client, nginx: peers.Peer) -> None:
    text = client.get(nginx.url("/reflect"), params={"a": "b c", "d": ["1", "2"]}).text
    assert text == f"GET /reflect?a=b+c&d=1&d=2 HTTP/1.1\nhost: 127.0.0.1:{nginx.port}\nlength: \n"
    for method in ("OPTIONS", "DELETE", "PATCH"):
        assert client.request(method, nginx.url("/reflect")).text.startswith(f"{method} /reflect HTTP/1.1\n")


def test_get_from_http_server_of_cpython(client: Client, http_server: peers.Peer) -> None:
    for _ in range(2):
        assert client.get(http_server.url("/hello.txt")).text == "hello\n"
        assert client.get(http_server.url("/empty.txt")).content == b""
        assert client.get(http_server.url("/big.bin")).content == peers.big_body(500_000)
        assert client.get(http_server.url("/nothing")).status_code == 404
        assert client.head(http_server.url("/big.bin")).headers["content-length"] == "500000"


def test_get_from_a_server_of_http_10(client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(BIG[:200_000])
    with peers.http_server(tmp_path, protocol="HTTP/1.0") as server:
        for _ in range(2):
            response = client.get(server.url("/file"))
            assert (response.http_version, response.content) == ("HTTP/1.0", BIG[:200_000])
            assert client.stats()[:3] == (0, 0, 0)


def test_get_over_a_unix_socket(client: Client, nginx_unix: peers.Peer) -> None:
    for _ in range(2):
        assert client.get(unix_url(nginx_unix, "/100")).content == peers.SMALL_BODY
        assert client.get(unix_url(nginx_unix, "/big")).content == BIG
    assert client.get(unix_url(nginx_unix, "/reflect?a=b")).text.startswith(
        "GET /reflect?a=b HTTP/1.1\nhost: localhost\n"
    )
    assert client.stats()[:3] == (1, 1, 0)


def test_get_over_a_unix_socket_that_is_missing_says_so(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="no such path") as caught:
        client.get(f"http+unix://{quote(str(tmp_path / 'missing'), safe='')}/")
    assert caught.value.phase is Phase.CONNECT


def test_get_over_ipv6(client: Client) -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no ::1")

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            request = connection.recv(65_536)
            body = request.split(b"\r\n")[1]
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    thread = threading.Thread(target=serve)
    thread.start()
    with listener:
        port = listener.getsockname()[1]
        assert client.get(f"http://[::1]:{port}/").text == f"Host: [::1]:{port}"
        thread.join(10)


def test_get_from_a_port_where_nobody_listens_says_so(client: Client) -> None:
    port = peers.unused_port()
    with pytest.raises(ConnectError, match=f"127.0.0.1 port {port}") as caught:
        client.get(f"http://127.0.0.1:{port}/")
    assert (caught.value.phase, caught.value.method) == (Phase.CONNECT, "GET")
    assert client.stats()[:3] == (0, 0, 0)


def test_get_from_a_name_that_does_not_exist_says_so(client: Client) -> None:
    with pytest.raises(ResolveError) as caught:
        client.get("http://no-such-name.invalid/")
    assert caught.value.phase is Phase.RESOLVE
    assert client.stats()[:3] == (0, 0, 0)


# Sending


def blocks(data: bytes, size: int = 100_000) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("size", [0, 1, 1000, 3_000_000])
@pytest.mark.parametrize("kind", ["bytes", "bytearray", "memoryview", "file", "in memory", "list", "generator"])
def test_put_of_each_kind_arrives_whole(
    client: Client, nginx: peers.Peer, tmp_path: Path, kind: str, size: int
) -> None:
    body = BIG[:size]
    path = tmp_path / "body"
    path.write_bytes(body)
    contents: dict[str, object] = {
        "bytes": body,
        "bytearray": bytearray(body),
        "memoryview": memoryview(b"x" + body)[1:],
        "in memory": io.BytesIO(body),
        "list": list(blocks(body)),
        "generator": blocks(body),
    }
    with path.open("rb") as file:
        contents["file"] = file
        response = client.put(nginx.url("/upload/each"), content=contents[kind])
    assert response.status_code in (201, 204)
    assert (nginx.uploads / "each").read_bytes() == body
    assert client.stats()[:3] == (1, 1, 0)


def test_put_then_get_keeps_the_connection(client: Client, nginx: peers.Peer) -> None:
    for _ in range(3):
        assert client.post(nginx.url("/discard"), content=BIG).status_code == 204
        assert client.get(nginx.url("/100")).content == peers.SMALL_BODY
    assert client.stats()[:3] == (1, 1, 0)


def test_delete_removes(client: Client, nginx: peers.Peer) -> None:
    client.put(nginx.url("/upload/gone"), content=b"x")
    assert client.delete(nginx.url("/upload/gone")).status_code == 204
    assert not (nginx.uploads / "gone").exists()


def test_json_and_forms_arrive_as_they_should(client: Client) -> None:
    with scripted([read_request, answer(), read_request, answer(), await_close]) as server:
        client.post(server.url(), json={"a": [1, "ä"]})
        client.patch(server.url(), data={"b": "c d"})
        first, second = (request.partition(b"\r\n\r\n") for request in server.requests)
    assert json.loads(first[2]) == {"a": [1, "ä"]}
    assert b"Content-Type: application/json\r\n" in first[0] + b"\r\n"
    assert second[2] == b"b=c+d"
    assert b"Content-Type: application/x-www-form-urlencoded\r\n" in second[0] + b"\r\n"


def test_default_fields_are_sent_and_replaced(make_client: MakeClient) -> None:
    client = make_client(headers={"X-Mine": "1", "User-Agent": "other"})
    with scripted([read_request, answer(), read_request, answer(), await_close]) as server:
        client.get(server.url())
        client.get(server.url(), headers={"x-mine": "2"})
        first, second = server.requests
    assert b"X-Mine: 1\r\nUser-Agent: other\r\n" in first
    assert b"Accept: */*\r\n" in first
    assert (second.lower().count(b"x-mine"), b"x-mine: 2\r\n" in second) == (1, True)


def test_credentials_are_sent_and_shown_nowhere(client: Client) -> None:
    script = [
        read_request,
        answer(b"no", b"HTTP/1.1 401 Unauthorized\r\n"),
        read_request,
        send(b"garbage"),
        await_close,
    ]
    with scripted(script) as server:
        url = f"http://user:hunter2@127.0.0.1:{server.port}/path?key=hunter2"
        response = client.get(url)
        assert "hunter2" not in repr(response)
        assert "user" not in response.url
        with pytest.raises(StatusError) as status:
            response.raise_for_status()
        with pytest.raises(Exception, match="not HTTP/1") as failed:
            client.get(url)
        for error in (status.value, failed.value):
            assert "hunter2" not in str(error)
            assert "hunter2" not in repr(error)
            assert "user" not in str(error)
        assert b"Authorization: Basic dXNlcjpodW50ZXIy\r\n" in server.requests[0]
        assert b"hunter2" not in server.requests[0].replace(b"?key=hunter2", b"")
        assert "hunter2" not in repr(client)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"url": None}, "url"),
        ({"url": ["http://host/"]}, "url"),
        ({"url": "host"}, "url"),
        ({"params": 5}, "params"),
        ({"headers": 5}, "headers"),
        ({"headers": {"a\n": "b"}}, "headers"),
        ({"auth": "user"}, "auth"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": None}, "timeout"),
        ({"timeout": "1"}, "timeout"),
        ({"content": 5}, "content"),
        ({"data": 5}, "data"),
        ({"json": {1, 2}}, "json"),
        ({"content": b"a", "json": 1}, "content, data, json"),
    ],
)
def test_argument_that_cannot_work_is_refused_before_a_byte_is_sent(
    client: Client, arguments: dict[str, object], name: str
) -> None:
    with scripted([read_request, answer(), await_close]) as server:
        given: dict[str, object] = {"url": server.url(), **arguments}
        with pytest.raises(InvalidOption, match=f"^{name}\\b"):
            client.post(**given)  # type: ignore[arg-type]  # what is refused
        with pytest.raises(InvalidOption, match=f"^{name}\\b"):
            client.stream("POST", **given)  # type: ignore[arg-type]  # what is refused
        assert server.accepted == 0
        if given.keys() <= {"url"}:
            with pytest.raises(InvalidOption, match=f"^{name}\\b"):
                client.get(**given)  # type: ignore[arg-type]  # what is refused
            with pytest.raises(InvalidOption, match=f"^{name}\\b"):
                client.stream("GET", **given)  # type: ignore[arg-type]  # what is refused
    with pytest.raises(InvalidOption, match=r"^config"):
        Client({"poller": None})  # type: ignore[arg-type]  # what is refused


# Reading


@pytest.mark.parametrize(("path", "body"), [("/100", peers.SMALL_BODY), ("/chunked", peers.SMALL_BODY), ("/big", BIG)])
class TestStream:
    """Every way of reading a streamed body gives the same body, and gives the connection back."""

    @pytest.mark.parametrize("room", [7, 100, 4096, 1_000_000])
    def test_stream_readinto(self, client: Client, nginx: peers.Peer, path: str, body: bytes, room: int) -> None:
        if room == 7 and len(body) > 1000:
            room = 70_001
        buffer = bytearray(room)
        got = bytearray()
        with client.stream("GET", nginx.url(path)) as response:
            while count := response.readinto(buffer):
                got += buffer[:count]
            assert response.readinto(buffer) == 0
            assert response.nbytes == len(body)
        assert got == body
        assert client.stats()[:3] == (1, 1, 0)

    def test_stream_into_a_view_of_another_format(
        self, client: Client, nginx: peers.Peer, path: str, body: bytes
    ) -> None:
        memory = bytearray(4_000_000)
        view = memoryview(memory).cast("I")
        with client.stream("GET", nginx.url(path)) as response:
            count = response.readinto(view)
            assert memory[:count] == body[:count]
            assert count > 0

    @pytest.mark.parametrize("chunk_size", [None, 64, 99_991])
    def test_stream_iter_bytes(
        self, client: Client, nginx: peers.Peer, path: str, body: bytes, chunk_size: int | None
    ) -> None:
        if chunk_size == 64 and len(body) > 1000:
            chunk_size = 65_536
        with client.stream("GET", nginx.url(path)) as response:
            pieces = list(response.iter_bytes(chunk_size))
        assert b"".join(pieces) == body
        if chunk_size is not None:
            assert {len(piece) for piece in pieces[:-1]} <= {chunk_size}
        assert client.stats()[:3] == (1, 1, 0)

    def test_stream_view(self, client: Client, nginx: peers.Peer, path: str, body: bytes) -> None:
        with client.stream("GET", nginx.url(path)) as response:
            view = response.view()
            assert view == body
            assert view.readonly
            assert response.view() is view
            # The body has come: the connection serves the next request while the view is held.
            assert client.get(nginx.url("/100")).content == peers.SMALL_BODY
            assert view == body
        with pytest.raises(ValueError, match="released"):
            len(view)
        assert client.stats()[:3] == (1, 1, 0)

    def test_stream_content(self, client: Client, nginx: peers.Peer, path: str, body: bytes) -> None:
        with client.stream("GET", nginx.url(path)) as response:
            assert response.content == body
            assert response.content is response.content
            assert response.read() is response.content
        # It is the user's own from now on.
        assert response.content == body
        assert client.stats()[:3] == (1, 1, 0)

    def test_gathered_body_can_be_read_in_every_other_way(
        self, client: Client, nginx: peers.Peer, path: str, body: bytes
    ) -> None:
        response = client.get(nginx.url(path))
        buffer = bytearray(70)
        got = bytearray()
        while len(got) < 700 and (count := response.readinto(buffer)):
            got += buffer[:count]
        assert got == body[: len(got)]
        assert len(got) == min(700, len(body))
        assert b"".join(response.iter_bytes(1000)) == body
        assert b"".join(response.iter_bytes()) == body
        assert response.view() == body

    def test_stream_left_early_costs_the_connection_or_not(
        self, client: Client, nginx: peers.Peer, path: str, body: bytes
    ) -> None:
        with client.stream("GET", nginx.url(path)) as response:
            assert response.readinto(bytearray(10)) == 10
        assert response.closed
        assert client.stats().open == client.stats().idle
        assert client.get(nginx.url("/100")).content == peers.SMALL_BODY


def test_stream_closed_has_no_body_any_more(client: Client, nginx: peers.Peer) -> None:
    for path in ("/100", "/big"):
        response = client.stream("GET", nginx.url(path))
        response.close()
        response.close()
        with pytest.raises(ResponseClosed):
            response.readinto(bytearray(10))
        with pytest.raises(ResponseClosed):
            _ = response.content
        with pytest.raises(ResponseClosed):
            response.view()
        with pytest.raises(ResponseClosed):
            list(response.iter_bytes())


def test_stream_kept_after_its_end_never_shows_another_answer(client: Client, nginx: peers.Peer) -> None:
    kept = []
    for _ in range(20):
        with client.stream("GET", nginx.url("/100")) as response:
            response.readinto(bytearray(100))
        kept.append(response)
        with client.stream("GET", nginx.url("/missing")) as other:
            assert other.status_code == 404
            assert all(other is not old for old in kept)
    for response in kept:
        with pytest.raises((StateError, ResponseClosed)):
            assert response.status_code == 200 and response.content


def test_content_after_part_of_the_body_was_read_is_refused(client: Client, nginx: peers.Peer) -> None:
    with client.stream("GET", nginx.url("/100")) as response:
        response.readinto(bytearray(10))
        with pytest.raises(ResponseClosed, match="part of the body"):
            _ = response.content
        with pytest.raises(ResponseClosed, match="partly"):
            response.view()


@pytest.mark.parametrize(
    "buffer", [b"bytes", memoryview(b"bytes"), bytearray(), memoryview(bytearray(8))[::2], "text", None, 5]
)
@pytest.mark.parametrize("path", ["/100", "/big"])
def test_readinto_what_cannot_be_written_is_refused_and_harms_nothing(
    client: Client, nginx: peers.Peer, buffer: object, path: str
) -> None:
    body = {"/100": peers.SMALL_BODY, "/big": BIG}[path]
    with client.stream("GET", nginx.url(path)) as response:
        with pytest.raises(InvalidOption, match=r"^buffer: "):
            response.readinto(buffer)  # type: ignore[arg-type]  # what is refused
        assert b"".join(response.iter_bytes()) == body


@pytest.mark.parametrize("chunk_size", [0, -1, 1.5, "1", True])
def test_iter_bytes_in_pieces_of_nothing_is_refused_at_once(
    client: Client, nginx: peers.Peer, chunk_size: object
) -> None:
    with client.stream("GET", nginx.url("/100")) as response, pytest.raises(InvalidOption, match=r"^chunk_size="):
        response.iter_bytes(chunk_size)  # type: ignore[arg-type]  # what is refused


LINES = [
    (b"", []),
    (b"a", ["a"]),
    (b"a\n", ["a"]),
    (b"a\nb", ["a", "b"]),
    (b"a\r\nb\rc\n\nd", ["a", "b", "c", "", "d"]),
    (b"\r\n\r\n", ["", ""]),
    (b"\r\r\n\n", ["", "", ""]),
    (b"a\r", ["a"]),
    ("ä\nö".encode(), ["ä", "ö"]),
    ("a\x0bb\u2028c\x85d".encode(), ["a\x0bb\u2028c\x85d"]),
]


@pytest.mark.parametrize(("body", "lines"), LINES)
def test_iter_lines_ends_lines_as_it_says_however_they_come(client: Client, body: bytes, lines: list[str]) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    bytewise = b"".join(b"1\r\n%b\r\n" % body[i : i + 1] for i in range(len(body)))
    script = [read_request, answer(body), read_request, send(chunked + bytewise + b"0\r\n\r\n"), await_close]
    with scripted(script) as server:
        for _ in range(2):
            with client.stream("GET", server.url()) as response:
                assert list(response.iter_lines()) == lines
        assert client.stats()[:3] == (1, 1, 0)


def test_iter_lines_of_one_long_line_is_one_line_and_keeps_its_bound(make_client: MakeClient) -> None:
    with scripted([read_request, answer(b"x" * 5_000_000 + b"\nend"), await_close]) as server:
        client = make_client()
        with client.stream("GET", server.url()) as response:
            assert [len(line) for line in response.iter_lines()] == [5_000_000, 3]
    with scripted([read_request, answer(b"x" * 5_000_000), await_close]) as server:
        client = make_client(max_body_bytes=1_000_000)
        with client.stream("GET", server.url()) as response, pytest.raises(BodyTooLarge, match="line"):
            list(response.iter_lines())
        assert client.stats().open == 0


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        (b"text/plain", "ä".encode(), "ä"),
        (b"text/plain; charset=latin-1", b"\xe4", "ä"),
        (b'text/plain; a=b; Charset="UTF-16-LE"', "ä".encode("utf-16-le"), "ä"),
        (b"text/plain; charset=", b"a", "a"),
        (b"text/plain; charset=no-such", "ä".encode(), "ä"),
        (b"text/plain; charset=hex", b"zz", "zz"),
        (b"text/plain; charset=idna", b"\xc3\xa4", "ä"),
        (b"text/plain; charset=undefined", b"a", "a"),
        (b"text/plain", b"\xff", "\ufffd"),
    ],
)
def test_text_follows_the_charset_and_never_fails(client: Client, content_type: bytes, body: bytes, text: str) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + content_type + b"\r\n"
    with scripted([read_request, answer(body, head), await_close]) as server:
        assert client.get(server.url()).text == text


def test_json_is_read_and_what_is_none_is_a_value_error(client: Client) -> None:
    with scripted([read_request, answer(b'{"a": [1, "\xc3\xa4"]}'), read_request, answer(b"{"), await_close]) as server:
        assert client.get(server.url()).json() == {"a": [1, "ä"]}
        with pytest.raises(ValueError, match="line 1"):
            client.get(server.url()).json()


# Many at once


@pytest.mark.parametrize("limit", [3, 100])
def test_threads_that_share_a_client_each_get_their_own_answers(
    make_client: MakeClient, nginx: peers.Peer, limit: int
) -> None:
    client = make_client(pool=PoolConfig(max_connections=limit, max_connections_per_origin=limit))
    failures: list[str] = []

    def work(number: int) -> None:
        chance = random.Random(number)
        try:
            for i in range(40):
                path = f"/reflect?thread={number}&round={i}"
                expected = f"GET {path} HTTP/1.1"
                if chance.random() < 0.5:
                    got = client.get(nginx.url(path)).text.splitlines()[0]
                else:
                    with client.stream("GET", nginx.url(path)) as response:
                        got = bytes(response.view()).decode().splitlines()[0]
                if got != expected:
                    failures.append(f"{got} for {expected}")
        except BaseException as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    stats = client.stats()
    assert stats.open == stats.idle <= min(limit, 8)
    assert stats.waiting == 0


def test_client_in_a_with_block_closes_its_connections(make_client: MakeClient, nginx: peers.Peer) -> None:
    with make_client() as client:
        client.get(nginx.url("/100"))
        assert client.stats()[:3] == (1, 1, 0)
    assert client.stats()[:3] == (0, 0, 0)
    assert repr(client).endswith("closed>")


def test_client_cannot_be_pickled_and_says_what_can(client: Client) -> None:
    with pytest.raises(StateError, match="pickle its Config"):
        pickle.dumps(client)
