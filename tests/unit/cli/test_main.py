"""The command without a network: usage, help, version, and the ways to end."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from turbosock.cli import arena, audit, get, sse, ws
from turbosock.cli.demo import command as demo
from turbosock.cli.exit_status import ExitStatus
from turbosock.cli.main import main, make_parser
from turbosock.cli.top import command as top
from turbosock.errors import InvalidOption
from turbosock.version import __version__


def test_main_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"turbosock {__version__}\n"


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"], ["get", "--help"], ["sse", "--help"], ["ws", "--help"], ["top", "--help"], ["demo", "--help"],
        ["arena", "--help"], ["arena", "bot", "--help"],
    ],
)  # fmt: skip
def test_main_help_tells_the_exit_statuses(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert "exit status:" in said
    assert " 130  interrupted" in said


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        ([], "COMMAND"),
        (["fetch"], "COMMAND"),
        (["get"], "URL"),
        (["get", "host/path"], "url"),
        (["get", "ftp://host/"], "ftp"),
        (["get", "http://host/\udcff"], "URL"),
        (["get", "http://host/", "http://other/"], "too many"),
        (["get", "http://host/", "--timeout", "0"], "--timeout"),
        (["get", "http://host/", "--timeout", "soon"], "--timeout"),
        (["get", "http://host/", "--time", "1"], "--time"),
        (["get", "http://host/", "-H", "Accept"], "-H"),
        (["get", "http://host/", "-H", "Bad Name: x"], "headers"),
        (["get", "http://host/", "-H", "A: b\r\nC: d"], "headers"),
        (["get", "http://host/", "-X", "GE T"], "method"),
        (["get", "http://host/", "-I", "-X", "PUT"], "-X"),
        (["get", "http://host/", "-I", "-d", "x"], "-d"),
        (["sse", "http://host/", "-n", "0"], "give a number from 1"),
        (["ws", "ws://host/", "-n", "0"], "give a number from 1"),
        (["demo", "--seconds", "0"], "--seconds"),
        (["demo", "--seconds", "3600"], "--seconds"),
        (["arena", "--port", "65536"], "--port"),
        (["arena", "--port", "-1"], "--port"),
        (["arena", "--bots", "1001"], "--bots"),
        (["arena", "--key", "site.key"], "--key without --cert"),
        (["arena", "--cert", "no such file"], "no such file"),
        (["arena", "--port", "0", "--scoreboard", "ftp://host/"], "ftp"),
        (["arena", "robot"], "bot"),
        (["arena", "bot"], "URL"),
        (["arena", "bot", "127.0.0.1:8360"], "url"),
        (["arena", "bot", "http://host/", "--count", "x"], "--count"),
        (["arena", "bot", "https://host/", "--key", "site.key"], "--key without --cert"),
    ],
)
def test_main_wrong_argument_is_named_with_status_2(
    argv: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == ExitStatus.USAGE
    captured = capsys.readouterr()
    assert named in captured.err
    assert captured.out == ""


def test_main_refused_request_leaves_no_file(tmp_path: Path) -> None:
    assert main(["get", "ftp://host/", "-o", os.fspath(tmp_path / "file")]) == ExitStatus.USAGE
    assert os.listdir(tmp_path) == []


def test_main_output_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = os.fspath(tmp_path / "missing" / "file")
    assert main(["get", "http://host.invalid/", "-o", missing]) == ExitStatus.OUTPUT
    assert capsys.readouterr().err == f"turbosock: {missing}: No such file or directory; make the directory first\n"


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (KeyboardInterrupt(), ExitStatus.INTERRUPTED, "turbosock: interrupted\n"),
        (BrokenPipeError(), ExitStatus.PIPE_CLOSED, ""),
        (InvalidOption("url: bad"), ExitStatus.USAGE, "turbosock: url: bad\n"),
        (
            OSError(28, "No space left", "out"),
            ExitStatus.OUTPUT,
            "turbosock: out: No space left; free some space, or choose another disk\n",
        ),
        (OSError(5, "Input/output error"), ExitStatus.OUTPUT, "turbosock: Input/output error\n"),
    ],
)
def test_main_command_that_raises_ends_with_its_status(
    raised: BaseException,
    status: ExitStatus,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(arguments: argparse.Namespace) -> ExitStatus:
        raise raised

    monkeypatch.setattr(get, "run", fail)
    assert main(["get", "http://host/"]) == status
    assert capsys.readouterr().err == said


def test_main_with_both_streams_closed_still_tells_by_its_status() -> None:
    command = '"$0" -m turbosock get -v ftp://host/ -o /dev/null >&- 2>&-'
    assert subprocess.run(["/bin/sh", "-c", command, sys.executable]).returncode == ExitStatus.USAGE


def test_main_help_of_the_arena_teaches_by_examples_that_parse(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["arena", "--help"]) == ExitStatus.OK
    said = capsys.readouterr().out
    assert said.startswith("usage: turbosock arena [options]\n       turbosock arena bot URL [options]\n")
    examples = [line.split("  ")[1].split() for line in arena.EXAMPLES.splitlines() if "  turbosock" in line]
    assert len(examples) == 6
    for program, *argv in examples:
        assert program == "turbosock"
        assert make_parser().parse_strictly(argv).run in (arena.run, arena.run_bots)


def test_main_help_has_an_example_of_each_command_that_parses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == ExitStatus.OK
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  turbosock ")]
    commands = [shlex.split(line.strip().partition("   ")[0])[1:] for line in lines]
    assert [argv[0] for argv in commands] == ["get", "sse", "ws", "top", "arena", "audit", "demo"]
    for argv in commands:
        assert make_parser().parse_strictly(argv).run is not None


@pytest.mark.parametrize("module", [get, sse, ws, top, arena, audit, demo])
def test_main_examples_of_a_command_parse_and_are_in_its_help(
    module: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    command = module.EXAMPLES.partition("turbosock ")[2].split()[0]
    assert main([command, "--help"]) == ExitStatus.OK
    assert f"\nexamples:\n{module.EXAMPLES}\n" in capsys.readouterr().out
    lines = [line for line in module.EXAMPLES.splitlines() if "turbosock " in line]
    assert lines
    for line in lines:
        argv = shlex.split(line[line.index("turbosock ") :].partition("   ")[0])[1:]
        assert argv[0] == command and make_parser().parse_strictly(argv).run is not None


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        ([], "turbosock"),
        (["help"], "turbosock"),
        (["get"], "turbosock get"),
        (["get", "http://host/", "--slow"], "turbosock get"),
        (["ws", "ws://host/", "one", "two"], "turbosock ws"),
        (["arena", "bot", "http://host/", "-x"], "turbosock arena bot"),
    ],
)
def test_main_wrong_argument_is_told_in_one_line_with_the_way_to_the_help(
    argv: list[str], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == ExitStatus.USAGE
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"{command}: ")
    assert said.endswith(f"; {command} --help says what it takes")
