"""`turbosock audit TARGET`: what a request, message, event or tick takes from memory, and whether that is too much.

The report goes to standard output, files appear when they are whole, and the exit status is 0 where every bound is
kept, 1 where one is not, and 2 where the audit could not be made.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Final

from turbosock import limits
from turbosock.audit.counting import why_no_memray
from turbosock.audit.flame import flame
from turbosock.audit.page import page, picture
from turbosock.audit.peers import not_installed
from turbosock.audit.plan import PEERS, AuditPlan
from turbosock.audit.report import AuditReport, Bounds
from turbosock.audit.runs import audit
from turbosock.audit.text import show
from turbosock.cli.arguments import count_up_to, text
from turbosock.cli.complaint import complaint
from turbosock.cli.exit_status import ExitStatus
from turbosock.cli.get import proxies, say, tls_config
from turbosock.cli.get_options import add_proxy, add_tls, add_version
from turbosock.cli.sink import FileSink
from turbosock.client.progress import StatusLine
from turbosock.config import Config
from turbosock.errors import AuditError, InvalidOption, TurbosockError

_FILES: Final = ("flamegraph", "json", "html")

EXAMPLES: Final = """\
  turbosock audit http://127.0.0.1:8080/                  requests, one after the other
  turbosock audit --in-flight 100 http://127.0.0.1:8080/
  turbosock audit --max-mallocs 0.1 game.world:step       a function of yours; fail above a bound
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `audit`."""
    parser.add_argument(
        "target", metavar="TARGET", type=text,
        help="http://… or https://…: requests; ws://… or wss://…: messages, which the server has to send back; "
        "module:function: calls without arguments",
    )  # fmt: skip
    parser.add_argument("--events", action="store_true", help="the URL is a stream of server-sent events: count those")
    parser.add_argument(
        "--in-flight", metavar="N", type=count_up_to(limits.MAX_AUDIT_IN_FLIGHT), default=0,
        help="keep N requests, WebSockets or streams going in a Loop; without it one, in a blocking Client",
    )  # fmt: skip
    parser.add_argument(
        "-n", "--count", metavar="N", type=count_up_to(limits.MAX_AUDIT_COUNT), default=limits.AUDIT_COUNT,
        help=f"count N of them, and look at {limits.AUDIT_GROWTH_FACTOR} N for growth; {limits.AUDIT_COUNT:,} if not "
        "given",
    )  # fmt: skip
    parser.add_argument(
        "--warm-up", metavar="N", type=count_up_to(limits.MAX_AUDIT_COUNT), default=limits.AUDIT_WARM_UP,
        help=f"let N go before; {limits.AUDIT_WARM_UP:,} if not given",
    )  # fmt: skip
    parser.add_argument(
        "--message-bytes", metavar="N", type=count_up_to(limits.MAX_WEBSOCKET_MESSAGE_BYTES), default=32,
        help="send messages of N bytes; 32 if not given",
    )  # fmt: skip
    parser.add_argument("--no-growth", action="store_true", help="do not look for growth, which takes the most time")
    parser.add_argument("--tracemalloc", action="store_true", help="do without memray, though it may be there")
    parser.add_argument(
        "--compare", metavar="PEER", choices=PEERS, action="append", default=[],
        help=f"the same URL through {', '.join(PEERS)}; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--max-mallocs", metavar="N", type=_number,
        help="fail above N system mallocs for each request, message, event or tick, on average",
    )  # fmt: skip
    parser.add_argument("--max-allocations", metavar="N", type=_number, help="fail above N Python allocations for each")
    parser.add_argument(
        "--max-bytes", metavar="N", type=_number, help="fail above N bytes for each, the system's and Python's together"
    )
    parser.add_argument(
        "--max-growth", metavar="N", type=_number, help="fail where memory grows by more than N bytes a second"
    )
    parser.add_argument("--flamegraph", metavar="FILE", help="draw who allocates: SVG in FILE.svg, else HTML")
    parser.add_argument("--json", metavar="FILE", help="write the figures and lines as JSON")
    parser.add_argument("--html", metavar="FILE", help="write a page with the figures, the lines and the picture")
    add_proxy(parser)
    add_version(parser)
    add_tls(parser)
    parser.set_defaults(run=run)


def _number(argument: str) -> float:
    try:
        value = float(argument)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError("give a number of at least 0")
    return value


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Audit the target, show the report and judge it.

    Raises:
        OSError: an output could not be written.
    """
    try:
        return _run(arguments)
    except TurbosockError as error:
        say(f"turbosock: {complaint(error)}\n")
        return ExitStatus.USAGE


def _run(arguments: argparse.Namespace) -> ExitStatus:
    bounds = Bounds(arguments.max_mallocs, arguments.max_allocations, arguments.max_bytes, arguments.max_growth)
    plans = _plans(arguments)
    _check(arguments, bounds)
    for peer in arguments.compare:
        # Before turbosock is measured, which takes a while.
        if find_spec(peer) is None:
            raise AuditError(not_installed(peer))
    with ExitStack() as stack:
        # Opened before anything is sent: what cannot be written is said at once.
        files = {name: stack.enter_context(_sink(arguments, name)) for name in _FILES if getattr(arguments, name)}
        reports = _reports(plans, arguments)
        verdict = bounds.exceeded(reports[0])
        show(reports, sys.stdout, verdict)
        for name, sink in files.items():
            sink.write(_content(name, arguments, reports, verdict).encode())
            sink.commit()
    for line in verdict:
        say(f"turbosock: {line}\n")
    return ExitStatus.FAILED if verdict else ExitStatus.OK


def _plans(arguments: argparse.Namespace) -> list[AuditPlan]:
    config = Config(
        tls=tls_config(arguments),
        proxy=proxies(arguments.proxy, arguments.target),
        no_proxy=arguments.noproxy,
        http_versions=arguments.http_versions,
    )
    plan = AuditPlan(
        arguments.target,
        in_flight=arguments.in_flight,
        events=arguments.events,
        message_bytes=arguments.message_bytes,
        warm_up=arguments.warm_up,
        count=arguments.count,
        config=config,
    )
    return [plan, *(dataclasses.replace(plan, peer=peer) for peer in dict.fromkeys(arguments.compare))]


def _check(arguments: argparse.Namespace, bounds: Bounds) -> None:
    """Refuse what could not be judged or drawn in the end."""
    if arguments.no_growth and bounds.growth is not None:
        raise InvalidOption("--no-growth, --max-growth: growth is looked at or not; give one of them")
    need = "--flamegraph" if arguments.flamegraph else "--max-mallocs, --max-allocations and --max-bytes"
    if arguments.flamegraph or bounds.need_memray:
        reason = "--tracemalloc was given" if arguments.tracemalloc else why_no_memray()
        if reason:
            raise AuditError(f"{need}: only memray counts allocations, and {reason}")


def _sink(arguments: argparse.Namespace, name: str) -> FileSink:
    return FileSink(getattr(arguments, name))


def _reports(plans: list[AuditPlan], arguments: argparse.Namespace) -> list[AuditReport]:
    line = StatusLine(sys.stderr)
    memray = False if arguments.tracemalloc else None
    reports = []
    try:
        for plan in plans:
            reports.append(
                audit(
                    plan,
                    growth=not arguments.no_growth,
                    memray=memray,
                    on_step=lambda doing, way=plan.way: line.draw(f"{way}: {doing}"),  # type: ignore[misc]  # bound now
                )
            )
    finally:
        line.clear()
    return reports


def _content(name: str, arguments: argparse.Namespace, reports: list[AuditReport], verdict: list[str]) -> str:
    if name == "json":
        told = {**reports[0].as_json(), "compared": [each.as_json() for each in reports[1:]], "over": verdict}
        return json.dumps(told, indent=2) + "\n"
    if name == "html":
        return page(reports, verdict)
    return flame(reports[0]) if arguments.flamegraph.endswith(".svg") else picture(reports[0])
