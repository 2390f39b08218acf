"""The other side of every budget's scenario, in a process of its own, whose allocations nobody counts.

Run as a script with a directory that has certificate.pem and key.pem: it prints a line of JSON with its ports, and ends
with its standard input. Its clock stands still, so that no head of its answers ever changes with the second.

It answers GET with 100 bytes, over HTTP/1.1 and, where TLS agrees, HTTP/2; sends each message of a WebSocket back;
and puts one event into every stream under /events for each byte that comes over the control connection.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BODY = b"x" * 100


@contextlib.contextmanager
def audit_peer(directory: Path) -> Iterator[dict[str, Any]]:
    """The ports of a peer that runs for the length of a with block, by what is spoken there."""
    command = [sys.executable, __file__, os.fspath(directory)]
    path = os.pathsep.join(each for each in sys.path if each)
    environment = {**os.environ, "PYTHONPATH": path}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        with process.stdin:
            yield json.loads(process.stdout.readline())


def main(directory: str) -> None:
    """Serve until standard input ends."""
    time.time = lambda: 1_700_000_000.0

    from turbosock import Loop, RawFraming, TlsCertificate, TlsServerConfig, WebSocketConnection

    certificate = TlsCertificate(os.path.join(directory, "certificate.pem"), os.path.join(directory, "key.pem"))
    streams: list[Any] = []

    def answer(exchange: Any) -> None:
        if exchange.request.head.target == b"/events":
            streams.append(exchange.respond_events(heartbeat_s=None))
        else:
            exchange.respond(200, content=BODY)

    with Loop() as loop:
        http = loop.listen(("127.0.0.1", 0), handler=answer)
        https = loop.listen(("127.0.0.1", 0), handler=answer, tls=TlsServerConfig(certificate))
        websocket = loop.listen(("127.0.0.1", 0), protocol="websocket")
        control = loop.listen(("127.0.0.1", 0), protocol="tcp", framing=RawFraming())
        named = {"http": http, "https": https, "websocket": websocket, "control": control}
        print(json.dumps({name: each.address[1] for name, each in named.items()}), flush=True)
        ended = threading.Event()

        def await_end() -> None:
            sys.stdin.read()
            ended.set()
            loop.wakeup()

        threading.Thread(target=await_end, daemon=True).start()
        while not ended.is_set():
            loop.poll(None)
            for event in loop.events:
                connection: Any = event.connection
                if event.data is None:
                    continue
                if isinstance(connection, WebSocketConnection):
                    connection.send(event.data)
                    continue
                for stream in streams:
                    for _ in range(len(event.data)):
                        stream.send(BODY)
            loop.flush()


if __name__ == "__main__":
    main(sys.argv[1])
