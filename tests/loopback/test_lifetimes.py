"""How long things live: lent views, dropped responses, sockets after a fork, memory with diagnostics on."""

from __future__ import annotations

import gc
import os
import struct
import traceback

import pytest

from support import peers
from support.clients import MakeClient
from support.scripted_server import answer, await_close, close, read_request, scripted, send, stall
from turbosock import Client
from turbosock.connection.http1 import Http1Connection
from turbosock.errors import LeaseError, ReadError, TurbosockError

BEGUN = send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")


def drop(client: Client, url: str) -> None:
    """Take a stream and forget it."""
    client.stream("GET", url)
    gc.collect()


def test_stream_dropped_unread_is_told_and_its_place_freed(client: Client) -> None:
    with scripted([read_request, BEGUN, stall], [read_request, answer(b"good"), await_close]) as server:
        with pytest.warns(ResourceWarning, match="dropped without close"):
            drop(client, server.url("/path?key=hunter2"))
        assert client.stats()[:3] == (0, 0, 0)
        assert client.get(server.url()).content == b"good"


def test_stream_dropped_unread_is_told_with_its_line_where_diagnostics_are_on(make_client: MakeClient) -> None:
    client = make_client(diagnostics=True)
    with scripted([read_request, BEGUN, stall]) as server:
        with pytest.warns(ResourceWarning, match="test_lifetimes.py"):
            drop(client, server.url())
        assert client.stats()[:3] == (0, 0, 0)


# With diagnostics the pool of the memory says it, too.
@pytest.mark.filterwarnings("ignore:.* is still alive after their return:ResourceWarning")
@pytest.mark.parametrize("path", ["/100", "/big"])
def test_view_that_something_still_looks_at_is_told_when_the_response_closes(
    client: Client, nginx: peers.Peer, path: str
) -> None:
    response = client.stream("GET", nginx.url(path))
    # An iterator of structures exports the view's own memory, as an array of numpy's would.
    looking = struct.iter_unpack("B", response.view())
    with pytest.raises(LeaseError, match="view"):
        response.close()
    assert next(looking) is not None
    response.close()
    assert client.get(nginx.url("/100")).content == peers.SMALL_BODY


@pytest.mark.parametrize("path", ["/100", "/chunked", "/big", "/empty"])
def test_bodies_with_diagnostics_are_the_same_bodies(make_client: MakeClient, nginx: peers.Peer, path: str) -> None:
    plain = make_client().get(nginx.url(path)).content
    client = make_client(diagnostics=True)
    for _ in range(3):
        assert client.get(nginx.url(path)).content == plain
        with client.stream("GET", nginx.url(path)) as response:
            assert response.view() == plain
        with client.stream("GET", nginx.url(path)) as response:
            assert b"".join(response.iter_bytes()) == plain
    assert client.buffers.stats().outstanding == 0
    assert client.stats()[:3] == (1, 1, 0)


def test_content_outlives_the_ring_that_it_came_in(make_client: MakeClient, nginx: peers.Peer) -> None:
    client = make_client(diagnostics=True)
    kept = [client.get(nginx.url("/100")) for _ in range(3)]
    for _ in range(5):
        client.get(nginx.url("/missing"))
    for response in kept:
        assert response.content == peers.SMALL_BODY
        assert response.headers["content-length"] == "100"
        assert response.status_code == 200


def test_view_that_fails_half_way_gives_its_memory_back(client: Client) -> None:
    announced = send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 1000)
    with scripted([read_request, announced]) as server:
        with client.stream("GET", server.url()) as response, pytest.raises(Exception, match="inside a body"):
            response.view()
        assert client.buffers.stats().outstanding == 0
        assert client.stats()[:3] == (0, 0, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_child_of_a_fork_uses_connections_of_its_own(client: Client, nginx: peers.Peer) -> None:
    url = nginx.url("/reflect?who=parent")
    expected = client.get(url).content
    assert client.stats()[:3] == (1, 1, 0)
    with client.stream("GET", nginx.url("/big")) as response:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert client.stats()[:3] == (0, 0, 0)
                for _ in range(20):
                    assert client.get(nginx.url("/reflect?who=child")).text.startswith("GET /reflect?who=child ")
                assert client.stats()[:3] == (1, 1, 0)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        for _ in range(20):
            assert client.get(url).content == expected
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        # What was under way in the parent goes on there, untouched.
        assert b"".join(response.iter_bytes()) == peers.big_body(3_000_000)


def test_stream_that_failed_is_let_go_with_its_error_and_not_used_again(client: Client) -> None:
    with scripted(*[[read_request, BEGUN, close] for _ in range(3)]) as server:
        for _ in range(3):
            with client.stream("GET", server.url()) as response:
                assert response.readinto(bytearray(100)) == 5
                with pytest.raises(TurbosockError):
                    response.readinto(bytearray(100))
            del response
    gc.collect()
    # Kept, each would hold the frames of its error, and 256 of them would pile up.
    assert client.stats().responses.idle == 0


def test_stream_whose_read_was_interrupted_does_not_look_ended(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(connection: Http1Connection, view: memoryview) -> int:
        raise KeyboardInterrupt

    with scripted([read_request, BEGUN, stall]) as server, client.stream("GET", server.url()) as response:
        assert response.readinto(bytearray(5)) == 5
        with monkeypatch.context() as patch:
            patch.setattr(Http1Connection, "read_body", interrupted)
            with pytest.raises(KeyboardInterrupt):
                response.readinto(bytearray(5))
        for _ in range(2):
            with pytest.raises(ReadError, match="broken off by KeyboardInterrupt"):
                response.readinto(bytearray(5))
    assert client.stats()[:3] == (0, 0, 0)
