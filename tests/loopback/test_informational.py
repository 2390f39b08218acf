"""Answers before the final one (1xx), told to a callback on both faces."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.clients import MakeClient
from support.loop_peer import MODE_NAMES, MODES, Peer, connect, make_config, turns
from support.scripted_server import answer, await_close, read_head, read_request, scripted, send, send_bytewise
from turbosock import Client, Loop
from turbosock.errors import Cancelled, InvalidOption, ProtocolError
from turbosock.protocol.http1.headers import HeaderList

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
FINAL = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Notes:
    """A callback that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str | None]] = []

    def __call__(self, status_code: int, headers: HeaderList) -> None:
        self.told.append((status_code, headers.get("link")))


HINTED = (103, "</style.css>; rel=preload")


@pytest.mark.parametrize("step", [send, send_bytewise])
def test_client_tells_of_each_and_only_of_this_request(client: Client, step: type) -> None:
    notes = Notes()
    served = step(HINTS + b"HTTP/1.1 102 Processing\r\n\r\n" + FINAL)
    with scripted([read_request, served, read_request, served, read_request, served, await_close]) as server:
        assert client.get(server.url()).content == b"ok"
        assert client.get(server.url(), on_informational=notes).content == b"ok"
        assert notes.told == [HINTED, (102, None)]
        assert client.get(server.url()).content == b"ok"
        assert len(notes.told) == 2
        assert server.accepted == 1


def test_callback_is_of_its_request_also_where_no_interim_answer_came(client: Client) -> None:
    notes = Notes()
    script = [read_request, send(FINAL)] * 2 + [read_request, send(HINTS + FINAL), await_close]
    with scripted(script) as server:
        client.get(server.url())
        client.get(server.url(), on_informational=notes)
        client.get(server.url())
        assert notes.told == []
        assert server.accepted == 1


def test_client_tells_of_a_100_and_sends_its_body(client: Client) -> None:
    notes = Notes()
    with scripted([read_head, send(CONTINUE), read_request, answer(b"took it"), await_close]) as server:
        # The script reads the body as a request of its own: it ends like one.
        response = client.stream(
            "POST",
            server.url(),
            content=b"a\r\n\r\n",
            headers={"Expect": "100-continue"},
            on_informational=notes,
        )
        with response:
            assert response.read() == b"took it"
    assert notes.told == [(100, None)]


def test_what_the_callback_raises_ends_the_exchange(client: Client) -> None:
    def refuse(status_code: int, headers: HeaderList) -> None:
        raise KeyError("mine")

    with scripted([read_request, send(HINTS + FINAL), await_close]) as server:
        with pytest.raises(KeyError, match="mine"):
            client.get(server.url(), on_informational=refuse)
        assert client.stats()[:3] == (0, 0, 0)


def test_endless_interim_answers_are_bounded_and_all_told(client: Client) -> None:
    notes = Notes()
    with scripted([read_request, send(HINTS * 40), await_close]) as server, pytest.raises(ProtocolError):
        client.get(server.url(), on_informational=notes)
    assert len(notes.told) == 16


def test_what_cannot_be_called_is_refused(make_client: MakeClient) -> None:
    with pytest.raises(InvalidOption, match="on_informational"):
        make_client().get("http://127.0.0.1:1/", on_informational=5)  # type: ignore[arg-type]  # that is the point


# The ticking face


@pytest.fixture(params=MODES, ids=MODE_NAMES)
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    with Loop(make_config(*request.param)) as loop:
        yield loop


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


def test_loop_tells_of_each_and_only_of_this_request(loop: Loop, peer: Peer) -> None:
    notes = Notes()
    exchange = loop.get(peer.url, on_informational=notes)
    connection = connect(loop, peer)
    connection.read_head()
    connection.send(HINTS)
    turns(loop, lambda: notes.told)
    assert not exchange.done
    connection.send(HINTS + FINAL)
    turns(loop, lambda: exchange.done)
    assert exchange.content == b"ok" and notes.told == [HINTED, HINTED]
    later = loop.get(peer.url)
    turns(loop, lambda: loop.stats().idle == 0)
    connection.send(HINTS + FINAL)
    turns(loop, lambda: later.done)
    assert later.ok and len(notes.told) == 2


def test_what_the_callback_raises_comes_out_of_poll_and_ends_the_exchange(loop: Loop, peer: Peer) -> None:
    def refuse(status_code: int, headers: HeaderList) -> None:
        raise KeyError("mine")

    exchange = loop.get(peer.url, on_informational=refuse)
    connect(loop, peer).send(HINTS + FINAL)
    with pytest.raises(KeyError, match="mine"):
        turns(loop, lambda: False)
    assert exchange.done and exchange.error is not None
    assert loop.stats().open == 0


def test_callback_may_cancel_its_exchange(loop: Loop, peer: Peer) -> None:
    exchange = loop.get(peer.url, on_informational=lambda status_code, headers: exchange.cancel())
    connect(loop, peer).send(HINTS + FINAL)
    turns(loop, lambda: exchange.done)
    assert isinstance(exchange.error, Cancelled)
    assert loop.stats().open == 0


def test_callback_may_close_the_loop(loop: Loop, peer: Peer) -> None:
    exchange = loop.get(peer.url, on_informational=lambda status_code, headers: loop.close())
    connect(loop, peer).send(HINTS + FINAL)
    turns(loop, lambda: exchange.done)
    assert loop.closed
