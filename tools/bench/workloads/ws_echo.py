"""One message after the other on one WebSocket, each sent back by the same server (see echo_server.py).

All of them send binary messages as bytes and get them as bytes. picows has no blocking client: it runs in uvloop, each
message sent by the callback that is given the one before. "no numpy" masks without our extra for large messages.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import libraries
from raw_websocket import masked_frame, open_as_client, plain_frame
from task import Contestant, Run, Task, repeated

if TYPE_CHECKING:
    import picows

SIZES = {"32 B": 32, "1 KiB": 1024, "64 KiB": 65536}

Sized = Callable[[Task, int], Run]


def url_of(task: Task) -> str:
    return f"ws://{task.host}:{task.port}/"


def empty(task: Task, size: int) -> Run:
    """The loop of the harness around a call that does nothing."""

    def step() -> int:
        return size

    return repeated(step, size)


def bare(task: Task, size: int) -> Run:
    """A frame that was made before, and as many bytes as its answer has: the floor."""
    connection = libraries.bare_socket(task)
    open_as_client(connection, task.port)
    frame = masked_frame(b"x" * size)
    back = len(plain_frame(b"x" * size))
    buffer = memoryview(bytearray(256 * 1024))
    send, receive_into = connection.sendall, connection.recv_into

    def step() -> int:
        send(frame)
        count = receive_into(buffer)
        while count < back:
            count += receive_into(buffer)
        return size + count - back

    return repeated(step, size)


def turbosock_blocking(task: Task, size: int) -> Run:
    """client.websocket(): send() and recv()"""
    import turbosock

    client = turbosock.Client(turbosock.Config(trust_env=False))
    socket = client.websocket(url_of(task))
    send, receive, message = socket.send, socket.recv, b"x" * size

    def step() -> int:
        send(message)
        return len(receive())

    # The client is kept, and its WebSocket with it.
    step.client = client  # type: ignore[attr-defined]  # only to hold it
    return repeated(step, size)


def turbosock_no_numpy(task: Task, size: int) -> Run:
    """As above, where numpy is not installed."""
    sys.modules["numpy"] = None  # type: ignore[assignment]  # what the import system takes for a missing module
    return turbosock_blocking(task, size)


def turbosock_view(task: Task, size: int) -> Run:
    """send() and recv_view()"""
    import turbosock

    client = turbosock.Client(turbosock.Config(trust_env=False))
    socket = client.websocket(url_of(task))
    send, receive, message = socket.send, socket.recv_view, b"x" * size

    def step() -> int:
        send(message)
        return len(receive())

    step.client = client  # type: ignore[attr-defined]  # as above
    return repeated(step, size)


def turbosock_ticking(task: Task, size: int) -> Run:
    """loop.websocket(), with a poll() that waits"""
    import turbosock

    loop = turbosock.Loop(turbosock.Config(trust_env=False))
    socket = loop.websocket(url_of(task))
    message, kind = b"x" * size, turbosock.EventKind.MESSAGE
    while not socket.open:
        loop.poll(1.0)
    poll, events = loop.poll, loop.events

    def step() -> int:
        socket.send(message)
        while True:
            poll(1.0)
            for event in events:
                if event.kind is kind:
                    return len(event.data)

    return repeated(step, size)


def websockets_sync(task: Task, size: int) -> Run:
    """websockets.sync.client.connect()"""
    import websockets.sync.client

    socket = websockets.sync.client.connect(
        url_of(task), compression=None, max_size=None, ping_interval=None, proxy=None
    )
    send, receive, message = socket.send, socket.recv, b"x" * size

    def step() -> int:
        send(message)
        return len(receive())

    return repeated(step, size)


def websocket_client(task: Task, size: int) -> Run:
    """websocket.create_connection()"""
    import websocket

    socket: Any = websocket.create_connection(url_of(task), http_no_proxy=["*"])
    send, receive, message = socket.send_binary, socket.recv, b"x" * size

    def step() -> int:
        send(message)
        return len(receive())

    return repeated(step, size)


def picows_client(task: Task, size: int) -> Run:
    """picows.ws_connect() in uvloop"""
    import picows
    import uvloop

    loop = uvloop.new_event_loop()
    message = b"x" * size

    class Echo(picows.WSListener):  # type: ignore[misc]  # it has no types where it is not installed
        def __init__(self) -> None:
            super().__init__()
            self.left = 0
            self.done: asyncio.Future[None] = loop.create_future()

        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if len(frame.get_payload_as_bytes()) != size:
                raise RuntimeError("another message came than was sent")
            self.left -= 1
            if self.left:
                transport.send(picows.WSMsgType.BINARY, message)
            else:
                self.done.set_result(None)

    async def connect() -> tuple[picows.WSTransport, Echo]:
        transport, listener = await picows.ws_connect(Echo, url_of(task))
        return transport, listener

    transport, listener = loop.run_until_complete(connect())

    async def echo(count: int) -> None:
        listener.left = count
        listener.done = loop.create_future()
        transport.send(picows.WSMsgType.BINARY, message)
        await listener.done

    def run(count: int) -> None:
        loop.run_until_complete(echo(count))

    run(1)
    return run


PEERS: dict[str, Sized] = {
    "bare": bare,
    "turbosock": turbosock_blocking,
    "turbosock, no numpy": turbosock_no_numpy,
    "turbosock view": turbosock_view,
    "turbosock loop": turbosock_ticking,
    "websockets": websockets_sync,
    "websocket-client": websocket_client,
    "picows+uvloop": picows_client,
}


def sized(peer: Sized, size: int) -> Contestant:
    return lambda task: peer(task, size)


CONTESTANTS: dict[str, Contestant] = {
    f"{name}, {words}": sized(peer, size)
    for name, peer in (PEERS | {"empty": empty}).items()
    for words, size in SIZES.items()
    for name, peer in (PEERS | {"empty": empty}).items()
    for words, size in SIZES.items()
}
