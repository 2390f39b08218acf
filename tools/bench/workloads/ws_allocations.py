"""What a WebSocket's messages allocate, at both ends, in the steady state.

"blocking" is a client on a thread, against the server of `ws_echo`, which takes messages by `recv()`, as bytes of its
own, or by `recv_view()`. The others are ends in a Loop, with a bare socket as their peer in the same thread, which
allocates nothing to speak of; one message in each turn, or many. An echo is two messages, one received and one sent;
`MESSAGES` says how many a run's step has.
"""

from __future__ import annotations

import itertools
import socket
from typing import Any

from raw_websocket import masked_frame, open_as_server, plain_frame
from task import Contestant, Run, Task
from workloads.ws_echo import SIZES, turbosock_blocking, turbosock_view, websocket_client, websockets_sync

MANY = 50


def server(size: int, count: int) -> Run:
    """A listener of a Loop, which sends everything back."""
    import turbosock

    loop = turbosock.Loop()
    listener = loop.listen(("127.0.0.1", 0), protocol="websocket", ping_interval_s=None)
    peer = socket.create_connection(listener.address)
    peer.sendall(_REQUEST)
    while not listener.connections:
        loop.poll(1.0)
    peer.recv(65536)
    return echoing(loop, peer, masked_frame(b"x" * size) * count, len(plain_frame(b"x" * size)) * count)


def client(size: int, count: int) -> Run:
    """A WebSocket that a Loop has opened, which sends everything back."""
    import turbosock

    loop = turbosock.Loop(turbosock.Config(trust_env=False))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = loop.websocket(f"ws://127.0.0.1:{listener.getsockname()[1]}/", ping_interval_s=None)
        listener.setblocking(False)
        peer = None
        while not made.open:
            loop.poll(0.01)
            if peer is None:
                try:
                    peer, _ = listener.accept()
                except BlockingIOError:
                    continue
                # The request waits, or comes in the next turns.
                loop.poll(0.01)
                loop.poll(0.01)
                peer.setblocking(True)
                open_as_server(peer)
        assert peer is not None
    return echoing(loop, peer, plain_frame(b"x" * size) * count, len(masked_frame(b"x" * size)) * count)


def echoing(loop: Any, peer: socket.socket, frames: bytes, back: int) -> Run:
    """A run whose step is a turn of `loop`."""
    import turbosock

    kind = turbosock.EventKind.MESSAGE
    buffer = bytearray(back)
    view = memoryview(buffer)
    send, receive = peer.sendall, peer.recv_into
    poll, events, flush = loop.poll, loop.events, loop.flush
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(count: int) -> None:
        for _ in itertools.repeat(None, count):
            send(frames)
            there = 0
            while there < back:
                poll()
                for event in events:
                    if event.kind is kind:
                        event.connection.send(event.data)
                flush()
                there = receive(buffer) if not there else there + receive(view[there:])

    return run


_REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def empty(task: Task) -> Run:
    """The loop of the harness, and nothing in it."""

    def run(count: int) -> None:
        for _ in itertools.repeat(None, count):
            pass

    return run


def one_more(name: str, size: int) -> dict[str, Contestant]:
    """The contestants of one size."""
    return {
        f"blocking, {name}": lambda task: turbosock_blocking(task, size),
        f"blocking, a view, {name}": lambda task: turbosock_view(task, size),
        f"server, {name}": lambda task: server(size, 1),
        f"client, {name}": lambda task: client(size, 1),
        f"websockets, {name}": lambda task: websockets_sync(task, size),
        f"websocket-client, {name}": lambda task: websocket_client(task, size),
    }


CONTESTANTS: dict[str, Contestant] = {
    "empty": empty,
    **{name: make for words, size in SIZES.items() if size < 65536 for name, make in one_more(words, size).items()},
    f"server, 32 B, {MANY} a turn": lambda task: server(32, MANY),
    f"client, 32 B, {MANY} a turn": lambda task: client(32, MANY),
}
MESSAGES = {name: 2 * MANY if name.endswith("a turn") else 2 for name in CONTESTANTS}
