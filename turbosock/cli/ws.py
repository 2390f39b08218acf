"""`turbosock ws URL`: a WebSocket, whose messages are lines: those of standard input are sent, what comes is printed.

At the end of the input the WebSocket is closed when the peer has been silent for a moment, because many servers answer
nothing once they were told that it ends. With --count it is not closed before that many messages came. At a terminal
the input ends with ctrl-D, and the WebSocket with it: who typed has seen the answers.

Lines are read in a thread of their own, past Python's buffer for standard input: a thread that sleeps inside that would
hold its lock when the interpreter ends.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
import time
from contextlib import ExitStack
from typing import Final

from turbosock import limits
from turbosock.cli.arguments import count_up_to, header, seconds, seconds_or_zero, text
from turbosock.cli.credentials import credentials
from turbosock.cli.escapes import ESCAPES
from turbosock.cli.exit_status import ExitStatus
from turbosock.cli.get import proxies, say, tls_config
from turbosock.cli.get_options import add_proxy, add_tls
from turbosock.cli.sink import Sink, StandardOutput
from turbosock.client.client import Client
from turbosock.client.quantity import time_text
from turbosock.client.websocket import QUIET_ENDS, WebSocket
from turbosock.config import Config, Timeouts
from turbosock.errors import LimitError, TotalTimeout, TurbosockError, WebSocketClosed
from turbosock.protocol.websocket.close import GOING_AWAY

_BLOCK_BYTES: Final = 64 * limits.KIB
# The name of the thread that reads standard input.
TYPIST: Final = "turbosock ws input"
# Bytes of a binary message that are no text: as escapes, so that what is printed can be told from a text.
_BYTE_ESCAPES: Final = {i: f"\\x{i:02x}" for i in (*range(0x20), *range(0x7F, 0x100))} | {0x5C: "\\\\"}

EXAMPLES: Final = """\
  turbosock ws wss://example.com/chat                     type lines; ctrl-D ends it
  printf 'one\\ntwo\\n' | turbosock ws ws://127.0.0.1:8765/
  echo hello | turbosock ws -n 1 ws://127.0.0.1:8765/     send a message, and wait for one
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `ws`."""
    parser.add_argument(
        "url", metavar="URL", type=text, help="wss://host/path, ws://…, or ws+unix://%%2Fpath%%2Fto.sock/path"
    )
    parser.add_argument(
        "--subprotocol", metavar="NAME", action="append", default=[], help="offer to speak this; may be repeated"
    )
    parser.add_argument("--origin", metavar="ORIGIN", help="send this Origin")
    parser.add_argument("--binary", action="store_true", help="send lines as binary messages")
    parser.add_argument("--compressed", action="store_true", help="offer to compress messages")
    parser.add_argument(
        "--max-message", metavar="BYTES", type=count_up_to(limits.MAX_GATHERED_BODY_BYTES),
        default=limits.MAX_WEBSOCKET_MESSAGE_BYTES,
        help="end where a message that comes has more than this; 1048576 if not given",
    )  # fmt: skip
    parser.add_argument(
        "-n", "--count", metavar="N", type=count_up_to(limits.MAX_SHOWN_COUNT, 1), help="end after N messages printed"
    )
    parser.add_argument(
        "--wait", metavar="SECONDS", type=seconds_or_zero,
        help="at the end of the input, close when nothing came for so long; "
        f"{limits.WS_WAIT_S:g} if not given, and 0 at a terminal. With -n wait for the N messages",
    )  # fmt: skip
    parser.add_argument(
        "--ping-interval", metavar="SECONDS", type=seconds, default=limits.WEBSOCKET_PING_INTERVAL_S,
        help=f"ask a silent server for a sign of life; {limits.WEBSOCKET_PING_INTERVAL_S:g} if not given",
    )  # fmt: skip
    parser.add_argument(
        "-m", "--timeout", "--max-time", metavar="SECONDS", type=seconds, help="give up after this time in all"
    )  # fmt: skip
    parser.add_argument("-v", "--verbose", action="store_true", help="tell of the opening and the end on stderr")
    parser.add_argument(
        "-H", "--header", metavar="'Name: value'", type=header, action="append", default=[],
        help="send this header; may be repeated",
    )  # fmt: skip
    parser.add_argument("-L", "--location", action="store_true", help="follow redirects")
    parser.add_argument("-u", "--user", metavar="USER[:PASSWORD]", help="basic authentication")
    parser.add_argument("--bearer", "--oauth2-bearer", metavar="TOKEN", help="send this bearer token")
    add_proxy(parser)
    add_tls(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Send lines and print messages until one side closes.

    Raises:
        TurbosockError: it could not be opened, or did not end in good order.
        OSError: the output could not be written.
    """
    auth = credentials(arguments.user, arguments.bearer, False, arguments.header)
    config = Config(
        tls=tls_config(arguments), proxy=proxies(arguments.proxy, arguments.url), no_proxy=arguments.noproxy
    )
    started_s = time.monotonic()
    with ExitStack() as stack:
        output: Sink = stack.enter_context(StandardOutput())
        client = stack.enter_context(Client(config))
        ws = stack.enter_context(
            client.websocket(
                arguments.url,
                subprotocols=arguments.subprotocol,
                origin=arguments.origin,
                deflate=arguments.compressed,
                max_message=arguments.max_message,
                ping_interval_s=arguments.ping_interval,
                headers=arguments.header or None,
                auth=auth,
                follow_redirects=arguments.location,
                timeout=Timeouts() if arguments.timeout is None else Timeouts.of(arguments.timeout),
            )
        )
        if arguments.verbose:
            say(_opening_line(ws, time.monotonic() - started_s))
        typist = _Typist(ws, arguments)
        try:
            _print(ws, output, arguments, started_s)
        except WebSocketClosed as error:
            if not (error.clean and error.close_code in QUIET_ENDS):
                raise typist.error or error from error.__cause__
        finally:
            typist.over.set()
            if arguments.verbose and ws.close_code is not None:
                say(f"* closed with {ws.close_code} {ws.close_reason}".rstrip() + "\n")
    return ExitStatus.OK


def _print(ws: WebSocket, output: Sink, arguments: argparse.Namespace, started_s: float) -> None:
    """Print what comes, until that ends it."""
    left = arguments.count
    timeout: float | None = arguments.timeout
    while left != 0:
        wait_s = None
        if timeout is not None:
            wait_s = started_s + timeout - time.monotonic()
            if wait_s <= 0:
                # Nothing is left for an answer to the Close.
                ws.close(GOING_AWAY, timeout=0)
                raise TotalTimeout(f"the {timeout:g} s of --timeout are over")
        with contextlib.suppress(TimeoutError):
            message = ws.recv(wait_s)
            output.write(_line(message))
            left = None if left is None else left - 1


def _line(message: bytes | str) -> bytes:
    if isinstance(message, str):
        return (message.translate(ESCAPES) + "\n").encode()
    return (message.decode("latin-1").translate(_BYTE_ESCAPES) + "\n").encode()


def _opening_line(ws: WebSocket, took_s: float) -> str:
    what = [] if ws.tls is None else [ws.tls.version]
    if ws.subprotocol is not None:
        what.append(f"subprotocol {ws.subprotocol}")
    return f"* open after {time_text(took_s)}{''.join(f', {each}' for each in what)}\n"


class _Typist:
    """Sends the lines of standard input, in a thread of its own, and closes the WebSocket behind them.

    Attributes:
        error: what went wrong with a line, or None.
        over: set when the WebSocket has ended, so that nobody waits for it any more.
    """

    def __init__(self, ws: WebSocket, arguments: argparse.Namespace) -> None:
        self._ws = ws
        self._binary: bool = arguments.binary
        self._wait_s: float | None = arguments.wait
        self._counts = arguments.count is not None
        self.error: TurbosockError | None = None
        self.over = threading.Event()
        threading.Thread(target=self._type, name=TYPIST, daemon=True).start()

    def _type(self) -> None:
        try:
            self._send_lines(sys.stdin.fileno())
        except TurbosockError as error:
            # The other thread meets what has become of the WebSocket; what is wrong with a line it cannot know.
            if not isinstance(error, WebSocketClosed):
                self.error = error
                self._ws.abort()
        except (OSError, ValueError, AttributeError):
            # There is no standard input to read.
            pass
        else:
            if self._counts:
                return
            self._wait_for_silence()
        self._ws.close(wait=False)

    def _send_lines(self, fd: int) -> None:
        pending = bytearray()
        while data := os.read(fd, _BLOCK_BYTES):
            pending += data
            while (end := pending.find(b"\n")) >= 0:
                self._send(bytes(pending[:end]))
                del pending[: end + 1]
            if len(pending) > limits.MAX_WS_LINE_BYTES:
                raise LimitError(f"a line of the input has more than {limits.MAX_WS_LINE_BYTES} bytes")
        if pending:
            self._send(bytes(pending))

    def _wait_for_silence(self) -> None:
        """Return when nothing has come for the time that `--wait` says, or the WebSocket has ended."""
        wait_s = self._wait_s
        if wait_s is None:
            wait_s = 0.0 if sys.stdin.isatty() else limits.WS_WAIT_S
        came = -1
        while came != self._ws.bytes_received and not self._ws.closed:
            came = self._ws.bytes_received
            self.over.wait(wait_s)

    def _send(self, line: bytes) -> None:
        line = line.removesuffix(b"\r")
        self._ws.send(line if self._binary else line.decode("utf-8", "replace"))
