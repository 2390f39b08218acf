"""`turbosock top URL…`: keeps requests running and shows live what becomes of them, until ctrl-C or for a time.

A terminal gets a table that is drawn over once a second, anything else a line a second; both get a summary at the end.
ctrl-C is how it is meant to end, so its status is that of success where anything was answered.
"""

from __future__ import annotations

import argparse
import sys
import tracemalloc
from contextlib import ExitStack
from typing import Any, Final

from turbosock import limits
from turbosock.cli.arguments import count_up_to, header, seconds, text
from turbosock.cli.credentials import credentials
from turbosock.cli.exit_status import ExitStatus
from turbosock.cli.get import proxies, tls_config
from turbosock.cli.get_options import add_proxy, add_tls, add_version
from turbosock.cli.interrupt import Interrupt
from turbosock.cli.top.load import Load
from turbosock.cli.top.report import one_line, summary, table
from turbosock.cli.top.screen import Screen
from turbosock.config import Config, PoolConfig, Timeouts
from turbosock.loop import Loop
from turbosock.reactor.clock import NS_PER_S

_INTERVAL_NS: Final = NS_PER_S

EXAMPLES: Final = """\
  turbosock top https://example.com/                      ten requests in flight, until ctrl-C
  turbosock top -c 50 --rate 200 http://127.0.0.1:8080/ http://127.0.0.1:8080/big
                                                          fifty in flight, 200 new ones a second, two URLs in turn
  turbosock top --duration 60 --memory http://127.0.0.1:8080/
  turbosock top https://example.com/ | tee top.log        a line a second
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `top`."""
    parser.add_argument("urls", metavar="URL", type=text, nargs="+", help="https://host/path, or http://…")
    parser.add_argument(
        "-c", "--concurrency", metavar="N", type=count_up_to(limits.MAX_TOP_IN_FLIGHT, 1),
        default=limits.TOP_IN_FLIGHT,
        help=f"keep N requests in flight, divided among the URLs; {limits.TOP_IN_FLIGHT} if not given",
    )  # fmt: skip
    parser.add_argument(
        "--rate", metavar="N", type=_rate, help="begin N requests a second at most, in all; N may have decimals"
    )
    parser.add_argument("--duration", metavar="SECONDS", type=seconds, help="end after this time")
    parser.add_argument("--memory", action="store_true", help="count memory by tracemalloc, which slows all down")
    parser.add_argument(
        "-m", "--timeout", "--max-time", metavar="SECONDS", type=seconds, help="give up a request after this time"
    )  # fmt: skip
    parser.add_argument(
        "-H", "--header", metavar="'Name: value'", type=header, action="append", default=[],
        help="send this header; may be repeated",
    )  # fmt: skip
    parser.add_argument("-u", "--user", metavar="USER[:PASSWORD]", help="basic authentication")
    parser.add_argument("--bearer", "--oauth2-bearer", metavar="TOKEN", help="send this bearer token")
    add_proxy(parser)
    add_version(parser)
    add_tls(parser)
    parser.set_defaults(run=run)


def _rate(argument: str) -> float:
    try:
        value = float(argument)
    except ValueError:
        value = 0.0
    if not 0 < value <= limits.MAX_TOP_RATE_PER_S:
        raise argparse.ArgumentTypeError(f"give more than 0 and at most {limits.MAX_TOP_RATE_PER_S:.0f} a second")
    return value


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Keep the requests running, and show what becomes of them.

    Raises:
        TurbosockError: a URL cannot be asked for, or no request was answered: the last one's error.
        OSError: the output could not be written.
    """
    options = _options(arguments)
    with ExitStack() as stack:
        interrupt = stack.enter_context(Interrupt())
        loop = stack.enter_context(Loop(_config(arguments), redirects=None))
        if arguments.memory and not tracemalloc.is_tracing():
            tracemalloc.start()
            stack.callback(tracemalloc.stop)
        load = Load(loop, arguments.urls, places=arguments.concurrency, rate_per_s=arguments.rate, options=options)
        screen = Screen(sys.stdout)
        _watch(load, screen, arguments.duration, interrupt)
        screen.draw(summary(load, loop.reactor.clock.now_ns()), last=True)
        interrupt.asked = False
        if load.last_error is not None and not any(target.total.answers for target in load.targets):
            raise load.last_error
    return ExitStatus.OK


def _watch(load: Load, screen: Screen, duration_s: float | None, interrupt: Interrupt) -> None:
    """Draw once a second, until it is over."""
    clock = load.loop.reactor.clock
    end_ns = 1 << 62 if duration_s is None else load.started_ns + int(duration_s * NS_PER_S)
    while not interrupt.asked and (now_ns := clock.now_ns()) < end_ns:
        draw_ns = load.looked_ns + _INTERVAL_NS
        if now_ns < draw_ns:
            load.turn(min(draw_ns, end_ns))
            continue
        if screen.live:
            screen.draw(table(load, now_ns))
        else:
            sys.stdout.write(f"{one_line(load, now_ns)}\n")
            sys.stdout.flush()
        load.look()


def _config(arguments: argparse.Namespace) -> Config:
    urls: list[str] = arguments.urls
    room = max(arguments.concurrency, len(urls))
    return Config(
        timeouts=Timeouts() if arguments.timeout is None else Timeouts.of(arguments.timeout),
        tls=tls_config(arguments),
        proxy=proxies(arguments.proxy, urls[0]),
        no_proxy=arguments.noproxy,
        pool=PoolConfig(room, room, room),
        http_versions=arguments.http_versions,
    )


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What each request is told beside its URL; nothing where nothing was given, which is the shortest way."""
    auth = credentials(arguments.user, arguments.bearer, False, arguments.header)
    given = {"headers": arguments.header or None, "auth": auth}
    return {name: value for name, value in given.items() if value is not None}
