"""The workloads of HTTP/2: what they count, the path with delay that one of them runs on, and a contestant of each."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import peers
from support.bench import BENCH, Load
from support.seeds import seeds
from turbosock.tls.selfsigned import make_self_signed

BODY_BYTES = 3 * 1024 * 1024
DELAY_S = 0.05


@pytest.fixture
def load(load: Load) -> Load:
    """With a smaller body."""
    load("task").BIG_BYTES = BODY_BYTES  # type: ignore[attr-defined]  # the module goes again
    return load


# h2load's account of itself.

H2LOAD = """\
starting benchmark...
Application protocol: h2

finished in 980.00ms, 54511.22 req/s, 8.01MB/s
requests: 54511 total, 54611 started, 54511 done, 54511 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 54511 2xx, 0 3xx, 0 4xx, 0 5xx
"""


def test_h2load_tells_its_requests_and_seconds(load: Load) -> None:
    timed = load("workloads.h2_multiplexed").parse_h2load(H2LOAD)
    assert (timed.count, timed.seconds) == (54511, pytest.approx(0.98))


@pytest.mark.parametrize(
    "said", ["", H2LOAD.replace("54511 succeeded, 0 failed", "54510 succeeded, 1 failed"), H2LOAD.replace("54511", "0")]
)
def test_h2load_with_failures_or_without_figures_is_no_measurement(load: Load, said: str) -> None:
    with pytest.raises(RuntimeError, match="h2load"):
        load("workloads.h2_multiplexed").parse_h2load(said)


# Threads: what counts as right.


def answer_to(path: str) -> bytes:
    return path.encode() + b" 7 HTTP/2.0"


def test_thread_that_gets_its_own_answers_counts_them_as_good(load: Load) -> None:
    found = load("workloads.h2_threads").ask(answer_to, 3, 20)
    assert (found.good, found.mixed, found.errors, found.connections) == (20, 0, 0, {b"7"})


@pytest.mark.parametrize(
    "body", [b"", b"/own/04/000000 7 HTTP/2.0", b"/own/03/00000 7 HTTP/2.0", b"/own/03/000000 7 HTTP/1.1"]
)
def test_answer_to_another_path_or_by_another_version_is_mixed_up(load: Load, body: bytes) -> None:
    found = load("workloads.h2_threads").ask(lambda path: body, 3, 1)
    assert (found.good, found.mixed, found.errors) == (0, 1, 0)


def test_thread_counts_errors_goes_on_and_gives_up_in_the_end(load: Load) -> None:
    module = load("workloads.h2_threads")
    asked = list[str]()

    def fetch(path: str) -> bytes:
        asked.append(path)
        if len(asked) != 2:
            raise ValueError(f"number {len(asked)}")
        return answer_to(path)

    found = module.ask(fetch, 0, 1000)
    assert (found.good, found.errors, found.first) == (1, module.MAX_ERRORS, "ValueError: number 1")
    assert len(asked) == module.MAX_ERRORS + 1


def test_threads_are_counted_together(load: Load) -> None:
    def swap(path: str) -> bytes:
        return b"/own/another 8 HTTP/2.0"

    answer = load("workloads.h2_threads").report([answer_to, answer_to, swap], 30)
    assert {key: answer[key] for key in ("asked", "good", "mixed", "errors", "connections")} == {
        "asked": 30,
        "good": 20,
        "mixed": 10,
        "errors": 0,
        "connections": 1,
    }


ROUND: dict[str, Any] = {
    "asked": 40,
    "good": 40,
    "mixed": 0,
    "errors": 0,
    "connections": 1,
    "seconds": 1.0,
    "cpu_s": 0.5,
    "first": "",
}


@pytest.mark.parametrize(
    ("other", "words"),
    [({}, "met"), ({"mixed": 1}, "NOT MET"), ({"errors": 1}, "NOT MET"), ({"connections": 2}, "NOT MET")],
)
def test_promise_of_threads_is_broken_by_one_round(load: Load, other: dict[str, Any], words: str) -> None:
    table, http2 = load("report").Table("", [""]), load("http2")
    http2.judge(table, {http2.OURS: [ROUND, {**ROUND, **other}]}, "two cores")
    assert str(table.notes[0]).endswith(f", {words}.")
    assert str(table.notes[1]).endswith("not measured.")


def test_rate_of_threads_is_of_good_answers_and_held_on_two_cores(load: Load) -> None:
    table, http2 = load("report").Table("", [""]), load("http2")
    answers = {http2.OURS: [ROUND], http2.THEIRS: [{**ROUND, "good": 0, "errors": 40, "first": "Broken: so"}]}
    http2.lay_out(table, answers)
    assert table.notes == [f"The first error of {http2.THEIRS}: Broken: so"]
    assert all(len(row) == len(table.rows[0]) for row in table.rows)
    http2.judge(table, answers, "two cores")
    assert str(table.notes[-1]).endswith("40.00, met.")
    http2.judge(table, answers, "same core")
    assert str(table.notes[-1]).endswith("here 40.00.")


def test_promises_of_http2_name_contestants_that_exist(load: Load) -> None:
    http2 = load("http2")
    assert http2.PARTS.keys() == load("workloads.h2_threads").REPORTS.keys()
    assert load("promises").HTTP2_BUDGET.contestant in load("workloads.h2_multiplexed").CONTESTANTS


# The path with delay.


@contextlib.contextmanager
def relayed(delay_s: float) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection through the relay: (who connected, who accepted)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        command = [
            sys.executable,
            os.fspath(BENCH / "relay_server.py"),
            *map(str, listener.getsockname()),
            f"{delay_s}",
        ]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            port = int(process.stdout.readline())
            with socket.create_connection(("127.0.0.1", port), 10) as near, listener.accept()[0] as far:
                far.settimeout(10)
                yield near, far
            process.stdin.close()
            assert process.wait(10) == 0


def test_relay_passes_bytes_on_both_ways_no_sooner_than_the_delay() -> None:
    with relayed(DELAY_S) as (near, far):
        for source, sink in ((near, far), (far, near)):
            start = time.monotonic()
            source.sendall(b"late")
            assert sink.recv(100) == b"late"
            assert time.monotonic() - start >= DELAY_S


def test_relay_takes_more_than_the_sockets_hold_before_any_is_due() -> None:
    body = random.Random(1).randbytes(8 * 1024 * 1024)
    with relayed(0.25) as (near, far):
        start = time.monotonic()
        # Nothing is read meanwhile, and no socket of this machine holds so much.
        near.sendall(body)
        near.shutdown(socket.SHUT_WR)
        got = bytearray()
        while data := far.recv(1024 * 1024):
            got += data
        assert time.monotonic() - start >= 0.25
        assert got == body
        # The other way is still there.
        far.sendall(b"answer")
        assert near.recv(100) == b"answer"


def test_relay_whose_one_half_breaks_off_ends_the_other() -> None:
    with relayed(0) as (near, far):
        near.sendall(b"x" * 100)
        assert far.recv(1) == b"x"
        # With bytes unread this is a reset.
        far.close()
        with contextlib.suppress(ConnectionError):
            assert near.recv(100) == b""


@pytest.mark.parametrize("seed", seeds(2))
def test_way_in_a_small_ring_keeps_the_bytes_in_order(load: Load, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    module = load("relay_server")
    monkeypatch.setattr(module, "ROOM", 1000)
    chooser = random.Random(seed)
    sent, got = bytearray(), bytearray()
    with contextlib.ExitStack() as stack:
        pairs = socket.socketpair() + socket.socketpair()
        for one in pairs:
            stack.enter_context(one)
            one.setblocking(False)
        near, source, sink, far = pairs
        way = module.Way(source, sink, 0)
        for _ in range(300):
            if len(sent) - way.filled < 10_000:
                piece = chooser.randbytes(chooser.randrange(1, 1500))
                near.send(piece)
                sent += piece
            while way.room and len(sent) > way.filled:
                way.take()
                assert 0 <= way.sent <= way.filled <= way.sent + 1000
                if chooser.random() < 0.3:
                    way.pass_on()
            if chooser.random() < 0.7:
                way.pass_on()
            with contextlib.suppress(BlockingIOError):
                got += far.recv(100_000)
        way.pass_on()
        near.close()
        while not way.heard_end:
            way.take()
            way.pass_on()
        with contextlib.suppress(BlockingIOError):
            while data := far.recv(100_000):
                got += data
    assert got == sent
    assert way.ended


# Contestants, each with a real server.


def kept(make: Callable[..., Any], made: contextlib.ExitStack) -> Callable[..., Any]:
    """`make`, whose objects are closed with `made`."""
    return lambda *arguments, **more: made.enter_context(make(*arguments, **more))


@pytest.fixture
def server(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[peers.Peer]:
    make_self_signed("127.0.0.1").write(tmp_path)
    bench = load("bench")
    libraries, locations = load("libraries"), f"{bench.FIXED}{bench.OWN} access_log {tmp_path}/log;"
    with (
        peers.nginx(tmp_path / "nginx", big_bytes=BODY_BYTES, locations=locations, tls=tmp_path, http2=True) as peer,
        contextlib.ExitStack() as made,
    ):
        # A contestant's process ends without closing what it made.
        for name in ("turbosock_client", "turbosock_loop"):
            monkeypatch.setattr(libraries, name, kept(getattr(libraries, name), made))
        yield peer


def task(load: Load, peer: peers.Peer, workload: str, contestant: str, **more: int) -> object:
    fields = {"count": 0, "in_flight": 1, "core": -1, **more}
    where = (peer.host, peer.port)
    return load("task").Task(workload, contestant, "time", *where, 0.1, **fields, ca_file=os.fspath(peer.ca_file or ""))


@pytest.mark.parametrize(
    ("workload", "contestant"),
    [
        ("h2_sequential", "turbosock get"),
        ("h2_download", "turbosock stream"),
        ("h2_download", "turbosock stream, HTTP/1.1"),
        ("h2_multiplexed", "turbosock loop"),
    ],
)
def test_contestant_over_http2_gets_the_whole_body(
    load: Load, server: peers.Peer, tmp_path: Path, workload: str, contestant: str
) -> None:
    contestants = load(f"workloads.{workload}").CONTESTANTS
    # A body of another length raises.
    contestants[contestant](task(load, server, workload, contestant, in_flight=10))(25)
    # A line has the request as "GET /fixed HTTP/2.0"; one asked whether the server is ready.
    lines = [line for line in (tmp_path / "log").read_text().splitlines() if "GET /ready" not in line]
    assert len(lines) >= 25
    assert all(("HTTP/1.1" if "HTTP/1.1" in contestant else "HTTP/2.0") in line for line in lines)


def test_threads_of_a_client_share_one_connection_and_get_their_own(load: Load, server: peers.Peer) -> None:
    reports = load("workloads.h2_threads").REPORTS
    answer = reports["turbosock get"](task(load, server, "h2_threads", "turbosock get", count=80, in_flight=8))
    assert {key: answer[key] for key in ("good", "mixed", "errors", "connections", "first")} == {
        "good": 80,
        "mixed": 0,
        "errors": 0,
        "connections": 1,
        "first": "",
    }


def test_rate_on_a_path_with_delay_gives_a_server_that_is_as_far_away(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench_module, rates = load("bench"), load("rates")
    monkeypatch.setattr(bench_module, "BIG_BYTES", 1000)
    bench = bench_module.Bench(Path(sys.executable), 1, 0.1, True)
    rate = rates.Rate("h2_download_delayed", "", tls=True, http2=True, delay_s=DELAY_S)
    with rate.peer(bench, "same core") as peer, peer.connect() as connection:
        start = time.monotonic()
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        # In plaintext, which is refused; and there and back.
        assert b"400" in connection.recv(1000)
        assert time.monotonic() - start >= 2 * DELAY_S
