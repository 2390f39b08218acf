"""main: the `turbosock` command, from arguments to an exit status.

Every way to end is one row of `exit_status.py`: errors become one line on standard error, an interrupt and a closed
pipe end quietly. A traceback is a bug.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final, Protocol, cast

from turbosock.cli import exit_status
from turbosock.cli.arguments import Parser
from turbosock.cli.complaint import complaint
from turbosock.cli.exit_status import ExitStatus, status_of
from turbosock.cli.input_file import Unreadable
from turbosock.errors import TurbosockError
from turbosock.version import __version__


class _Command(Protocol):
    """The module of a command. Its examples parse, and are lines of their own in its help."""

    @property
    def EXAMPLES(self) -> str: ...  # noqa: N802  # a constant of a module

    def add_options(self, parser: Parser) -> None: ...


# Name, module, and what it does.
_COMMANDS: Final = (
    ("get", "turbosock.cli.get", "fetch one URL"),
    ("sse", "turbosock.cli.sse", "follow a stream of server-sent events"),
    ("ws", "turbosock.cli.ws", "open a WebSocket, send lines and print messages"),
    ("top", "turbosock.cli.top.command", "keep requests running, and show rates, latencies and pools live"),
    ("arena", "turbosock.cli.arena", "serve a small game for many, which is played in a browser"),
    ("audit", "turbosock.cli.audit", "count what a request, message, event or tick takes from memory"),
    ("demo", "turbosock.cli.demo.command", "show the engine at work against a server of its own on loopback"),
)

# What to do about what the system says of a file.
_TO_READ: Final = {
    errno.ENOENT: "check the path",
    errno.EACCES: "let its owner give you the right to read it",
    errno.EISDIR: "give a file in it",
}
_TO_WRITE: Final = {
    errno.ENOENT: "make the directory first",
    errno.ENOTDIR: "give a path through directories",
    errno.EACCES: "choose a place that you may write to",
    errno.EROFS: "choose a place that you may write to",
    errno.EISDIR: "give the name of a file in it",
    errno.ENOSPC: "free some space, or choose another disk",
    errno.EDQUOT: "free some space, or choose another disk",
}


def make_parser(chosen: str | None = None) -> Parser:
    """The parser of the whole command line, or with the options of the chosen command alone.

    What another command needs is then not even imported, which would take a quarter of the time to begin.
    """
    modules = {
        name: cast(_Command, importlib.import_module(module)) for name, module, _ in _COMMANDS if chosen in (name, None)
    }
    epilog = f"exit status:\n{exit_status.table()}"
    firsts = "".join(f"{module.EXAMPLES.splitlines()[0]}\n" for module in modules.values())
    intro = f"examples, of which `turbosock COMMAND --help` has more:\n{firsts}\n"
    parser = Parser("turbosock", "Synchronous, zero-copy networking.", intro + epilog)
    parser.add_argument("--version", action="version", version=f"turbosock {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for name, _, what in _COMMANDS:
        description = f"{what[0].upper()}{what[1:]}."
        command = commands.add_parser(name, help=what, description=description)
        if name in modules:
            command.epilog = f"examples:\n{modules[name].EXAMPLES}\n{epilog}"
            modules[name].add_options(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv`, or with the process's own arguments; the exit status."""
    if sys.stderr is None:
        # The process was started with its standard error closed; for the life of the process, so nobody closes this.
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # as said
    try:
        words = sys.argv[1:] if argv is None else argv
        chosen = words[0] if words and words[0] in {name for name, _, _ in _COMMANDS} else None
        arguments = make_parser(chosen).parse_strictly(words)
        status: int = arguments.run(arguments)
    except SystemExit as end:
        # argparse has said what there is to say: usage, help or version.
        status = end.code if isinstance(end.code, int) else ExitStatus.OK
    except TurbosockError as error:
        status = _complain(status_of(error), complaint(error))
    except KeyboardInterrupt:
        status = _complain(ExitStatus.INTERRUPTED, "interrupted")
    except BrokenPipeError:
        status = ExitStatus.PIPE_CLOSED
    except Unreadable as error:
        status = _complain(ExitStatus.INPUT, _of_file(error, _TO_READ))
    except OSError as error:
        status = _complain(ExitStatus.OUTPUT, _of_file(error, _TO_WRITE))
    return _flush(status)


def _of_file(error: OSError, hints: dict[int, str]) -> str:
    """Which file, what the system says of it, and what to do."""
    where = f"{error.filename}: " if error.filename else ""
    hint = hints.get(error.errno or 0)
    return f"{where}{error.strerror or error}{f'; {hint}' if hint else ''}"


def _complain(status: ExitStatus, what: str) -> ExitStatus:
    try:
        sys.stderr.write(f"turbosock: {what}\n")
    except OSError:
        # Nobody is left to be told; the status still tells.
        pass
    return status


def _flush(status: int) -> int:
    """Write out what the streams still hold, so that a closed pipe shows here and not as the interpreter ends."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError as error:
            # What is left in the stream can go nowhere; without this the interpreter tries again, and complains.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
            if status == ExitStatus.OK:
                if isinstance(error, BrokenPipeError):
                    status = ExitStatus.PIPE_CLOSED
                else:
                    error.filename = stream.name
                    status = _complain(ExitStatus.OUTPUT, _of_file(error, _TO_WRITE))
    return status
