"""One HTTP/2 connection that many threads, a fork, or an interrupt share: the baton of a Client."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from random import Random

import pytest

from support.faces import face
from support.forks import NEEDS_FORK, in_child
from support.http2_server import Http2Peer, Request, Wire, http2_site, reset, say_path, serving
from support.in_thread import InThread
from support.length import short_or_long
from support.rings import rings_are_free
from support.seeds import seeds
from turbosock import CancelToken, Client, PoolConfig, Timeouts
from turbosock.client.shared_http2 import SharedHttp2Session, SharedHttp2Stream
from turbosock.errors import Cancelled, ClientClosed, ReadTimeout, TurbosockError
from turbosock.protocol.http2.error_codes import NO_ERROR

ONE = PoolConfig(max_connections_per_origin=1)
THREADS = 40


@pytest.fixture
def client(clear: Wire) -> Iterator[Client]:
    with face("stream", diagnostics=True, pool=ONE, **clear.options) as made:
        assert isinstance(made.owner, Client)
        yield made.owner


def session_of(client: Client) -> SharedHttp2Session:
    (session,) = client.pool.connections
    assert isinstance(session, SharedHttp2Session)
    return session


def assert_idle(client: Client, connections: int = 1) -> None:
    stats = client.pool.stats()
    assert (stats.open, stats.idle, stats.in_use, stats.waiting) == (connections, connections, 0, 0)
    assert rings_are_free(client)


# Forks


@NEEDS_FORK
@pytest.mark.parametrize("kind", ["clear", "ssl", "pyopenssl"])
def test_child_of_a_fork_has_a_connection_of_its_own(clear: Wire, kind: str) -> None:
    wire = Wire(kind, clear.pki)
    with http2_site(wire, serving(say_path)) as site, face("stream", **wire.options) as user:
        client = user.owner
        assert isinstance(client, Client)
        assert client.get(site.url("/parent")).content == b"/parent"
        session = session_of(client)

        def child() -> None:
            assert session.closed
            for _ in range(2):
                assert client.get(site.url("/child")).content == b"/child"
            assert client.stats().open == 1

        with session.lock:
            # A thread that the child has not got may hold it.
            in_child(child)
        assert client.get(site.url("/after")).content == b"/after"
        assert len(site.connections) == 2
        assert not session.closed


@NEEDS_FORK
def test_child_of_a_fork_cannot_read_on_what_the_parent_reads(client: Client, clear: Wire) -> None:
    def handle(http2: Http2Peer, request: Request) -> None:
        if request.path == "/held":
            http2.send(http2.head(request.stream_id))
            held.append(request)
        else:
            say_path(http2, request)
            http2.answer_rest(held.pop(), b"the rest")

    held: list[Request] = []
    with http2_site(clear, serving(handle)) as site:
        with client.stream("GET", site.url("/held")) as response:

            def child() -> None:
                with pytest.raises(TurbosockError):
                    response.read(1)
                response.close()

            in_child(child)
            client.get(site.url("/other"))
            assert response.content == b"the rest"
        assert len(site.connections) == 1


# What another thread does to a stream


def test_upload_ends_where_another_thread_reads_that_it_is_not_wanted(client: Client, clear: Wire) -> None:
    refused = threading.Event()
    looked = threading.Event()
    after: list[int] = []

    def play(http2: Http2Peer) -> None:
        http2.begin()
        http2.credits = False
        upload = http2.await_head()
        while not upload.body:
            http2.take_frame()
        http2.answer(upload, b"enough")
        http2.send(reset(upload.stream_id, NO_ERROR))
        refused.set()
        other = http2.await_request()
        say_path(http2, other)
        before = len(upload.body)
        last = http2.await_request()
        after.append(len(upload.body) - before)
        say_path(http2, last)
        http2.serve(say_path)

    def body() -> Iterator[bytes]:
        yield b"first"
        assert refused.wait(20)
        # Another thread reads the answer and the reset.
        assert client.get(site.url("/other")).content == b"/other"
        looked.set()
        yield b"second"

    with http2_site(clear, play) as site:
        answer = client.post(site.url("/upload"), content=body())
        assert answer.content == b"enough"
        assert looked.is_set()
        assert client.get(site.url("/last")).content == b"/last"
        assert after == [0], "DATA on a stream that is over"
        assert_idle(client)


def test_refusal_of_an_upload_is_seen_at_once(client: Client, clear: Wire) -> None:
    def play(http2: Http2Peer) -> None:
        http2.begin()
        http2.credits = False
        upload = http2.await_head()
        while len(upload.body) < 65535:
            http2.take_frame()
        http2.answer(upload, b"too much", 413)
        http2.await_reset(upload.stream_id)
        http2.serve(say_path)

    with http2_site(clear, play) as site:
        began = time.monotonic()
        answer = client.post(site.url("/upload"), content=bytes(1_000_000))
        assert (answer.status_code, answer.content) == (413, b"too much")
        # Not by looking around now and then.
        assert time.monotonic() - began < 0.2


def test_cancel_right_before_the_request_leaves_is_not_lost(
    client: Client, clear: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = threading.Event()

    def handle(http2: Http2Peer, request: Request) -> None:
        if request.path == "/first":
            say_path(http2, request)
        silent.set()

    with http2_site(clear, serving(handle)) as site:
        client.get(site.url("/first"))
        token = CancelToken()
        start = SharedHttp2Stream.start

        def cancelled_start(stream: SharedHttp2Stream, *arguments: object, **options: object) -> None:
            token.cancel()
            start(stream, *arguments, **options)  # type: ignore[arg-type]  # as they came

        monkeypatch.setattr(SharedHttp2Stream, "start", cancelled_start)
        began = time.monotonic()
        with pytest.raises(Cancelled):
            client.get(site.url("/silent"), cancel=token)
        assert time.monotonic() - began < 5


def test_close_wakes_every_thread(client: Client, clear: Wire) -> None:
    asked = threading.Semaphore(0)

    def handle(http2: Http2Peer, request: Request) -> None:
        asked.release()

    with http2_site(clear, serving(handle)) as site:
        threads = [InThread(lambda: client.get(site.url("/silent"))) for _ in range(10)]
        for _ in threads:
            assert asked.acquire(timeout=20)
        client.close()
        for thread in threads:
            assert isinstance(thread.outcome(), ClientClosed)
        assert client.pool.stats().open == 0


def test_cancel_of_one_leaves_the_others_alone(client: Client, clear: Wire) -> None:
    held: list[Request] = []
    asked = threading.Semaphore(0)

    def handle(http2: Http2Peer, request: Request) -> None:
        if request.path == "/go":
            for each in held:
                if each.stream_id not in http2.resets:
                    say_path(http2, each)
            say_path(http2, request)
        else:
            held.append(request)
            asked.release()

    with http2_site(clear, serving(handle)) as site:
        tokens = [CancelToken() for _ in range(6)]
        threads = [
            InThread(lambda index=index: client.get(site.url(f"/{index}"), cancel=tokens[index]))  # type: ignore[misc]
            for index in range(6)
        ]
        for _ in threads:
            assert asked.acquire(timeout=20)
        for index in (0, 2, 4):
            tokens[index].cancel()
            assert isinstance(threads[index].outcome(), Cancelled)
        client.get(site.url("/go"))
        for index in (1, 3, 5):
            assert threads[index].outcome().content == f"/{index}".encode()
        assert len(site.connections[0].resets) == 3
        assert_idle(client)


def test_read_timeout_of_one_leaves_the_others_alone(client: Client, clear: Wire) -> None:
    held: list[Request] = []

    def handle(http2: Http2Peer, request: Request) -> None:
        if request.path == "/go":
            for each in held:
                say_path(http2, each)
            say_path(http2, request)
        elif request.path == "/held":
            held.append(request)

    with http2_site(clear, serving(handle)) as site:
        kept = InThread(lambda: client.get(site.url("/held")))
        while not held:
            time.sleep(0)
        with pytest.raises(ReadTimeout):
            client.get(site.url("/silent"), timeout=Timeouts(read_s=0.1))
        client.get(site.url("/go"))
        assert kept.outcome().content == b"/held"
        assert_idle(client)


# Many threads


@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("kind", ["clear", "ssl"])
def test_forty_threads_share_a_connection_and_every_answer_is_the_right_one(clear: Wire, kind: str, seed: int) -> None:
    wire = Wire(kind, clear.pki)
    duration_s = short_or_long(2, 60)
    wrong: list[str] = []
    counts = {"answers": 0, "cancelled": 0}

    def handle(http2: Http2Peer, request: Request) -> None:
        label = request.path.encode()
        size = int(request.path.rsplit("/", 1)[1])
        http2.answer(request, (label * (size // len(label) + 1))[:size] + bytes(request.body), length=size % 2 == 0)

    def work(client: Client, index: int, seed: int) -> None:
        random = Random(seed)
        count = 0
        end = time.monotonic() + duration_s
        while time.monotonic() < end and not wrong:
            count += 1
            size = random.choice((0, 10, 100, 1000, 20_000, 100_000))
            url = site.url(f"/{index}/{count}/{size}")
            label = f"/{index}/{count}/{size}".encode()
            body = random.randbytes(random.choice((0, 0, 0, 5, 3000)))
            expected = (label * (size // len(label) + 1))[:size] + body
            token = CancelToken() if random.random() < 0.2 else None
            timer = None
            try:
                if token is not None:
                    timer = threading.Timer(random.random() * 0.01, token.cancel)
                    timer.start()
                answer = client.request("POST" if body else "GET", url, content=body or None, cancel=token)
                if answer.content != expected:
                    wrong.append(f"{url}: {answer.content[:40]!r} of {len(answer.content)} bytes")
                counts["answers"] += 1
            except Cancelled:
                counts["cancelled"] += 1
            except TurbosockError as error:
                wrong.append(f"{url}: {error!r}")
            finally:
                if timer is not None:
                    timer.cancel()
                    timer.join()

    with http2_site(wire, serving(handle)) as site, face("stream", pool=ONE, **wire.options) as user:
        client = user.owner
        assert isinstance(client, Client)
        threads = [
            InThread(lambda index=index: work(client, index, seed * THREADS + index))  # type: ignore[misc]
            for index in range(THREADS)
        ]
        deadline = time.monotonic() + duration_s + 30
        for thread in threads:
            thread._thread.join(max(0.0, deadline - time.monotonic()))
            assert thread.outcome() is None
        assert not wrong
        assert counts["answers"] > THREADS
        assert_idle(client, client.pool.stats().open)
