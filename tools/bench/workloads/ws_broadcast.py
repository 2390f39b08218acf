"""1 KiB to a thousand WebSockets in each tick of 60 a second: how long a tick takes, until the system has all of it.

The contestants are servers of an audience that reads whatever comes (see crowd.py). A Loop's tick is poll(),
broadcast() and flush(). Of the others, which send by themselves, it is the call that broadcasts, and what their event
loop does behind it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crowd import COMMAND_BYTES
from crowd_server import CrowdProcess, allow_descriptors
from task import Task

if TYPE_CHECKING:
    import picows
    import websockets.asyncio.server

TICK_HZ = 60
MESSAGE = b"x" * 1024
FRAME_BYTES = len(MESSAGE) + 4
WARM_UP = 10
BACKLOG = 1024

Begin = Callable[[int], None]
# By the clock, and in processor time.
Taken = tuple[float, float]
# Serves an audience for so many ticks; returns how long each took, and messages that had no room.
Serve = Callable[[Begin, int, int], tuple[list[Taken], int]]


def report(task: Task) -> dict[str, Any]:
    """Percentiles of the ticks in seconds, and whether everything arrived; `in_flight` connections."""
    allow_descriptors(task.in_flight)
    crowds: list[CrowdProcess] = []

    def begin(port: int) -> None:
        crowds.append(CrowdProcess(task.core, port, "audience", task.in_flight))

    ticks = WARM_UP + max(20, int(task.seconds * TICK_HZ))
    start_s = time.process_time()
    try:
        times, full = SERVERS[task.contestant](begin, task.in_flight, ticks)
        cpu_s = time.process_time() - start_s
        told = crowds[0].end()
    except BaseException:
        for crowd in crowds:
            crowd.kill()
        raise
    sent = (ticks * task.in_flight - full) * FRAME_BYTES
    if told["bytes"] < sent:
        raise RuntimeError(f"{told['bytes']} bytes came, not {sent}")
    answer: dict[str, Any] = {"full": full, "cpu_s": cpu_s / ticks}
    for prefix, each in zip(("", "cpu_"), zip(*times[WARM_UP:], strict=True), strict=True):
        ordered = sorted(each)
        for name, share in SHARES.items():
            answer[prefix + name] = ordered[min(len(ordered) - 1, int(len(ordered) * share))]
    return answer


SHARES = {"p50": 0.5, "p99": 0.99, "longest": 1.0}


def turbosock_loop(begin: Begin, connections: int, ticks: int) -> tuple[list[Taken], int]:
    """loop.broadcast()"""
    import turbosock

    times = []
    full = 0
    with turbosock.Loop() as loop:
        listener = loop.listen(
            ("127.0.0.1", 0), protocol="websocket", max_connections=connections + 10, backlog=BACKLOG
        )
        begin(listener.address[1])
        players: list[turbosock.MessageConnection] = []
        commander = None
        while commander is None:
            loop.poll(1.0)
            for event in loop.events:
                if event.data is not None and len(event.data) == COMMAND_BYTES:
                    commander = event.connection
                elif event.kind is turbosock.EventKind.OPEN:
                    players.append(event.connection)  # type: ignore[arg-type]  # an event's connection is its listener's
        players.remove(commander)  # type: ignore[arg-type]  # as above
        clock = turbosock.TickClock(TICK_HZ)
        for _ in range(ticks):
            time.sleep(clock.remaining_s())
            clock.due()
            start_s, start_cpu_s = time.perf_counter(), time.process_time()
            loop.poll()
            for _ in loop.events:
                pass
            full += loop.broadcast(players, MESSAGE).full
            loop.flush()
            times.append((time.perf_counter() - start_s, time.process_time() - start_cpu_s))
        while any(player.unsent for player in players):
            loop.poll(0.1)
            for _ in loop.events:
                pass
        # Nobody in the audience would answer a Close.
        for player in players:
            player.abort()
    return times, full


async def ticks_of(send_all: Callable[[], object], ticks: int) -> list[Taken]:
    """How long each tick took of who broadcasts by a call."""
    times = []
    begun_s = time.monotonic()
    for number in range(ticks):
        await asyncio.sleep(max(0.0, begun_s + number / TICK_HZ - time.monotonic()))
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        send_all()
        # The event loop writes at the end of its round.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        times.append((time.perf_counter() - start_s, time.process_time() - start_cpu_s))
    return times


def websockets_uvloop(begin: Begin, connections: int, ticks: int) -> tuple[list[Taken], int]:
    """websockets.asyncio.server.broadcast() in uvloop"""
    import uvloop
    import websockets.asyncio.server

    players: set[Any] = set()

    async def serve() -> list[Taken]:
        ready = asyncio.Event()

        async def handle(socket: websockets.asyncio.server.ServerConnection) -> None:
            players.add(socket)
            async for _ in socket:
                players.discard(socket)
                ready.set()

        async with websockets.asyncio.server.serve(
            handle, "127.0.0.1", 0, compression=None, ping_interval=None, backlog=BACKLOG
        ) as server:
            begin(next(iter(server.sockets)).getsockname()[1])
            await ready.wait()
            times = await ticks_of(lambda: websockets.asyncio.server.broadcast(players, MESSAGE), ticks)
            for player in players:
                player.transport.close()
            await asyncio.sleep(0.5)
            return times

    return uvloop.new_event_loop().run_until_complete(serve()), 0


def picows_uvloop(begin: Begin, connections: int, ticks: int) -> tuple[list[Taken], int]:
    """picows' WSTransport.send() for each, in uvloop"""
    import picows
    import uvloop

    loop = uvloop.new_event_loop()
    players: list[Any] = []

    async def serve() -> list[Taken]:
        ready = asyncio.Event()

        class Player(picows.WSListener):  # type: ignore[misc]  # it has no types where it is not installed
            def on_ws_connected(self, transport: picows.WSTransport) -> None:
                players.append(transport)

            def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
                if frame.msg_type == picows.WSMsgType.BINARY:
                    players.remove(transport)
                    ready.set()

        def send_all() -> None:
            for player in players:
                player.send(picows.WSMsgType.BINARY, MESSAGE)

        server = await picows.ws_create_server(lambda request: Player(), "127.0.0.1", 0, backlog=BACKLOG)
        begin(server.sockets[0].getsockname()[1])
        await ready.wait()
        times = await ticks_of(send_all, ticks)
        for player in list(players):
            player.disconnect()
        await asyncio.sleep(0.5)
        return times

    return loop.run_until_complete(serve()), 0


SERVERS: dict[str, Serve] = {
    "turbosock loop": turbosock_loop,
    "websockets+uvloop": websockets_uvloop,
    "picows+uvloop": picows_uvloop,
}
REPORTS = dict.fromkeys(SERVERS, report)
CONTESTANTS = SERVERS
