"""`turbosock top` against a listener: a line a second for a pipe, a table on a terminal, and how it ends."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from signal import SIGINT

import pytest

from support.peers import unused_port
from support.running_listener import RunningListener
from support.terminal import FakeTerminal
from turbosock import HttpExchange
from turbosock.cli.exit_status import ExitStatus
from turbosock.cli.main import main

GUARD_S = 20.0


def answer(exchange: HttpExchange) -> None:
    exchange.respond(404 if exchange.request.path == "/missing" else 200, {}, b"hello")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with RunningListener(answer) as listener:
        yield listener.listener.url


def test_duration_ends_it_with_a_summary(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["top", f"{url}/", f"{url}/missing", "--duration", "0.4", "-c", "4", "--memory"]) == ExitStatus.OK
    said = capfd.readouterr().out
    assert re.match(r"turbosock top  \d+ s  4 in flight  [1-9][\d,]* answered  0 failed\n", said)
    assert re.search(r"\nstatuses     (200|404): [\d,]+, (200|404): [\d,]+\n", said)
    assert re.search(r"\nmemory       .* traced", said)
    assert "\x1b" not in said


def test_terminal_gets_a_table_that_is_drawn_over(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = FakeTerminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("turbosock.cli.top.command._INTERVAL_NS", 1_000_000)
    assert main(["top", f"{url}/", "--duration", "0.3"]) == ExitStatus.OK
    assert terminal.getvalue().count("turbosock top") > 1
    assert "\x1b[5F" in terminal.getvalue()


def test_nothing_but_failures_is_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    where = f"http://127.0.0.1:{unused_port()}/"
    assert main(["top", where, "--duration", "0.2", "-c", "1"]) == ExitStatus.CONNECT
    captured = capfd.readouterr()
    assert "errors       connect: 1\n" in captured.out
    assert captured.err.startswith(f"turbosock: GET {where}: could not connect")


def test_interrupt_ends_it_with_a_summary_and_success(url: str) -> None:
    command = [sys.executable, "-m", "turbosock", "top", f"{url}/", "--rate", "100"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(SIGINT)
        rest, said = process.communicate(timeout=GUARD_S)
    assert re.match(r"\d+ s  \d+/s  p50 ", line)
    assert "turbosock top  " in rest
    assert (process.returncode, said) == (ExitStatus.OK, "")


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["top"], "URL"),
        (["top", "host/path"], "url"),
        (["top", "http://host/", "-c", "0"], "give a number from 1"),
        (["top", "http://host/", "--rate", "0"], "--rate"),
        (["top", "http://host/", "--duration", "never"], "--duration"),
    ],
)
def test_wrong_argument_is_named(argv: list[str], named: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == ExitStatus.USAGE
    assert named in capfd.readouterr().err
