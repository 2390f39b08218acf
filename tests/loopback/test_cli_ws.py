"""`turbosock ws` against servers that play a script: what is sent and printed, and how it ends."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from signal import SIGINT
from typing import NamedTuple, Protocol

import pytest

from support.scripted_server import Script, Step, answer, await_close, close, read_head, scripted, send, stall
from support.websocket_server import (
    BINARY,
    CLOSE,
    TEXT,
    Frame,
    accept,
    close_frame,
    echo,
    expect_silence,
    fields_of,
    note_frame,
    note_until_close,
    send_frame,
    server_frame,
)
from turbosock.cli.exit_status import ExitStatus
from turbosock.cli.main import main
from turbosock.cli.ws import TYPIST

COMMAND = [sys.executable, "-m", "turbosock", "ws"]
GUARD_S = 20


class Ended(NamedTuple):
    """What a run has printed, its status, and the requests that its server read."""

    stdout: bytes
    stderr: bytes
    returncode: int
    requests: list[bytes]


class Run(Protocol):
    """`turbosock ws` in this process against a script; `typed` is its input, None one that does not end."""

    def __call__(self, script: Script, *options: str, typed: bytes | None = b"") -> Ended: ...


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Run:
    def ws(script: Script, *options: str, typed: bytes | None = b"") -> Ended:
        reading, writing = os.pipe()
        with scripted(script) as server, open(reading) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            if typed is not None:
                os.write(writing, typed)
                os.close(writing)
            try:
                status = main(["ws", server.url("/").replace("http", "ws"), *options])
            finally:
                if typed is None:
                    os.close(writing)
            for thread in threading.enumerate():
                if thread.name == TYPIST:
                    thread.join(GUARD_S)
        return Ended(*capfdbinary.readouterr(), status, server.requests)

    return ws


def test_lines_are_sent_and_messages_printed() -> None:
    with scripted((accept(), echo)) as server:
        done = subprocess.run(
            [*COMMAND, server.url("/").replace("http", "ws")],
            input="one\r\ntwo é\n\nlast without an end".encode(),
            capture_output=True, timeout=GUARD_S, check=False,
        )  # fmt: skip
    assert (done.stdout.decode(), done.stderr, done.returncode) == ("one\ntwo é\n\nlast without an end\n", b"", 0)


def test_message_is_a_line_that_nothing_in_it_can_break(run: Run) -> None:
    data = server_frame(TEXT, b"a\nb\x1b[2J\xc2\x9b") + server_frame(BINARY, b"a\\\n\x00\xff") + close_frame()
    done = run((accept(), send(data), note_until_close([])))
    assert done.stdout == b"a\\nb\\x1b[2J\\x9b\na\\\\\\x0a\\x00\\xff\n"


def test_lines_are_sent_as_binary_messages_where_that_is_asked_for(run: Run) -> None:
    seen: list[Frame] = []
    script = (accept(), note_frame(seen), note_until_close(seen), send(close_frame()))
    assert run(script, "--binary", "--wait", "0", typed=b"\xff\n").returncode == 0
    assert seen == [(BINARY, b"\xff"), (CLOSE, b"\x03\xe8")]


def test_options_reach_the_opening(run: Run) -> None:
    done = run(
        (accept(b"Sec-WebSocket-Protocol: b\r\n"), note_until_close([]), send(close_frame())),
        "-v", "--subprotocol", "a", "--subprotocol", "b", "--origin", "http://o", "--compressed", "--wait", "0",
        "-H", "X-Own: yes", "-u", "user:pw",
    )  # fmt: skip
    fields = fields_of(done.requests[0])
    assert fields[b"sec-websocket-protocol"] == b"a, b" and fields[b"origin"] == b"http://o"
    assert fields[b"x-own"] == b"yes" and fields[b"authorization"] == b"Basic dXNlcjpwdw=="
    assert b"permessage-deflate" in fields[b"sec-websocket-extensions"]
    assert done.returncode == 0
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith("* open after ") and lines[0].endswith(", subprotocol b")
    assert lines[1] == "* closed with 1000"


def test_count_ends_it(run: Run) -> None:
    script = (accept(), send(server_frame(TEXT, b"x") * 10), note_until_close([]), send(close_frame()))
    done = run(script, "-n", "2", typed=None)
    assert (done.stdout, done.returncode) == (b"x\nx\n", 0)


@pytest.mark.parametrize("option", [("--wait", "60"), ("--count", "2")])
def test_answer_comes_before_the_close_behind_an_input_that_has_ended(run: Run, option: tuple[str, str]) -> None:
    seen: list[Frame] = []
    answers = server_frame(TEXT, b"x") + server_frame(TEXT, b"y") + close_frame()
    done = run((accept(), note_frame(seen), expect_silence, send(answers)), *option, typed=b"a\n")
    assert (done.stdout, done.stderr, done.returncode, seen) == (b"x\ny\n", b"", 0, [(TEXT, b"a")])


@pytest.mark.parametrize("wait", ["0", "0.01"])
def test_silence_behind_an_input_that_has_ended_closes_it(run: Run, wait: str) -> None:
    seen: list[Frame] = []
    assert run((accept(), note_until_close(seen), send(close_frame())), "--wait", wait, typed=b"a\n").returncode == 0
    assert seen == [(TEXT, b"a"), (CLOSE, b"\x03\xe8")]


@pytest.mark.parametrize(
    ("steps", "status", "words"),
    [
        ((accept(), send(close_frame(1001)), note_until_close([])), ExitStatus.OK, b""),
        ((accept(), send(close_frame(4001, b"go away")), note_until_close([])), ExitStatus.NETWORK, b"4001, 'go away'"),
        ((accept(), send(b"\x83\x00"), note_until_close([])), ExitStatus.PROTOCOL, b"reserved opcode"),
        (
            (accept(), send(server_frame(BINARY, bytes(11))), note_until_close([])),
            ExitStatus.LIMIT,
            b"--max-message=10",
        ),
        ((accept(), close), ExitStatus.NETWORK, b"without a word"),
        ((read_head, answer(b"no", b"HTTP/1.1 403 No\r\n"), await_close), ExitStatus.HTTP_STATUS, b"403 No"),
        ((read_head, send(b"HTTP/1.1 101 No\r\n\r\n"), await_close), ExitStatus.PROTOCOL, b"Upgrade"),
        ((accept(), stall), ExitStatus.TIMEOUT, b"--timeout"),
    ],
)
def test_end_is_told_by_the_status(run: Run, steps: tuple[Step, ...], status: ExitStatus, words: bytes) -> None:
    timeout = "0.2" if status is ExitStatus.TIMEOUT else "10"
    done = run(steps, "--max-message", "10", "-m", timeout, typed=None)
    assert done.returncode == status
    assert words in done.stderr and done.stderr.count(b"\n") == bool(words)


def test_end_of_the_time_tells_the_peer_and_waits_for_no_answer(run: Run) -> None:
    seen: list[Frame] = []
    done = run((accept(), note_until_close(seen), await_close), "-m", "0.2", typed=None)
    assert done.returncode == ExitStatus.TIMEOUT
    assert seen == [(CLOSE, b"\x03\xe9")]


@pytest.mark.parametrize(
    "script", [(read_head, answer(b"no", b"HTTP/1.1 404 Not Found\r\n")), (read_head, close)], ids=["refused", "closed"]
)
def test_failed_opening_names_the_url_of_the_websocket(script: Script, capfd: pytest.CaptureFixture[str]) -> None:
    with scripted(script) as server:
        url = server.url("/chat").replace("http", "ws")
        assert main(["ws", url]) != ExitStatus.OK
    assert capfd.readouterr().err.startswith(f"turbosock: GET {url}: ")


def test_url_of_requests_is_refused_with_a_hint(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["ws", "https://host/"]) == ExitStatus.USAGE
    assert "write wss://" in capfd.readouterr().err


def test_interrupt_ends_it_quietly_and_tells_the_peer() -> None:
    seen: list[Frame] = []
    with scripted((accept(), send_frame(TEXT, b"x"), note_until_close(seen), send(close_frame(1001)))) as server:
        process = subprocess.Popen(
            [*COMMAND, server.url().replace("http", "ws")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        with process:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.readline() == b"x\n"
            process.send_signal(SIGINT)
            assert process.wait(GUARD_S) == ExitStatus.INTERRUPTED
            assert process.stderr.read() == b"turbosock: interrupted\n"
    assert seen == [(CLOSE, b"\x03\xe9")]


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal."""
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def test_terminal_is_a_conversation_that_ctrl_d_ends(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    with scripted((accept(), echo)) as server:
        process = subprocess.Popen([*COMMAND, server.url().replace("http", "ws")], stdin=theirs, stdout=subprocess.PIPE)
        with process:
            assert process.stdout is not None
            for line in (b"hello\n", b"again\n"):
                os.write(ours, line)
                assert process.stdout.readline() == line
            os.write(ours, b"\x04")
            assert process.wait(GUARD_S) == 0
            assert process.stdout.read() == b""
