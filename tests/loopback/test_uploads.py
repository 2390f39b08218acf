"""Uploads by both faces, in every mode, plain and over TLS: files that the system moves, forms, progress, and whatever
goes wrong on the way. Each ends with the named error, a closed connection, and the memory that it took given back."""

from __future__ import annotations

import contextlib
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import peers
from support.https import Pki, secure
from support.scripted_server import (
    Peer,
    ScriptedServer,
    Step,
    answer,
    await_close,
    close,
    half_close,
    read_head,
    read_request,
    reset,
    scripted,
    send,
    stall,
)
from turbosock import (
    Client,
    Config,
    Exchange,
    JsonSerializer,
    Loop,
    MultipartForm,
    Response,
    Timeouts,
    TransportMode,
    limits,
)
from turbosock.client.loop_connection import LoopConnection
from turbosock.config import TlsConfig
from turbosock.connection.file_range import FileRange
from turbosock.errors import (
    ClientClosed,
    ConnectionClosed,
    InvalidOption,
    Origin,
    Phase,
    ReadError,
    TotalTimeout,
    WriteError,
    WriteTimeout,
)
from turbosock.reactor.context import FREE
from turbosock.tls.selector import provider_for

TIMEOUTS = Timeouts(connect_s=10, read_s=10, write_s=10, pool_s=10, total_s=15)
DATA = peers.big_body(3_000_000)
LONG_BYTES = 64 * limits.MIB
REFUSAL = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"
KINDS = ("stream", "saea", "loop")


class Face:
    """A Client or a Loop, asked in one way, and servers that speak plainly or TLS with it.

    Attributes:
        owner: the Client or Loop.
        pki: who the servers are, over TLS; None: they speak plainly.
    """

    def __init__(self, kind: str, pki: Pki | None) -> None:
        self.kind = kind
        self.pki = pki
        self.owner = self.make()

    def make(self, **options: Any) -> Client | Loop:
        mode = TransportMode.SAEA if self.kind == "saea" else TransportMode.STREAM
        tls = TlsConfig() if self.pki is None else self.pki.trusting
        config = Config(transport=mode, tls=tls, timeouts=TIMEOUTS, diagnostics=True, **options)
        return Loop(config) if self.kind == "loop" else Client(config)

    def url(self, server: ScriptedServer) -> str:
        return server.url() if self.pki is None else server.url().replace("http:", "https:")

    def reads_after_failed_write(self) -> bool:
        """Whether what came before a failed write can be read after it."""
        if self.pki is None:
            return True
        name, version, *_ = provider_for(self.pki.trusting).library.split()
        major, minor, *_ = version.split(".")
        return name != "OpenSSL" or (int(major), int(minor)) < (3, 2)

    def serving(self, *scripts: list[Step]) -> contextlib.AbstractContextManager[ScriptedServer]:
        pki = self.pki
        if pki is None:
            return scripted(*scripts)
        return scripted(*([secure(pki.context), *script] for script in scripts))

    def perform(self, method: str, url: str, **options: Any) -> Response | Exchange:
        """The whole exchange; a Loop's error is raised as a Client's is."""
        owner = self.owner
        if isinstance(owner, Client):
            return owner.request(method, url, **options)
        exchange = owner.request(method, url, **options)
        while not exchange.done:
            owner.poll(0.2)
        if exchange.error is not None:
            raise exchange.error
        return exchange

    def check_clean(self) -> None:
        """Nothing is open, and nothing lent."""
        assert self.owner.stats().open == 0
        self.check_memory()

    def check_memory(self) -> None:
        pool = self.owner.buffers if isinstance(self.owner, Client) else self.owner.bodies
        assert pool.stats().outstanding == 0
        assert pool.leaks == ()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(params=[f"{kind}-{scheme}" for scheme in ("http", "https") for kind in KINDS])
def face(request: pytest.FixtureRequest, pki: Pki) -> Iterator[Face]:
    """Each face and mode, plain and over TLS."""
    kind, scheme = request.param.split("-")
    made = Face(kind, pki if scheme == "https" else None)
    with made.owner:
        yield made


@pytest.fixture(params=KINDS)
def plain(request: pytest.FixtureRequest) -> Iterator[Face]:
    """Each face and mode, without TLS."""
    made = Face(request.param, None)
    with made.owner:
        yield made


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    """nginx that takes 1 MB at most under /small/."""
    small = tmp_path_factory.mktemp("small")
    locations = f"location /small/ {{ alias {small}/; dav_methods PUT; client_max_body_size 1m; }}"
    with peers.nginx(tmp_path_factory.mktemp("nginx"), locations=locations) as peer:
        yield peer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.bin"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def long_path(tmp_path: Path) -> Path:
    """A sparse file, longer than any socket's buffers."""
    path = tmp_path / "long.bin"
    with path.open("wb") as file:
        file.truncate(LONG_BYTES)
    return path


class Told(list[tuple[int, int | None]]):
    """A progress callback that remembers."""

    def __call__(self, sent: int, total: int | None) -> None:
        self.append((sent, total))

    def check(self, total: int, known: bool) -> None:
        sent = [count for count, _ in self]
        assert sent == sorted(set(sent)) and sent[0] > 0 and sent[-1] == total
        assert {each for _, each in self} == {total if known else None}


def payload(request: bytes) -> bytes:
    """The body of a request that was sent without chunks."""
    return request.partition(b"\r\n\r\n")[2]


# Whole


@pytest.mark.parametrize("offset", [0, 1_000_001, len(DATA) - 10, len(DATA)])
def test_file_arrives_whole_from_its_position_on(face: Face, path: Path, offset: int) -> None:
    told = Told()
    with face.serving([read_request, answer(b"1"), read_request, answer(b"2"), await_close]) as server:
        with path.open("rb") as file:
            file.seek(offset)
            for number in (b"1", b"2"):
                assert face.perform("PUT", face.url(server), content=file, progress=told).content == number
                # Untouched: the same file goes again.
                assert file.tell() == offset
            if offset < len(DATA):
                half = len(told) // 2
                assert told[half - 1][0] == len(DATA) - offset
                Told(told[half:]).check(len(DATA) - offset, known=True)
        assert [payload(request) for request in server.requests] == [DATA[offset:]] * 2
        assert face.owner.stats().idle == 1
        face.check_memory()


def test_file_is_moved_by_the_system_on_plain_sockets_and_read_over_tls(
    face: Face, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = []
    sendfile = os.sendfile

    def noted(*arguments: Any) -> int:
        moved.append(sendfile(*arguments))
        return moved[-1]

    monkeypatch.setattr(os, "sendfile", noted)
    with face.serving([read_request, answer()]) as server, path.open("rb") as file:
        face.perform("PUT", face.url(server), content=file)
        assert payload(server.requests[0]) == DATA
    assert sum(moved) == (len(DATA) if face.pki is None else 0)


def test_form_with_files_arrives_whole(face: Face, path: Path) -> None:
    told = Told()
    with face.serving([read_request, answer()]) as server, path.open("rb") as file:
        form = MultipartForm({"a": "b"}, {"long": file, "short": ("n", b"x"), "memory": DATA[:99_999]})
        face.perform("POST", face.url(server), files=form, progress=told)
        request = server.requests[0]
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"Content-Type: {form.content_type}".encode() in head
        source = form.source(face.owner.buffers)
        assert b"Content-Length: %d" % source.length in head
        told.check(source.length, known=True)
        source.takes_files = False
        blocks = []
        while (block := source.next_block()) is not None:
            assert not isinstance(block, FileRange)
            blocks.append(bytes(block))
        source.release()
        assert body == b"".join(blocks)
    face.check_memory()


def test_form_of_unknown_length_goes_in_chunks(face: Face) -> None:
    told = Told()
    with face.serving([read_request, answer()]) as server:
        face.perform("POST", face.url(server), files={"f": ("n", iter([b"abc", b"def"]))}, progress=told)
        assert b"Transfer-Encoding: chunked" in server.requests[0]
        assert b"abcdef\r\n--" in server.requests[0]
        told.check(told[-1][0], known=False)


def test_chunks_of_an_iterable_are_told_without_their_framing(face: Face) -> None:
    told = Told()
    with face.serving([read_request, answer()]) as server:
        face.perform("POST", face.url(server), content=(bytes(100_000) for _ in range(5)), progress=told)
    told.check(500_000, known=False)


def test_json_goes_from_pooled_memory_and_comes_back_through_the_serializer(face: Face) -> None:
    class Marked(JsonSerializer):
        content_type = "application/x-marked"

        def serialize_into(self, value: Any, writer: Any) -> None:
            writer.write(b"[")
            super().serialize_into(value, writer)
            writer.write(b"]")

        def deserialize(self, source: Any) -> Any:
            return "marked", super().deserialize(source)

    face.owner.close()
    face.owner = face.make(serializer=Marked())
    with face.owner, face.serving([read_request, answer(b'{"a": 1}')]) as server:
        response = face.perform("POST", face.url(server), json={"b": 2})
        assert response.json() == ("marked", {"a": 1})
        assert b"Content-Type: application/x-marked\r\n" in server.requests[0]
        assert payload(server.requests[0]) == b'[{"b":2}]'
        face.check_memory()


def test_put_of_a_file_to_nginx_is_stored(plain: Face, nginx: peers.Peer, path: Path) -> None:
    with path.open("rb") as file:
        assert plain.perform("PUT", nginx.url(f"/upload/{plain.kind}"), content=file).status_code in (201, 204)
    assert (nginx.uploads / plain.kind).read_bytes() == DATA


# Sent again


def test_file_is_sent_again_on_a_stale_connection(face: Face, path: Path) -> None:
    scripts: list[list[Step]] = [[read_request, answer(b"1"), read_head, close], [read_request, answer(b"2")]]
    with face.serving(*scripts) as server, path.open("rb") as file:
        face.perform("GET", face.url(server))
        assert face.perform("PUT", face.url(server), content=file).content == b"2"
        assert payload(server.requests[-1]) == DATA
    face.check_memory()


# Files that change


def shrinking(path: Path, size: int) -> Callable[[int, int | None], None]:
    """A progress callback that cuts the file when the first of it has left."""

    def callback(sent: int, total: int | None) -> None:
        os.truncate(path, size)

    return callback


@pytest.mark.parametrize("form", [False, True], ids=["content", "form"])
def test_file_that_shrinks_while_it_is_sent_is_a_local_write_error(face: Face, long_path: Path, form: bool) -> None:
    with face.serving([read_head, await_close]) as server, long_path.open("rb") as file:
        options = {"files": {"f": file}} if form else {"content": file}
        with pytest.raises(WriteError, match=rf"the file ended \d+ bytes before the {LONG_BYTES}") as caught:
            face.perform("PUT", face.url(server), progress=shrinking(long_path, LONG_BYTES // 2), **options)
        assert caught.value.origin is Origin.LOCAL
        face.check_clean()


def test_file_that_is_closed_while_it_is_sent_is_a_local_write_error(face: Face, long_path: Path) -> None:
    with face.serving([read_head, await_close]) as server, long_path.open("rb") as file:
        with pytest.raises(WriteError, match="the file was closed while it was sent") as caught:
            face.perform("PUT", face.url(server), content=file, progress=lambda sent, total: file.close())
        assert caught.value.origin is Origin.LOCAL
        face.check_clean()


def test_file_that_grows_is_sent_as_long_as_announced(face: Face, path: Path) -> None:
    def grow(sent: int, total: int | None) -> None:
        with path.open("ab") as more:
            more.write(b"more")

    with face.serving([read_request, answer()]) as server, path.open("rb") as file:
        face.perform("PUT", face.url(server), content=file, progress=grow)
        assert payload(server.requests[0]) == DATA


# Servers that end it


@pytest.mark.parametrize("ending", [[await_close], [half_close, stall], [close], [stall]])
def test_file_refused_early_gives_the_refusal(face: Face, long_path: Path, ending: list[Step]) -> None:
    if ending == [close] and not face.reads_after_failed_write():
        pytest.skip("OpenSSL reads nothing after a write that failed, from 3.2 on: the refusal is lost in the engine")
    with face.serving([read_head, send(REFUSAL), *ending]) as server, long_path.open("rb") as file:
        response = face.perform("PUT", face.url(server), content=file)
        assert (response.status_code, response.content) == (413, b"big")
        face.check_clean()


def test_file_answered_early_does_not_leave_a_dirty_connection(face: Face, long_path: Path) -> None:
    with face.serving([read_head, answer(b"early"), stall]) as server, long_path.open("rb") as file:
        assert face.perform("PUT", face.url(server), content=file).content == b"early"
        face.check_clean()


@pytest.mark.parametrize("kind", ["file", "bytes", "form", "chunks"])
def test_body_above_the_limit_of_nginx_gives_its_413(plain: Face, nginx: peers.Peer, path: Path, kind: str) -> None:
    for _ in range(5):
        with path.open("rb") as file:
            kinds: dict[str, dict[str, Any]] = {
                "file": {"content": file},
                "bytes": {"content": DATA},
                "form": {"files": {"f": file}},
                "chunks": {"content": iter([DATA[:100_000]] * 30)},
            }
            response = plain.perform("PUT", nginx.url("/small/x"), **kinds[kind])
            assert response.status_code == 413
            assert b"Too Large" in response.content
        plain.check_memory()


def test_file_reset_by_the_peer_is_an_error_of_the_connection(face: Face, long_path: Path) -> None:
    with face.serving([read_head, reset]) as server, long_path.open("rb") as file:
        with pytest.raises((WriteError, ReadError, ConnectionClosed)) as caught:
            face.perform("PUT", face.url(server), content=file)
        assert caught.value.origin is Origin.REMOTE
        face.check_clean()


@pytest.mark.parametrize(
    ("timeout", "error"), [(Timeouts(write_s=0.2), WriteTimeout), (Timeouts(total_s=0.2), TotalTimeout)]
)
def test_file_that_nobody_reads_ends_at_its_limit(
    face: Face, long_path: Path, timeout: Timeouts, error: type[Exception]
) -> None:
    with face.serving([read_head, stall]) as server, long_path.open("rb") as file:
        with pytest.raises(error):
            face.perform("PUT", face.url(server), content=file, timeout=timeout)
        face.check_clean()


def drink(peer: Peer) -> None:
    """Read little by little, for ever."""
    while not peer.server.stopping.wait(0.01):
        if not peer.socket.recv(20_000):
            return


def test_file_that_is_read_slowly_ends_at_the_total_deadline(face: Face, long_path: Path) -> None:
    with face.serving([read_head, drink]) as server, long_path.open("rb") as file:
        with pytest.raises(TotalTimeout):
            face.perform("PUT", face.url(server), content=file, timeout=Timeouts(total_s=0.5))
        face.check_clean()


def test_memory_of_a_long_upload_is_that_of_one_block(face: Face, long_path: Path) -> None:
    with face.serving([read_head, await_close]) as server, long_path.open("rb") as file:
        tracemalloc.start()
        try:
            with pytest.raises(KeyError):
                face.perform("PUT", face.url(server), content=file, progress=until(LONG_BYTES // 2))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 2 * limits.SEND_BLOCK_BYTES + limits.MIB


# The callback


def until(count: int) -> Callable[[int, int | None], None]:
    """A progress callback that has had enough."""

    def callback(sent: int, total: int | None) -> None:
        if sent >= count:
            raise KeyError(sent)

    return callback


@pytest.mark.parametrize("count", [1, 1_000_000, len(DATA)])
def test_what_the_callback_raises_ends_the_exchange_with_it(face: Face, path: Path, count: int) -> None:
    with face.serving([read_request, stall]) as server, path.open("rb") as file:
        with pytest.raises(KeyError):
            face.perform("PUT", face.url(server), content=file, progress=until(count))
        face.check_clean()


def test_callback_that_closes_its_owner_ends_the_exchange(face: Face, path: Path) -> None:
    with face.serving([read_request, stall]) as server, path.open("rb") as file:
        with pytest.raises(ClientClosed):
            face.perform("PUT", face.url(server), content=file, progress=lambda sent, total: face.owner.close())
        face.check_clean()


@pytest.mark.parametrize("count", [1, LONG_BYTES // 2], ids=["start", "later"])
def test_loop_that_a_callback_closes_leaves_nothing_of_the_exchange_behind(long_path: Path, count: int) -> None:
    connections: list[LoopConnection] = []

    def callback(sent: int, total: int | None) -> None:
        if sent >= count:
            connections.extend(loop.pool.connections)  # type: ignore[arg-type]  # a Loop's are LoopConnections
            loop.close()

    with scripted([read_head, await_close]) as server, long_path.open("rb") as file:
        loop = Loop(Config(timeouts=TIMEOUTS))
        exchange = loop.put(server.url(), content=file, progress=callback)
        while not exchange.done:
            loop.poll(0.2)
        assert type(exchange.error) is ClientClosed and exchange.phase is Phase.SEND
        assert connections[0].transport.receive_context.state == FREE
        assert connections[0].transport.send_context.state == FREE


def test_exchange_of_a_loop_that_its_callback_cancels_ends(path: Path) -> None:
    with scripted([read_request, stall]) as server, Loop(Config(timeouts=TIMEOUTS)) as loop, path.open("rb") as file:
        exchange = loop.put(server.url(), content=file, progress=lambda sent, total: exchange.cancel())
        while not exchange.done:
            loop.poll(0.2)
        assert exchange.error is not None and exchange.error.code == "cancelled"
        assert loop.stats().open == 0


def test_refused_argument_costs_no_memory(face: Face) -> None:
    with pytest.raises(InvalidOption, match=r"^headers: "):
        face.perform("PUT", "http://localhost:1/", json={}, headers={"Content-Length": "5"})
    face.check_memory()
