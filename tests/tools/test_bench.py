"""The benchmarks' own arithmetic, and one contestant run end to end: a figure is worth what its harness is worth."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import peers
from support.bench import BENCH, Load
from turbosock.tls.selfsigned import make_self_signed

STRACE = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 51.20    0.003312           3      1001           sendto
 40.10    0.002101           2      1003         2 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    0.005413           2      2004         2 total
"""


def test_strace_table_gives_calls_by_name_without_errors_or_total(load: Load) -> None:
    assert load("calls").parse_strace(STRACE) == {"sendto": 1001, "recvfrom": 1003}


def test_allocations_of_a_run_are_told_by_kind_with_the_frames_that_a_tally_subtracts(load: Load) -> None:
    pytest.importorskip("memray")

    def inner() -> None:
        bytes(4096)

    def run(count: int) -> None:
        for _ in itertools.repeat(None, count):
            inner()

    found = load("work").allocations(run, 100)
    assert found["system"] == pytest.approx(1, abs=0.1)
    assert found["frames"] == pytest.approx(1, abs=0.1)
    assert found["python"] == pytest.approx(2, abs=0.1)
    [first, *_] = load("work").places(run, 100)["system"]
    assert first[0] == pytest.approx(1, abs=0.1)
    assert first[3].endswith(" inner")


def test_growth_of_a_leak_is_counted_in_bytes(load: Load) -> None:
    kept: list[bytes] = []

    def leak(count: int) -> None:
        kept.extend(bytes(1000) for _ in range(count))

    grown = load("work").growth(leak, 100)
    assert grown["traced"] >= 100_000
    assert load("work").growth(lambda count: None, 100)["traced"] < 1000


@pytest.mark.parametrize(("text", "seconds"), [("980.00ms", 0.98), ("1.10s", 1.1), ("1.00m", 60.0), ("5.00us", 5e-6)])
def test_wrk_time_in_each_unit_is_in_seconds(load: Load, text: str, seconds: float) -> None:
    assert load("workloads.http1_concurrent").parse_seconds(text) == pytest.approx(seconds)


def test_requirement_lines_leave_comments_and_blanks_out(load: Load) -> None:
    assert load("environment").requirement_lines("# why\n\na >= 1\n  b\n") == ["a >= 1", "b"]


def test_ratio_is_the_median_of_the_rounds_ratios(load: Load) -> None:
    assert load("rates").ratio([10.0, 40.0, 90.0], [10.0, 20.0, 30.0]) == 2.0


def test_task_with_an_authority_asks_over_https(load: Load) -> None:
    plain = load("task").Task("w", "c", "time", "127.0.0.1", 80, 0.1, 1, 1, -1)
    assert plain.url("/a") == "http://127.0.0.1:80/a"
    assert dataclasses.replace(plain, ca_file="/ca.pem").url("/a") == "https://127.0.0.1:80/a"


def test_contestants_environment_names_neither_proxies_nor_authorities(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("KEPT", "here")
    variables = load("environment").variables()
    assert "elsewhere" not in variables.values()
    assert variables["KEPT"] == "here"


def test_tally_leaves_the_harness_and_the_tracers_frames_out(load: Load) -> None:
    names = ["system", "system_bytes", "large_frames", "large_frame_bytes"]
    names += ["python", "python_bytes", "frames", "frame_bytes"]
    whole = dict(zip(names, (6.0, 600.0, 2.0, 200.0, 40.0, 4000.0, 10.0, 1000.0), strict=True))
    empty = dict(zip(names, (1.0, 100.0, 1.0, 100.0, 2.0, 200.0, 1.0, 100.0), strict=True))
    own = load("tallies").tally(whole, empty)
    assert (own.system, own.system_bytes) == (4.0, 400.0)
    assert (own.python, own.python_bytes, own.frames, own.frame_bytes) == (38.0, 3800.0, 9.0, 900.0)
    assert own.net == (29.0, 2900.0)


def test_table_as_text_and_markdown_holds_every_cell_and_note(load: Load) -> None:
    table = load("report").Table("title", ["", "rate"], [["bare", "1,000"], ["ours", "9"]], ["A note."])
    assert table.text() == "title\n       rate\n----  -----\nbare  1,000\nours      9\nA note."
    assert table.markdown() == "**title**\n\n|  | rate |\n| --- | ---: |\n| bare | 1,000 |\n| ours | 9 |\n\nA note."


def test_promises_name_contestants_that_exist(load: Load) -> None:
    promises, rates = load("promises"), {rate.name: rate for rate in load("rates").RATES}
    for promise in promises.RATIOS:
        contestants = load(f"workloads.{promise.workload}").CONTESTANTS
        assert {promise.ours, promise.other} <= contestants.keys()
        assert promise.in_flight in rates[promise.workload].in_flight
    sequential = load("workloads.http1_sequential").CONTESTANTS
    assert {budget.contestant for budget in promises.BUDGETS} <= sequential.keys()
    assert set(load("tallies").SEQUENTIAL) <= sequential.keys()
    over_tls = load("tallies").OVER_TLS
    assert {*over_tls, *over_tls.values()} <= load("workloads.https_sequential").CONTESTANTS.keys()


def test_repeated_step_with_a_wrong_body_is_refused(load: Load) -> None:
    with pytest.raises(RuntimeError, match="99 bytes"):
        load("task").repeated(lambda: 99)


def run_contestant(task: object, path: Path | None = None) -> dict[str, object]:
    """What the contestant's process answers; `path` comes first among its modules."""
    assert dataclasses.is_dataclass(task)
    assert not isinstance(task, type)
    environment = {**os.environ, "PYTHONPATH": os.fspath(path or "")}
    command = [sys.executable, os.fspath(BENCH / "contestant.py"), json.dumps(dataclasses.asdict(task))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_contestant_with_a_fixed_count_makes_that_many_requests(load: Load, tmp_path: Path) -> None:
    fixed = 'location = /fixed { return 200 "' + "x" * 100 + '"; }\n'
    log = "access_log " + os.fspath(tmp_path / "log") + ";\n"
    with peers.nginx(tmp_path / "nginx", locations=fixed + log) as peer:
        task = load("task").Task("http1_sequential", "bare", "time", peer.host, peer.port, 0.1, 20, 1, -1)
        answer = run_contestant(task)
    assert answer["count"] == 20
    assert isinstance(answer["seconds"], float)
    assert answer["seconds"] > 0
    requests = [line for line in (tmp_path / "log").read_text().splitlines() if "/fixed" in line]
    # One to learn the head's length, one to check the body, twenty measured.
    assert len(requests) == 22


@pytest.fixture(scope="module")
def tls_peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    """nginx with the locations that the TLS workloads ask for, and nothing large."""
    directory = tmp_path_factory.mktemp("tls")
    make_self_signed("127.0.0.1").write(directory)
    body = "x" * 99
    fixed = f'location = /fixed {{ return 200 "x{body}"; }}\n'
    session = f'location = /session {{ return 200 "${{ssl_session_reused}}{body}"; }}\n'
    with peers.nginx(directory / "nginx", big_bytes=1000, locations=fixed + session, tls=directory) as peer:
        yield peer


@pytest.mark.parametrize(
    ("workload", "contestant"),
    [
        ("https_sequential", "bare"),
        ("https_sequential", "turbosock get"),
        ("https_sequential", "turbosock stream, pyOpenSSL"),
        ("https_handshakes", "turbosock, resumed"),
        ("https_handshakes", "turbosock, full"),
    ],
)
def test_contestant_over_tls_gets_the_whole_body(
    load: Load, tls_peer: peers.Peer, workload: str, contestant: str
) -> None:
    make_task = load("task").Task
    where = (tls_peer.host, tls_peer.port)
    task = make_task(workload, contestant, "time", *where, 0.1, 3, 1, -1, os.fspath(tls_peer.ca_file or ""))
    # A body of another length, or the wrong kind of session, ends the process badly.
    assert run_contestant(task, BENCH.parent.parent)["count"] == 3


def test_contestant_over_tls_that_does_not_trust_the_server_fails(
    load: Load, tls_peer: peers.Peer, tmp_path: Path
) -> None:
    make_self_signed("127.0.0.1").write(tmp_path)
    ca_file = os.fspath(tmp_path / "ca.pem")
    for contestant in ("bare", "turbosock get", "http.client"):
        task = load("task").Task(
            "https_sequential", contestant, "time", tls_peer.host, tls_peer.port, 0.1, 1, 1, -1, ca_file
        )
        with pytest.raises(Exception, match=r"(?i)verif|untrusted|trust"):
            load("workloads.https_sequential").CONTESTANTS[contestant](task)


def test_contestant_that_resumes_against_its_name_is_refused(load: Load) -> None:
    checked = load("workloads.https_handshakes").checked
    with pytest.raises(RuntimeError, match=r"b'r'.*not b'\.'"):
        checked(lambda: b"r" * 100, resume=False)
    with pytest.raises(RuntimeError, match=r"b'\.'.*not b'r'"):
        checked(lambda: b"." * 100, resume=True)


def test_bench_server_over_tls_makes_a_certificate_that_its_tasks_trust(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench_module = load("bench")
    monkeypatch.setattr(bench_module, "BIG_BYTES", 1000)
    bench = bench_module.Bench(Path(sys.executable), 1, 0.1, True)
    with bench.server("same core", tls=True) as peer:
        task = bench.task(peer, "https_handshakes", "bare, full", count=2)
        assert bench.run(task)["count"] == 2


def test_contestant_without_its_library_names_what_is_missing(load: Load, tmp_path: Path) -> None:
    (tmp_path / "pycurl.py").write_text('raise ImportError("not here", name="pycurl")\n')
    task = load("task").Task("http1_sequential", "pycurl", "time", "127.0.0.1", 1, 0.1, 1, 1, -1)
    assert run_contestant(task, tmp_path) == {"missing": "pycurl"}


def test_unknown_workload_is_refused_with_the_known_ones() -> None:
    done = subprocess.run([sys.executable, os.fspath(BENCH / "run.py"), "nothing"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "no workload 'nothing'" in done.stderr
    assert "http1_sequential" in done.stderr


def test_sink_answers_when_the_whole_body_is_there_and_ends_with_its_input() -> None:
    command = [sys.executable, os.fspath(BENCH / "sink_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with socket.create_connection(("127.0.0.1", int(process.stdout.readline())), 10) as client:
            for _ in range(2):
                client.sendall(b"PUT / HTTP/1.1\r\nContent-Length: 300000\r\n\r\n" + bytes(299_999))
                client.settimeout(0)
                with pytest.raises(BlockingIOError):
                    client.recv(1)
                client.settimeout(10)
                client.sendall(b"x")
                assert client.recv(100) == b"HTTP/1.1 204 No Content\r\n\r\n"
        process.stdin.close()
        assert process.wait(10) == 0
