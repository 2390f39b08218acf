"""The demo's command: a server, the legs one after the other, one table.

Invariant: it ends by itself within 20 seconds, because every leg is bounded in time and so is every request in it.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from typing import Final

from turbosock import limits
from turbosock.cli.arguments import seconds_up_to
from turbosock.cli.demo.allocations import AllocationsLeg
from turbosock.cli.demo.echoes import EchoesLeg
from turbosock.cli.demo.events import EventsLeg
from turbosock.cli.demo.leg import BODY, Leg, Outcome, Stage
from turbosock.cli.demo.secure_threads import SecureThreadsLeg
from turbosock.cli.demo.server import DemoServer
from turbosock.cli.demo.table import table
from turbosock.cli.demo.threads import ThreadsLeg
from turbosock.cli.demo.ticks import TicksLeg
from turbosock.cli.exit_status import ExitStatus
from turbosock.client.progress import StatusLine
from turbosock.errors import TurbosockError
from turbosock.version import __version__

LEGS: Final[tuple[Leg, ...]] = (
    ThreadsLeg(),
    SecureThreadsLeg(),
    TicksLeg(),
    EventsLeg(),
    EchoesLeg(),
    AllocationsLeg(),
)
DEFAULT_SECONDS: Final = 6.0
EXAMPLES: Final = """\
  turbosock demo
  turbosock demo --seconds 2                              sooner, and less exact
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `demo`."""
    parser.add_argument(
        "--seconds", metavar="SECONDS", type=seconds_up_to(limits.MAX_DEMO_S), default=DEFAULT_SECONDS,
        help=f"measure rates for this long in all; {DEFAULT_SECONDS:g} if not given, {limits.MAX_DEMO_S:g} at most",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Run the legs and print the table.

    Raises:
        TurbosockError: a leg failed.
    """
    line = StatusLine(sys.stderr)
    outcomes: list[tuple[str, Outcome]] = []
    with DemoServer() as server:
        seconds = arguments.seconds / sum(leg.timed for leg in LEGS)
        stage = Stage(server.url, server.secure_url, server.ca_pem, seconds, line)
        for leg in LEGS:
            if not line.live:
                sys.stderr.write(f"{leg.title} ...\n")
            try:
                outcomes.append((leg.title, leg.run(stage)))
            except TurbosockError:
                line.clear()
                sys.stderr.write(f"{leg.title}: failed\n")
                raise
            finally:
                line.clear()
    sys.stdout.write(f"{_conditions()}\n{table(outcomes)}")
    return ExitStatus.OK


def _conditions() -> str:
    """What the figures depend on."""
    return (
        f"turbosock {__version__}, {platform.python_implementation()} {platform.python_version()}, "
        f"{platform.system()}, {os.cpu_count()} processors\n"
        f"GET over HTTP/1.1 from a turbosock server in another process, on loopback; {len(BODY)} bytes a body"
    )
