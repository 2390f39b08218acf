"""WebSockets of a Client against servers that others wrote: the libraries websockets and wsproto."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from support.in_thread import InThread
from support.seeds import seeds
from support.websocket_stage import TIMEOUTS
from turbosock import Client, Config, DeflateOptions, StatusError, TransportMode, WebSocketClosed

OPTIONS = [
    False,
    True,
    DeflateOptions(server_no_context_takeover=True, client_no_context_takeover=True),
    DeflateOptions(server_max_window_bits=9, client_max_window_bits=9, min_bytes=0),
    DeflateOptions(server_max_window_bits=15, client_max_window_bits=15, level=9, memory_level=9),
]


@pytest.fixture(params=list(TransportMode), ids=lambda mode: mode.value)
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    with Client(Config(transport=request.param, timeouts=TIMEOUTS)) as made:
        yield made


@contextlib.contextmanager
def websockets_server(**options: Any) -> Iterator[str]:
    """An echo server of websockets; it closes with 4000 when told to."""
    server_module = pytest.importorskip("websockets.sync.server")

    def echo(peer: Any) -> None:
        for message in peer:
            if message == "close":
                peer.close(4000, "as you wish")
            elif message == "ping":
                peer.ping().wait(5)
                peer.send("pong came")
            else:
                # An iterable is sent in fragments.
                peer.send([message[:1], message[1:]] if len(message) % 2 else message)

    with server_module.serve(echo, "127.0.0.1", 0, max_size=None, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def wsproto_server(*, deflate: bool) -> Iterator[str]:
    """An echo server on wsproto, one connection at a time."""
    wsproto = pytest.importorskip("wsproto")
    events = pytest.importorskip("wsproto.events")
    extensions = pytest.importorskip("wsproto.extensions")

    def play(connection: socket.socket) -> None:
        ws = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        while data := connection.recv(65536):
            ws.receive_data(data)
            for event in ws.events():
                if isinstance(event, events.Request):
                    offered = [extensions.PerMessageDeflate()] if deflate else []
                    connection.sendall(ws.send(events.AcceptConnection(extensions=offered)))
                elif isinstance(event, events.Message):
                    out = type(event)(data=event.data, message_finished=event.message_finished)
                    connection.sendall(ws.send(out))
                elif isinstance(event, (events.Ping, events.CloseConnection)):
                    connection.sendall(ws.send(event.response()))
                    if isinstance(event, events.CloseConnection):
                        return

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    play(connection)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        serving = InThread(lambda: serve(listener))
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)
        assert serving.outcome() is None


def messages(rng: random.Random) -> Iterator[bytes | str]:
    """Messages of all kinds and sizes."""
    for _ in range(60):
        size = rng.choice((0, 1, 7, 125, 126, 127, 1000, 4081, 4082, 65_000, 65_535, 65_536, 200_000))
        if rng.random() < 0.5:
            yield rng.randbytes(size) if rng.random() < 0.5 else bytes([rng.randrange(256)]) * size
        else:
            yield "".join(rng.choices("aé€𝄞 ", k=size // 3))


def play(client: Client, url: str, deflate: Any, seed: int) -> None:
    """Send messages and have them back, several on their way at a time."""
    rng = random.Random(seed)
    expected: list[bytes | str] = []
    with client.websocket(url, deflate=deflate, max_message=1 << 24) as ws:
        for message in messages(rng):
            ws.send(message)
            expected.append(message)
            while len(expected) > 3 or (expected and rng.random() < 0.5):
                assert ws.recv(timeout=5) == expected.pop(0)
            if rng.random() < 0.1:
                assert ws.ping(timeout=5) > 0
        while expected:
            assert ws.recv(timeout=5) == expected.pop(0)
    assert ws.close_code == 1000


@pytest.mark.parametrize("deflate", OPTIONS, ids=["plain", "default", "no takeover", "small", "large"])
@pytest.mark.parametrize("seed", seeds(2))
def test_messages_to_and_from_websockets(client: Client, deflate: Any, seed: int) -> None:
    with websockets_server() as url:
        play(client, url, deflate, seed)


@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("seed", seeds(2))
def test_messages_to_and_from_wsproto(client: Client, deflate: bool, seed: int) -> None:
    with wsproto_server(deflate=deflate) as url:
        play(client, url, deflate, seed)


def test_ping_close_and_subprotocol_of_websockets(client: Client) -> None:
    with websockets_server(subprotocols=["b", "a"]) as url:
        with client.websocket(url, subprotocols=["a", "b"]) as ws:
            assert ws.subprotocol == "b"
            ws.send("ping")
            assert ws.recv(timeout=5) == "pong came"
            ws.send("close")
            with pytest.raises(WebSocketClosed) as caught:
                ws.recv(timeout=5)
        assert (caught.value.close_code, caught.value.close_reason) == (4000, "as you wish")
        with pytest.raises(StatusError) as refused:
            client.websocket(url)
        assert refused.value.status_code == 400
