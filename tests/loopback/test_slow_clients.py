"""slowhttptest against listeners: clients that drip a head or a body, or read an answer by the byte, hold up nobody.

Each attack lasts two or three seconds of slowhttptest's own clock; what is asserted does not depend on how fast we are.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support import peers
from turbosock import Config, EventKind, Exchange, HttpExchange, Loop

CONNECTIONS = 20
# Longer than what the kernel keeps for a client that does not read.
LONG = bytes(16 << 20)
PATIENCE: dict[str, Any] = {"head_timeout_s": 0.5, "body_timeout_s": 0.5, "write_timeout_s": 0.5, "idle_timeout_s": 0.5}
WAIT_S = 30.0

ATTACKS = {
    "head": ["-H", "-i", "1"],
    "body": ["-B", "-i", "1", "-s", "8192"],
    "read": ["-X", "-n", "1", "-z", "5", "-w", "1", "-y", "16"],
}


def answer(exchange: HttpExchange) -> None:
    exchange.respond(200, None, LONG if exchange.request.path == "/long" else b"at once")


@contextlib.contextmanager
def attacking(kind: str, url: str) -> Iterator[subprocess.Popen[str]]:
    """slowhttptest at work; it has ended well at the end of the block."""
    executable = peers.require("slowhttptest", peers.SLOWHTTPTEST_INSTALL)
    bounds = ["-c", f"{CONNECTIONS}", "-r", "40", "-l", "2", "-p", "2", "-u", url]
    command = [executable, *ATTACKS[kind], *bounds]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
        assert process.poll() == 0, "it was at its end"
    finally:
        process.kill()
        process.communicate()


def until(done: Callable[[], bool], *loops: Loop, note: Callable[[Any], object] = id) -> None:
    """Turn the loops until then."""
    end = time.monotonic() + WAIT_S
    while not done():
        for loop in loops:
            loop.poll(0.002)
            for event in loop.events:
                note(event)
        assert time.monotonic() < end, "it did not get there"


@pytest.mark.parametrize("kind", ATTACKS)
def test_slow_clients_are_given_up_while_others_are_served(kind: str) -> None:
    with Loop() as server, Loop(Config(trust_env=False)) as client:
        listener = server.listen(("127.0.0.1", 0), handler=answer, max_connections=2 * CONNECTIONS, **PATIENCE)
        served = 0
        with attacking(kind, f"{listener.url}/{'long' if kind == 'read' else 'short'}") as attack:
            while attack.poll() is None:
                exchange: Exchange = client.request("GET", f"{listener.url}/short")
                until(lambda exchange=exchange: exchange.done, server, client)  # type: ignore[misc]
                assert (exchange.status_code, exchange.content) == (200, b"at once")
                served += 1
        # Those that the attacker has let go of, and those that are given up.
        until(lambda: listener.stats().open == 0, server, client)
        stats = listener.stats()
        assert served > 1
        assert stats.timeouts > 0
        assert stats.exhausted == 0
        # One answer is kept whole for each that reads slowly: where it lies, and no copy.
        assert server.stats().buffers.outstanding == 0


def test_slow_openings_of_websockets_are_given_up_while_others_talk() -> None:
    with Loop() as server, Loop(Config(trust_env=False)) as client:
        listener = server.listen(
            ("127.0.0.1", 0), protocol="websocket", max_connections=2 * CONNECTIONS, handshake_timeout_s=0.5
        )
        heard = 0

        def note(event: Any) -> None:
            nonlocal heard
            if event.kind is EventKind.MESSAGE:
                if event.connection is ws:
                    heard += 1
                else:
                    event.connection.send(event.data)

        ws = client.websocket(listener.url)
        until(lambda: ws.open, server, client, note=note)
        with attacking("head", f"http{listener.url.removeprefix('ws')}") as attack:
            while attack.poll() is None:
                ws.send("still there?")
                before = heard
                until(lambda before=before: heard > before, server, client, note=note)  # type: ignore[misc]
        until(lambda: listener.stats().open == 1, server, client, note=note)
        assert heard > 1
        assert listener.stats().timeouts > 0
