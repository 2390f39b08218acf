"""WebSocket stages: a Client of one kind and scripted servers for it, over every way that bytes can go.

The ways: a kernel-blocking socket, one that does not block, and TLS by both engines.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from support.https import Pki, at_loopback, secure
from support.scripted_server import ScriptedServer, Step, scripted
from support.tls import HOST
from support.websocket_server import accept
from turbosock import Client, Config, Timeouts, TlsProviderMode, TransportMode, WebSocket

TIMEOUTS = Timeouts(connect_s=5, handshake_s=5, read_s=5, write_s=5, pool_s=5, total_s=10)
SOON_S = 5.0

# Nobody sets it.
NEVER = threading.Event()

WAYS = ["stream", "saea", "ssl", "pyopenssl"]


class WebSocketStage:
    """A client of one kind, and servers for it."""

    def __init__(self, way: str, pki: Pki) -> None:
        self.way = way
        self.pki = pki
        self.clients: list[Client] = []

    def client(self, timeouts: Timeouts = TIMEOUTS, **options: Any) -> Client:
        provider = TlsProviderMode.PYOPENSSL_ONLY if self.way == "pyopenssl" else TlsProviderMode.SYSTEM_ONLY
        mode = TransportMode.STREAM if self.way == "stream" else TransportMode.SAEA
        config = Config(
            transport=mode, tls=replace(self.pki.trusting, provider=provider), timeouts=timeouts, diagnostics=True
        )
        client = Client(replace(config, **options))
        at_loopback(client.connections.resolver)
        self.clients.append(client)
        return client

    def script(self, *steps: Step) -> tuple[Step, ...]:
        return (secure(self.pki.context), *steps) if self.is_tls else steps

    @property
    def is_tls(self) -> bool:
        return self.way in ("ssl", "pyopenssl")

    def url(self, server: ScriptedServer) -> str:
        scheme, host = ("wss", HOST) if self.is_tls else ("ws", server.host)
        return f"{scheme}://{host}:{server.port}/chat?room=1"

    @contextlib.contextmanager
    def open(self, *steps: Step, timeouts: Timeouts = TIMEOUTS, **options: Any) -> Iterator[WebSocket]:
        """A WebSocket to a server that plays these steps once it is open; closed with little patience."""
        options.setdefault("close_timeout_s", 0.2)
        with scripted(self.script(accept(), *steps)) as server:
            ws = self.client(timeouts).websocket(self.url(server), **options)
            try:
                yield ws
            finally:
                ws.close()

    def end(self) -> None:
        for client in self.clients:
            client.close()
            assert client.stats().open == 0
            assert client.buffers.stats().outstanding == 0


def soon(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does without telling."""
    end = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < end, "it never came about"
        NEVER.wait(0.001)


def send_for_long(ws: WebSocket, data: bytes, timeout: float | None = None) -> None:
    """Send until that fails, or the test has waited long enough."""
    end = time.monotonic() + SOON_S
    while time.monotonic() < end:
        ws.send(data, timeout)
