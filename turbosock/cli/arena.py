"""`turbosock arena`: the game server of `turbosock/examples/arena`, and bots for it.

The game is imported when it is played, so that the other commands start no later for it.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.cli import exit_status
from turbosock.cli.arguments import Parser, count_up_to, seconds, text
from turbosock.cli.exit_status import ExitStatus
from turbosock.cli.get import say, tls_config
from turbosock.cli.get_options import add_tls
from turbosock.cli.interrupt import Interrupt
from turbosock.client.progress import StatusLine
from turbosock.client.quantity import time_text
from turbosock.config import Config, TlsCertificate, TlsServerConfig
from turbosock.errors import InvalidOption
from turbosock.loop import Loop
from turbosock.reactor.clock import NS_PER_S, SYSTEM_CLOCK
from turbosock.tls.selfsigned import make_self_signed

if TYPE_CHECKING:
    from turbosock.examples.arena.server import Arena

DEFAULT_PORT: Final = 8360
DEFAULT_BOTS: Final = 20
# How much of a tick the bots of `--bots` may take from the server that they play on.
BOTS_BUDGET_S: Final = 0.004
# How often bots of their own say how they are.
_LOOK_S: Final = 0.25

EXAMPLES: Final = """\
  turbosock arena                                         open http://127.0.0.1:8360/ in a browser, and play
  turbosock arena --bots 8                                against eight bots
  turbosock arena --host 0.0.0.0                          with whoever is on the same network
  turbosock arena --host 0.0.0.0 --tls                    the same by https and wss, certificate made for it
  turbosock arena --cert site.pem --key site.key --host :: --port 443
                                                          with a certificate of your own
  turbosock arena bot http://127.0.0.1:8360/ --count 100
                                                          a hundred bots from another terminal, or another machine
"""
BOT_EXAMPLES: Final = """\
examples:
  turbosock arena bot http://127.0.0.1:8360/
  turbosock arena bot https://arena.example/ --count 100 --seconds 60
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `arena`, and its own command `bot`."""
    parser.add_argument(
        "--host", metavar="HOST", type=text, default="127.0.0.1", help="listen there; 127.0.0.1 if not given"
    )
    parser.add_argument(
        "--port", metavar="PORT", type=count_up_to(65535), default=DEFAULT_PORT,
        help=f"listen on this one, or with 0 on any free one; {DEFAULT_PORT} if not given",
    )  # fmt: skip
    parser.add_argument(
        "--bots", metavar="N", type=count_up_to(limits.MAX_ARENA_BOTS), default=0, help="let N bots play along"
    )
    parser.add_argument("--seed", metavar="N", type=count_up_to(2**32 - 1), help="decides all that is left to chance")
    parser.add_argument("--tls", action="store_true", help="https and wss, with a certificate made for this run")
    parser.add_argument("--cert", metavar="FILE", help="https and wss, with this certificate and its chain, PEM")
    parser.add_argument("--key", metavar="FILE", help="the key of --cert, PEM, not encrypted")
    parser.add_argument(
        "--scoreboard", metavar="URL", type=text, help="keep scores there; in the arena's own service if not given"
    )
    parser.add_argument("--seconds", metavar="SECONDS", type=seconds, help="end after this time")
    parser.set_defaults(run=run)
    parser.usage = "%(prog)s [options]\n       %(prog)s bot URL [options]"
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", prog=parser.prog, required=False, parser_class=Parser
    )
    bot_help = "play by itself, in an arena that runs elsewhere"
    epilog = f"{BOT_EXAMPLES}\nexit status:\n{exit_status.table()}"
    bot = commands.add_parser("bot", help=bot_help, description=f"{bot_help.capitalize()}.", epilog=epilog)
    bot.add_argument("url", metavar="URL", type=text, help="of the arena's page, http://… or https://…")
    bot.add_argument(
        "--count", metavar="N", type=count_up_to(limits.MAX_ARENA_BOTS), default=DEFAULT_BOTS,
        help=f"how many; {DEFAULT_BOTS} if not given",
    )  # fmt: skip
    bot.add_argument("--seed", metavar="N", type=count_up_to(2**32 - 1), help="decides all that is left to chance")
    bot.add_argument("--seconds", metavar="SECONDS", type=seconds, help="end after this time")
    add_tls(bot)
    bot.set_defaults(run=run_bots)


def run(arguments: argparse.Namespace) -> ExitStatus:
    """Serve until it is interrupted, or the time is over.

    Raises:
        TurbosockError: it cannot listen there, or with these options.
    """
    from turbosock.examples.arena.bot import Swarm
    from turbosock.examples.arena.server import Arena

    seed = _seed(arguments)
    # A scoreboard on this machine is asked without a detour.
    config = Config(trust_env=arguments.scoreboard is not None)
    with Interrupt() as interrupt, ExitStack() as stack:
        loop = stack.enter_context(Loop(config))
        # A listener reads its files once, so a key that was made for this run is on no disk while it is served.
        with ExitStack() as files:
            tls = _certificate(arguments, files)
            arena = stack.enter_context(
                Arena(loop, (arguments.host, arguments.port), tls=tls, seed=seed, scoreboard=arguments.scoreboard)
            )
        swarm = None
        if arguments.bots:
            own = stack.enter_context(Loop(Config(trust_env=False)))
            swarm = Swarm(own, arena.inside_url, arguments.bots, seed=seed)
        sys.stdout.write(f"the arena is open at {_where(arena, arguments.host)}; end it with ctrl-C\n")
        sys.stdout.flush()
        line = StatusLine(sys.stderr)
        end_ns = _end_ns(arguments)
        try:
            while SYSTEM_CLOCK.now_ns() < end_ns and not interrupt.asked:
                arena.turn()
                if swarm is not None:
                    swarm.turn(max_time=BOTS_BUDGET_S)
                if line.is_due():
                    line.draw(_arena_line(arena))
        finally:
            line.clear()
    return ExitStatus.OK


def run_bots(arguments: argparse.Namespace) -> ExitStatus:
    """Play until the arena closes, or the time is over.

    Raises:
        TurbosockError: no bot could come in, or the last one was lost.
    """
    from turbosock.examples.arena.bot import Swarm

    with Interrupt() as interrupt, Loop(Config(tls=tls_config(arguments))) as loop:
        swarm = Swarm(loop, arguments.url, arguments.count, seed=_seed(arguments))
        line = StatusLine(sys.stderr)
        end_ns = _end_ns(arguments)
        try:
            while swarm.open and not interrupt.asked and (left_ns := end_ns - SYSTEM_CLOCK.now_ns()) > 0:
                swarm.turn(min(_LOOK_S, left_ns / NS_PER_S))
                if line.is_due():
                    line.draw(f"{swarm.playing} of {arguments.count} bots play, {swarm.snapshots:,} snapshots")
        finally:
            line.clear()
        say(f"{swarm.snapshots:,} snapshots\n")
    if swarm.errors and not swarm.open:
        raise swarm.errors[-1]
    return ExitStatus.OK


def _seed(arguments: argparse.Namespace) -> int:
    seed: int | None = arguments.seed
    return random.getrandbits(32) if seed is None else seed


def _end_ns(arguments: argparse.Namespace) -> float:
    limit_s: float | None = arguments.seconds
    return float("inf") if limit_s is None else SYSTEM_CLOCK.now_ns() + limit_s * NS_PER_S


def _certificate(arguments: argparse.Namespace, files: ExitStack) -> TlsServerConfig | None:
    """What to show, made on the spot where that is asked for, in files that `files` ends; None for plain http."""
    if arguments.cert is not None:
        return TlsServerConfig(TlsCertificate(arguments.cert, arguments.key))
    if arguments.key is not None:
        raise InvalidOption("--key without --cert: a key is nothing without its certificate; give both")
    if not arguments.tls:
        return None
    made = make_self_signed(*dict.fromkeys(("localhost", "127.0.0.1", arguments.host)))
    say("the certificate was made for this run: browsers warn of it\n")
    return TlsServerConfig(made.write(files.enter_context(tempfile.TemporaryDirectory(prefix="turbosock-"))))


def _where(arena: Arena, host: str) -> str:
    """What to open in a browser; no browser opens the address that stands for every address."""
    every = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host)
    if every is None:
        return arena.url
    port = arena.url.rstrip("/").rpartition(":")[2]
    return f"{arena.url.partition('://')[0]}://{every}:{port}/, and at port {port} of this machine's other addresses"


def _arena_line(arena: Arena) -> str:
    ticks = arena.ticks
    return (
        f"{len(arena.world.players)} play, {len(arena.sessions)} connected; "
        f"tick {ticks.number:,}, {time_text(ticks.late_s)} late, {ticks.missed} missed"
    )
