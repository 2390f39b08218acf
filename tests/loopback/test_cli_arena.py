"""`turbosock arena` and `turbosock arena bot`, where it matters in a process of its own."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT

import pytest

from support.peers import unused_port
from support.running_arena import RunningArena
from support.terminal import FakeTerminal
from turbosock import Client, Config, HttpExchange, Loop, TlsConfig, TlsServerConfig, WebSocket
from turbosock.cli.exit_status import ExitStatus
from turbosock.cli.main import main
from turbosock.examples.arena.messages import read_snapshot
from turbosock.tls.selfsigned import make_self_signed

COMMAND = [sys.executable, "-m", "turbosock", "arena"]
GUARD_S = 60.0
ADDRESS = re.compile(
    r"the arena is open at (https?://127\.0\.0\.1:\d+/)(?:, and at port \d+ of [a-z' ]+)?; end it with ctrl-C\n"
)


@contextlib.contextmanager
def arena(*options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """An arena on a free port, and the address that it says."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            found = ADDRESS.fullmatch(line)
            assert found is not None, line
            yield process, found[1]
        finally:
            process.kill()


def watch(client: Client, url: str) -> WebSocket:
    """A WebSocket of somebody who looks on."""
    return client.websocket(url.replace("http", "ws", 1) + "socket")


def await_players(ws: WebSocket, count: int) -> None:
    """Return when so many play."""
    for message in ws:
        if isinstance(message, bytes) and len(read_snapshot(message).players) == count:
            return
    raise AssertionError("the arena has closed")


def test_arena_serves_the_page_and_its_bots_until_it_is_interrupted() -> None:
    with arena("--bots", "3", "--seed", "1") as (process, url), Client(Config(trust_env=False)) as client:
        assert b"<canvas" in client.get(url).content
        ws = watch(client, url)
        await_players(ws, 3)
        process.send_signal(SIGINT)
        for _ in ws:
            pass
        assert (ws.close_code, ws.close_reason) == (1001, "the arena closes")
        assert process.wait(GUARD_S) == ExitStatus.INTERRUPTED
        assert process.stderr is not None and process.stderr.read() == b"turbosock: interrupted\n"


def test_arena_ends_after_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["arena", "--port", "0", "--bots", "1", "--seconds", "0.2"]) == ExitStatus.OK
    assert ADDRESS.fullmatch(capsys.readouterr().out)


def test_arena_on_a_terminal_shows_how_it_is_and_takes_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = FakeTerminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["arena", "--port", "0", "--seconds", "0.2"]) == ExitStatus.OK
    assert "0 play, 0 connected; tick " in terminal.getvalue() and terminal.getvalue().endswith("\r\x1b[K")


def test_arena_makes_a_certificate_where_it_is_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = TlsConfig(verify=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with arena("--tls", "--bots", "2") as (process, url), Client(Config(trust_env=False, tls=tls)) as client:
        assert url.startswith("https://")
        with watch(client, url) as ws:
            assert ws.tls is not None
            await_players(ws, 2)
        # The key is on no disk any more.
        assert list(tmp_path.iterdir()) == []
        process.send_signal(SIGINT)
        process.wait(GUARD_S)
        assert process.stderr is not None and b"made for this run" in process.stderr.read()


def test_arena_shows_the_certificate_and_keeps_scores_where_it_is_told_to(tmp_path: Path) -> None:
    points: dict[str, int] = {}

    def answer(exchange: HttpExchange) -> None:
        if exchange.request.method == "POST":
            points.update(json.loads(exchange.request.content))
        exchange.respond(200, None, b"[]")

    made = make_self_signed("127.0.0.1")
    files = made.write(tmp_path)
    certificate = ("--cert", str(files.cert_file), "--key", str(files.key_file))
    with Loop() as loop:
        listener = loop.listen(("127.0.0.1", 0), handler=answer)
        with arena("--bots", "2", "--scoreboard", listener.url + "/", *certificate) as (_, url):
            with Client(Config(trust_env=False, tls=TlsConfig(ca_data=made.ca_pem))) as client:
                assert client.get(url).status_code == 200
            while not points:
                loop.poll(GUARD_S)
    assert points.keys() <= {"bot 1", "bot 2"}


def test_arena_at_every_address_says_one_that_a_browser_opens() -> None:
    with arena("--host", "0.0.0.0") as (_, url), Client(Config(trust_env=False)) as client:
        assert client.get(url).status_code == 200


def test_arena_that_cannot_listen_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["arena", "--port", str(taken.getsockname()[1])]) == ExitStatus.NETWORK
    assert "something listens there already" in capsys.readouterr().err


# Bots


def test_bots_play_for_their_time(capsys: pytest.CaptureFixture[str]) -> None:
    with RunningArena() as running:
        assert main(["arena", "bot", running.url, "--count", "4", "--seconds", "1", "--seed", "3"]) == ExitStatus.OK
    assert re.fullmatch(r"[\d,]+ snapshots\n", capsys.readouterr().err)


def test_bots_leave_in_good_order_when_the_arena_closes() -> None:
    with RunningArena() as running, Client(Config(trust_env=False)) as client, watch(client, running.url) as ws:

        def stop_when_they_play() -> None:
            await_players(ws, 4)
            running.stop()

        stopping = threading.Thread(target=stop_when_they_play)
        stopping.start()
        assert main(["arena", "bot", running.url, "--count", "4"]) == ExitStatus.OK
        stopping.join(GUARD_S)


def test_bots_that_are_interrupted_leave_in_good_order(capsys: pytest.CaptureFixture[str]) -> None:
    with RunningArena() as running, Client(Config(trust_env=False)) as client, watch(client, running.url) as ws:

        def interrupt_when_they_play() -> None:
            await_players(ws, 4)
            signal.pthread_kill(main_thread, SIGINT)

        main_thread = threading.get_ident()
        interrupting = threading.Thread(target=interrupt_when_they_play)
        interrupting.start()
        assert main(["arena", "bot", running.url, "--count", "4"]) == ExitStatus.INTERRUPTED
        interrupting.join(GUARD_S)
        await_players(ws, 0)
    assert capsys.readouterr().err.endswith(" snapshots\nturbosock: interrupted\n")


def test_bots_that_find_no_arena_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["arena", "bot", f"http://127.0.0.1:{unused_port()}/", "--count", "2"]) == ExitStatus.CONNECT
    assert "nothing listens there" in capsys.readouterr().err


def test_bots_do_not_trust_a_certificate_of_nobody_unless_they_are_told_to(tmp_path: Path) -> None:
    tls = TlsServerConfig(make_self_signed("127.0.0.1").write(tmp_path))
    with RunningArena(tls=tls) as running:
        assert main(["arena", "bot", running.url, "--count", "1"]) == ExitStatus.TLS
        assert main(["arena", "bot", running.url, "--count", "1", "--seconds", "0.5", "-k"]) == ExitStatus.OK
