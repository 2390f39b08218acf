"""DemoServer: turbosock's own listeners in a process of their own, so that client and server each have a processor.

One speaks HTTP, the other one https, with a certificate that the parent makes on the spot; its key is in a file until
the child has read it, and then nowhere but in the child. Both answer with BODY, or, where they are asked for that, with
a stream of events, or with a WebSocket that sends back what it gets.

The child learns on its standard input, by its end, that the parent is done or gone; so it outlives nobody. It says
its ports on its standard output, once.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
import threading
from types import TracebackType
from typing import Final

from turbosock.cli.demo.leg import BODY
from turbosock.client.events import EventKind
from turbosock.config import TlsCertificate, TlsServerConfig
from turbosock.connection.send import Send
from turbosock.errors import ConnectError
from turbosock.loop import Loop
from turbosock.protocol.sse.serialize import event_bytes
from turbosock.server.event_sender import EventSender
from turbosock.server.http_exchange import HttpExchange
from turbosock.server.websocket_settings import WebSocketSettings
from turbosock.tls.selfsigned import make_self_signed

# In one piece, of some 16 KiB.
EVENTS_AT_ONCE: Final = 150
START_TIMEOUT_S: Final = 5.0
STOP_TIMEOUT_S: Final = 2.0

# The child finds the package where the parent found it, whatever made the parent find it there.
_SCRIPT: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from turbosock.cli.demo.server import serve; serve(*sys.argv[2:])"
)


class DemoServer:
    """A server for the length of a with block.

    Attributes:
        url, secure_url: answer with BODY, over http and https.
        ca_pem: who vouches for the second.
    """

    __slots__ = ("_process", "ca_pem", "secure_url", "url")

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.secure_url = ""
        self.ca_pem = b""

    def __enter__(self) -> DemoServer:
        made = make_self_signed("127.0.0.1")
        self.ca_pem = made.ca_pem
        with tempfile.TemporaryDirectory(prefix="turbosock-") as directory:
            self._start(made.write(directory))
        return self

    def _start(self, certificate: TlsCertificate) -> None:
        # A session of its own: an interrupt from the terminal is the parent's to handle.
        try:
            self._process = process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _SCRIPT,
                    json.dumps(sys.path),
                    str(certificate.cert_file),
                    str(certificate.key_file),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise ConnectError(
                f"the demo's server could not be started: {error.strerror}", errno=error.errno
            ) from error
        assert process.stdout is not None, "asked for above"
        try:
            readable, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
            if not readable:
                raise ConnectError(
                    f"the demo's server did not start within {START_TIMEOUT_S:g} s; try when the machine is less busy"
                )
            said = process.stdout.readline()
            if not said.endswith(b"\n"):
                raise ConnectError("the demo's server ended as it started; what it wrote above says why")
        except BaseException:
            self._stop()
            raise
        port, secure_port = map(int, said.split())
        self.url = f"http://127.0.0.1:{port}/"
        self.secure_url = f"https://127.0.0.1:{secure_port}/"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None, "started"
        process.stdin.close()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def serve(cert_file: str, key_file: str) -> None:
    """Answer every request with BODY until standard input ends; the child's whole life."""
    with Loop() as loop:
        listener = loop.listen(("127.0.0.1", 0), handler=answer)
        tls = TlsServerConfig(TlsCertificate(cert_file, key_file))
        secure = loop.listen(("127.0.0.1", 0), handler=answer, tls=tls)
        assert isinstance(listener.address, tuple) and isinstance(secure.address, tuple), "they listen on ports"
        sys.stdout.write(f"{listener.address[1]} {secure.address[1]}\n")
        sys.stdout.flush()
        ended = threading.Event()
        threading.Thread(target=_await_end, args=(loop, ended), daemon=True).start()
        while not ended.is_set():
            loop.poll(None)
            for event in loop.events:
                if event.kind is EventKind.MESSAGE:
                    event.connection.send(event.data)  # type: ignore[attr-defined]  # of a WebSocket: there are no others
            loop.flush()


def answer(exchange: HttpExchange) -> None:
    """The handler."""
    target = exchange.request.head.target
    if target == b"/?events":
        _send_events(exchange)
    elif target == b"/?echoes":
        exchange.upgrade_websocket(WebSocketSettings())
    else:
        exchange.respond(200, content=BODY)


def _send_events(exchange: HttpExchange) -> None:
    """Send events without end, as fast as they are taken."""
    block = event_bytes(BODY) * EVENTS_AT_ONCE
    sender = exchange.respond_events()

    def go_on(sender: EventSender) -> None:
        while sender.put(block) is Send.OK:
            pass

    sender.on_writable = go_on
    go_on(sender)


def _await_end(loop: Loop, ended: threading.Event) -> None:
    sys.stdin.buffer.read()
    ended.set()
    loop.wakeup()
