"""`turbosock sse URL`: a stream of server-sent events, a line each, for as long as it goes on.

A line is the data of an event as text; line ends inside it, and other characters that would do something to a terminal,
are written as escapes. With --json it is an object of all that the event says. Each line is written when its event has
come.

The stream is connected to again as a browser would, but for the first time: what cannot be reached at all is told at
once.
"""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from typing import Final

from turbosock import limits
from turbosock.cli.arguments import count_up_to, header, seconds, text
from turbosock.cli.credentials import credentials
from turbosock.cli.escapes import ESCAPES
from turbosock.cli.exit_status import ExitStatus
from turbosock.cli.get import proxies, say, tls_config
from turbosock.cli.get_options import add_proxy, add_tls, add_version
from turbosock.cli.input_file import InputFiles
from turbosock.cli.request_body import Data, DataKind, request_body
from turbosock.cli.sink import Sink, StandardOutput
from turbosock.client.blocking_event_stream import BlockingEventStream
from turbosock.client.client import Client
from turbosock.client.quantity import time_text
from turbosock.client.reconnect import ReconnectPolicy
from turbosock.config import Config, Timeouts
from turbosock.protocol.sse.event import ServerSentEvent

EXAMPLES: Final = """\
  turbosock sse https://example.com/events                a line for each event, until ctrl-C
  turbosock sse -v --json -n 10 https://example.com/events
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `sse`."""
    parser.add_argument("url", metavar="URL", type=text, help="https://host/path, or http://…")
    parser.add_argument(
        "--event", metavar="NAME", action="append", default=[],
        help="print events of this type alone; may be repeated. Without a name of its own an event is a 'message'",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print objects with event, id, data and retry")
    parser.add_argument("--last-event-id", metavar="ID", type=text, help="go on after the event with this id")
    parser.add_argument(
        "-n", "--count", metavar="N", type=count_up_to(limits.MAX_SHOWN_COUNT, 1), help="end after N events printed"
    )
    parser.add_argument("--no-reconnect", action="store_true", help="end with the first connection")
    parser.add_argument(
        "--heartbeat", metavar="SECONDS", type=seconds,
        help=f"take a connection without a byte for so long for dead; {limits.READ_TIMEOUT_S:g} if not given",
    )  # fmt: skip
    parser.add_argument(
        "-m", "--timeout", "--max-time", metavar="SECONDS", type=seconds, help="give up after this time in all"
    )  # fmt: skip
    parser.add_argument("-v", "--verbose", action="store_true", help="tell of each connection on stderr")
    parser.add_argument(
        "-H", "--header", metavar="'Name: value'", type=header, action="append", default=[],
        help="send this header; may be repeated",
    )  # fmt: skip
    parser.add_argument("-X", "--request", metavar="METHOD", help="the method; GET, or POST with a body, if not given")
    parser.add_argument(
        "-d", "--data", metavar="DATA", action="append", default=[], type=lambda data: Data(DataKind.DATA, data),
        help="send DATA, or @FILE without its line ends, with each request; repeated ones are joined by &",
    )  # fmt: skip
    parser.add_argument("-u", "--user", metavar="USER[:PASSWORD]", help="basic authentication")
    parser.add_argument("--bearer", "--oauth2-bearer", metavar="TOKEN", help="send this bearer token")
    add_proxy(parser)
    add_version(parser)
    add_tls(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Print events until the stream is over.

    Raises:
        TurbosockError: it failed for good.
        OSError: the output could not be written.
    """
    auth = credentials(arguments.user, arguments.bearer, False, arguments.header)
    config = Config(
        tls=tls_config(arguments),
        proxy=proxies(arguments.proxy, arguments.url),
        no_proxy=arguments.noproxy,
        http_versions=arguments.http_versions,
    )
    timeouts = Timeouts(total_s=arguments.timeout)
    with ExitStack() as stack:
        body = request_body(arguments.data, [], [], InputFiles(stack))
        named = {name.lower() for name, _ in arguments.header}
        headers = [*arguments.header, *(field for field in body.headers if field[0].lower() not in named)]
        output: Sink = stack.enter_context(StandardOutput())
        client = stack.enter_context(Client(config))
        method = arguments.request or ("POST" if arguments.data else "GET")
        stream = stack.enter_context(
            client.events(
                arguments.url,
                method=method,
                last_event_id=arguments.last_event_id,
                reconnect=_policy(arguments, method),
                heartbeat_s=arguments.heartbeat,
                timeout=timeouts,
                headers=headers,
                auth=auth,
                **body.options,
            )
        )
        _print(stream, output, arguments)
    return ExitStatus.OK


def _policy(arguments: argparse.Namespace, method: str) -> ReconnectPolicy | bool:
    if arguments.no_reconnect or method.upper() != "GET":
        return False
    return ReconnectPolicy(max_first_attempts=1)


def _print(stream: BlockingEventStream, output: Sink, arguments: argparse.Namespace) -> None:
    names = frozenset(arguments.event)
    line_of = _object_line if arguments.json else _data_line
    left = arguments.count
    connections = 0
    for event in stream:
        if arguments.verbose and stream.attempts != connections:
            connections = stream.attempts
            say(_connection_line(stream))
        if names and event.event not in names:
            continue
        output.write(line_of(event))
        if left is not None:
            left -= 1
            if not left:
                return


def _data_line(event: ServerSentEvent) -> bytes:
    return (event.text.translate(ESCAPES) + "\n").encode()


def _object_line(event: ServerSentEvent) -> bytes:
    said = {"event": event.event, "id": event.id, "data": event.text, "retry": event.retry}
    if event.retry is None:
        del said["retry"]
    return (json.dumps(said) + "\n").encode()


def _connection_line(stream: BlockingEventStream) -> str:
    retry_ms = stream.retry_ms
    retry = "" if retry_ms is None else f", to be asked again after {time_text(retry_ms / 1000)}"
    return f"* connection {stream.attempts} tells events{retry}\n"
