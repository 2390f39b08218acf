"""A thousand WebSockets whose small messages come to one server, which is what is measured: see crowd.py.

The contestants are servers. Each takes every message as bytes, and counts it. "60 Hz" is a Loop that polls once a tick,
as a game does; the others work whenever something comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crowd import COMMAND_BYTES, ROUND_IS_THERE
from crowd_server import CrowdProcess, Tally, allow_descriptors
from task import Task

if TYPE_CHECKING:
    import picows
    import websockets.asyncio.server

RATE = 30
TICK_HZ = 60
BACKLOG = 1024


def report(task: Task) -> dict[str, Any]:
    """Messages, seconds and processor seconds of each phase; `in_flight` connections."""
    allow_descriptors(task.in_flight)
    tally = Tally()
    crowds: list[CrowdProcess] = []

    def begin(port: int) -> None:
        crowds.append(CrowdProcess(task.core, port, "fanin", task.in_flight, RATE, task.seconds))

    try:
        SERVERS[task.contestant](tally, begin, task.in_flight)
        return tally.report(crowds[0].end())
    except BaseException:
        for crowd in crowds:
            crowd.kill()
        raise


Serve = Callable[[Tally, Callable[[int], None], int], None]


def turbosock_as_they_come(tally: Tally, begin: Callable[[int], None], connections: int) -> None:
    """poll() that waits for the next message"""
    serve_loop(tally, begin, connections, None)


def turbosock_ticking(tally: Tally, begin: Callable[[int], None], connections: int) -> None:
    """poll() once a tick while the crowd is paced"""
    serve_loop(tally, begin, connections, TICK_HZ)


def serve_loop(tally: Tally, begin: Callable[[int], None], connections: int, tick_hz: int | None) -> None:
    import time

    import turbosock

    with turbosock.Loop() as loop:
        listener = loop.listen(
            ("127.0.0.1", 0), protocol="websocket", max_connections=connections + 10, backlog=BACKLOG
        )
        begin(listener.address[1])
        kind = turbosock.EventKind.MESSAGE
        period_s = 1 / tick_hz if tick_hz else 0.0
        due_s = time.monotonic()
        poll, events = loop.poll, loop.events
        while not tally.over:
            if tick_hz and tally.phase == "paced":
                due_s += period_s
                left_s = due_s - time.monotonic()
                if left_s > 0:
                    time.sleep(left_s)
                else:
                    due_s -= left_s
                poll()
            else:
                poll(1.0)
            for event in events:
                if event.kind is kind:
                    if len(event.data) == COMMAND_BYTES:
                        tally.obey(event.data)
                        commander = event.connection
                    else:
                        tally.count += 1
                        if not tally.count % connections:
                            commander.send(ROUND_IS_THERE)


def websockets_uvloop(tally: Tally, begin: Callable[[int], None], connections: int) -> None:
    """websockets.asyncio.server.serve() in uvloop"""
    import uvloop
    import websockets.asyncio.server

    async def serve() -> None:
        over = asyncio.Event()
        commander: Any = None

        async def handle(socket: websockets.asyncio.server.ServerConnection) -> None:
            nonlocal commander
            async for message in socket:
                if len(message) == COMMAND_BYTES:
                    tally.obey(message)
                    commander = socket
                    if tally.over:
                        over.set()
                else:
                    tally.count += 1
                    if not tally.count % connections:
                        await commander.send(ROUND_IS_THERE)

        server = await websockets.asyncio.server.serve(
            handle, "127.0.0.1", 0, compression=None, ping_interval=None, backlog=BACKLOG
        )
        begin(next(iter(server.sockets)).getsockname()[1])
        await over.wait()

    uvloop.new_event_loop().run_until_complete(serve())


def picows_uvloop(tally: Tally, begin: Callable[[int], None], connections: int) -> None:
    """picows.ws_create_server() in uvloop"""
    import picows
    import uvloop

    loop = uvloop.new_event_loop()
    commander: Any = None

    async def serve() -> None:
        over = asyncio.Event()

        class Counter(picows.WSListener):  # type: ignore[misc]  # it has no types where it is not installed
            def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
                nonlocal commander
                if frame.msg_type != picows.WSMsgType.BINARY:
                    return
                message = frame.get_payload_as_bytes()
                if len(message) == COMMAND_BYTES:
                    tally.obey(message)
                    commander = transport
                    if tally.over:
                        over.set()
                else:
                    tally.count += 1
                    if not tally.count % connections:
                        commander.send(picows.WSMsgType.BINARY, ROUND_IS_THERE)

        server = await picows.ws_create_server(lambda request: Counter(), "127.0.0.1", 0, backlog=BACKLOG)
        begin(server.sockets[0].getsockname()[1])
        await over.wait()

    loop.run_until_complete(serve())


SERVERS: dict[str, Serve] = {
    "turbosock, 60 Hz": turbosock_ticking,
    "turbosock": turbosock_as_they_come,
    "websockets+uvloop": websockets_uvloop,
    "picows+uvloop": picows_uvloop,
}
REPORTS = dict.fromkeys(SERVERS, report)
CONTESTANTS = SERVERS
