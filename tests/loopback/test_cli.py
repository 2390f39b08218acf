"""The command against real servers: nginx, http.server, and peers that break the rules; the demo against its own."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from support.peers import SMALL_BODY, Peer, big_body, http_server, nginx, unused_port
from support.proxies import accept_socks5
from support.running_listener import RunningListener
from support.scripted_server import answer, await_close, close, read_request, scripted
from support.terminal import FakeTerminal
from support.tls import Authority
from turbosock.cli.demo import command
from turbosock.cli.demo import server as demo_server
from turbosock.cli.demo.leg import BODY, Leg, Outcome, Stage
from turbosock.cli.demo.secure_threads import SecureThreadsLeg
from turbosock.cli.demo.server import DemoServer
from turbosock.cli.demo.threads import THREADS, ThreadsLeg
from turbosock.cli.exit_status import ExitStatus
from turbosock.cli.main import main
from turbosock.client.progress import StatusLine
from turbosock.config import TlsServerConfig
from turbosock.errors import ConnectError, ProtocolError, ReadError, TlsVerificationError
from turbosock.tls.selfsigned import make_self_signed

BIG_BYTES = 3 * 1024 * 1024 + 17
COMMAND = [sys.executable, "-m", "turbosock"]
# The environment of a command whose streams are buffered, as they are by default.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with nginx(tmp_path_factory.mktemp("nginx"), big_bytes=BIG_BYTES) as running:
        yield running


@contextlib.contextmanager
def canned(answer: bytes) -> Iterator[str]:
    """The URL of a server that sends `answer` to its one client, whatever that says, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join(10)
        assert not thread.is_alive()


def test_get_writes_the_body_and_nothing_else(peer: Peer, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["get", peer.url("/100")]) == ExitStatus.OK
    assert capfdbinary.readouterr() == (SMALL_BODY, b"")


def test_get_from_http_server_writes_the_body(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (tmp_path / "file").write_bytes(big_body(100_000))
    with http_server(tmp_path) as simple:
        assert main(["get", simple.url("/file")]) == ExitStatus.OK
    assert capfdbinary.readouterr() == (big_body(100_000), b"")


def test_get_from_http_1_0_server_writes_the_body(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (tmp_path / "file").write_bytes(b"old protocol")
    with http_server(tmp_path, protocol="HTTP/1.0") as simple:
        assert main(["get", simple.url("/file")]) == ExitStatus.OK
    assert capfdbinary.readouterr() == (b"old protocol", b"")


def test_get_over_a_unix_socket_writes_the_body(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with nginx(tmp_path, unix=True) as local:
        assert local.socket_path is not None
        url = f"http+unix://{quote(os.fspath(local.socket_path), safe='')}/100"
        assert main(["get", url]) == ExitStatus.OK
    assert capfdbinary.readouterr() == (SMALL_BODY, b"")


def test_get_to_a_file_writes_it_whole_and_says_nothing(
    peer: Peer, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    target = tmp_path / "file"
    assert main(["get", peer.url("/big"), "-o", os.fspath(target)]) == ExitStatus.OK
    assert target.read_bytes() == big_body(BIG_BYTES)
    assert os.listdir(tmp_path) == ["file"]
    assert capfdbinary.readouterr() == (b"", b"")


def test_get_output_dash_is_standard_output(peer: Peer, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["get", peer.url("/100"), "-o", "-"]) == ExitStatus.OK
    assert capfdbinary.readouterr().out == SMALL_BODY


@pytest.mark.parametrize(
    ("path", "last"), [("/big", "100% [##############################] 3.0 MiB of 3.0 MiB"), ("/chunked", "100 B")]
)
def test_get_to_a_file_on_a_terminal_ends_with_a_whole_progress_line(
    path: str, last: str, peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    terminal = FakeTerminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["get", peer.url(path), "-o", os.fspath(tmp_path / "file")]) == ExitStatus.OK
    assert terminal.getvalue().endswith("\n")
    assert terminal.getvalue().splitlines()[-1].rpartition("\x1b[K")[2].startswith(last)


def test_get_to_standard_output_draws_no_progress(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    terminal = FakeTerminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["get", peer.url("/big")]) == ExitStatus.OK
    assert terminal.getvalue() == ""


def test_get_head_to_a_file_draws_no_progress(peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = FakeTerminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["get", "-I", peer.url("/big"), "-o", os.fspath(tmp_path / "file")]) == ExitStatus.OK
    assert terminal.getvalue() == ""
    assert (tmp_path / "file").read_bytes().startswith(b"HTTP/1.1 200 OK\r\n")


def test_get_verbose_shows_both_heads_and_the_timing_without_credentials(
    peer: Peer, capfd: pytest.CaptureFixture[str]
) -> None:
    url = peer.url("/100").replace("http://", "http://user:pass%77ord@")
    assert main(["get", "-v", url, "-H", "Cookie: session=s3cr3t", "-H", "X-Plain: shown"]) == ExitStatus.OK
    said = capfd.readouterr().err
    lines = said.splitlines()
    assert lines[0] == "> GET /100 HTTP/1.1"
    assert f"> Host: {peer.host}:{peer.port}" in lines
    assert "> X-Plain: shown" in lines
    assert "> Authorization: (hidden)" in lines
    assert "> Cookie: (hidden)" in lines
    assert "< HTTP/1.1 200 OK" in lines
    assert "< Content-Length: 100" in lines
    assert lines[-1].startswith("* head after ")
    assert ": 100 B of body" in lines[-1]
    assert "s3cr3t" not in said
    assert "password" not in said
    # "user:password" as basic authentication writes it.
    assert "dXNlcj" not in said


def test_get_head_prints_the_head(peer: Peer, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["get", "-I", peer.url("/big")]) == ExitStatus.OK
    head = capfdbinary.readouterr().out
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {BIG_BYTES}\r\n".encode() in head
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("options", "method", "length"),
    [
        ([], "GET", ""),
        (["-d", "a=1"], "POST", "3"),
        (["-d", "a=1", "-d", "b=2"], "POST", "7"),
        (["-d", ""], "POST", "0"),
        (["-X", "DELETE"], "DELETE", ""),
        (["-X", "PUT", "-d", "ü"], "PUT", "2"),
    ],
)
def test_get_method_and_data_are_sent(
    options: list[str], method: str, length: str, peer: Peer, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["get", peer.url("/reflect"), *options]) == ExitStatus.OK
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == f"{method} /reflect HTTP/1.1"
    assert lines[2] == f"length: {length}"


def test_get_data_arrives_as_it_was_given(peer: Peer) -> None:
    assert main(["get", peer.url("/upload/data"), "-X", "PUT", "-d", "x=ü\udcff"]) == ExitStatus.OK
    assert (peer.uploads / "data").read_bytes() == "x=ü".encode() + b"\xff"


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["-d", "a=1"], "> Content-Type: application/x-www-form-urlencoded"),
        (["-d", "{}", "-H", "content-type: application/json"], "> content-type: application/json"),
    ],
)
def test_get_data_has_one_content_type(
    options: list[str], shown: str, peer: Peer, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["get", "-v", peer.url("/reflect"), *options]) == ExitStatus.OK
    said = capfd.readouterr().err.splitlines()
    assert [line for line in said if line.lower().startswith("> content-type")] == [shown]


def test_get_status_400_and_above_with_fail_writes_nothing(
    peer: Peer, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert main(["get", peer.url("/missing")]) == ExitStatus.OK
    assert capfdbinary.readouterr().out == b"missing\n"
    assert main(["get", "--fail", peer.url("/missing")]) == ExitStatus.HTTP_STATUS
    captured = capfdbinary.readouterr()
    assert captured.out == b""
    assert b"404" in captured.err
    target = tmp_path / "file"
    target.write_bytes(b"old")
    assert main(["get", "--fail", peer.url("/missing"), "-o", os.fspath(target)]) == ExitStatus.HTTP_STATUS
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_get_status_below_400_with_fail_writes_the_body(peer: Peer, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["get", "--fail", peer.url("/100")]) == ExitStatus.OK
    assert capfdbinary.readouterr().out == SMALL_BODY


def test_get_goes_through_proxies_and_shows_no_credential(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted((read_request, answer(b"proxied"), await_close)) as proxy:
        url = f"http://alice:hunter2@{proxy.host}:{proxy.port}"
        assert main(["get", "-v", "-x", url, "http://origin.example/"]) == ExitStatus.OK
        monkeypatch.setenv("http_proxy", url)
        assert main(["get", "http://origin.example/"]) == ExitStatus.OK
        assert main(["get", "-x", "", "http://origin.invalid/"]) == ExitStatus.RESOLVE
        assert main(["get", "--noproxy", "invalid", "http://origin.invalid/"]) == ExitStatus.RESOLVE
        assert main(["get", "-x", "ftp://alice:hunter2@a", "http://origin.example/"]) == ExitStatus.USAGE
    shown = capfdbinary.readouterr()
    assert shown.out == b"proxied" * 2
    assert b"GET http://origin.example/ HTTP/1.1" in shown.err
    assert b"hunter2" not in shown.err
    assert base64.b64encode(b"alice:hunter2") not in shown.err


def test_get_through_a_chain_tells_of_the_proxy_that_is_away(capfd: pytest.CaptureFixture[str]) -> None:
    with scripted((accept_socks5, close)) as near:
        hops = [f"socks5h://{near.host}:{near.port}", "http://far.example:3128"]
        arguments = ["get", "-x", hops[0], "--proxy", hops[1], "https://origin.example/"]
        assert main(arguments) == ExitStatus.PROXY
    # Whether the nearest one closed the way, or the next one did, cannot be told from here.
    assert "far.example:3128" in capfd.readouterr().err


def test_get_refused_connection_has_its_status(capfd: pytest.CaptureFixture[str]) -> None:
    port = unused_port()
    assert main(["get", f"http://user:s3cr3t@127.0.0.1:{port}/"]) == ExitStatus.CONNECT
    said = capfd.readouterr().err
    assert f"GET http://127.0.0.1:{port}/" in said
    assert "s3cr3t" not in said


def test_get_unknown_host_has_its_status(capfd: pytest.CaptureFixture[str]) -> None:
    # RFC 6761 §6.4: no resolver knows a name under .invalid.
    assert main(["get", "http://nobody.invalid/"]) == ExitStatus.RESOLVE
    assert "nobody.invalid" in capfd.readouterr().err


def test_get_silent_server_ends_at_the_timeout(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        status = main(["get", url, "--timeout", "0.05", "-o", os.fspath(tmp_path / "file")])
    assert status == ExitStatus.TIMEOUT
    assert " 0.05 s" in capfd.readouterr().err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"garbage\r\n\r\n", ExitStatus.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", ExitStatus.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 65536 + b"\r\n\r\n", ExitStatus.LIMIT),
        (b"", ExitStatus.NETWORK),
    ],
)
def test_get_broken_answer_has_its_status_and_leaves_no_file(answer: bytes, status: ExitStatus, tmp_path: Path) -> None:
    with canned(answer) as url:
        assert main(["get", url, "-o", os.fspath(tmp_path / "file")]) == status
    assert os.listdir(tmp_path) == []


def test_get_broken_answer_on_a_terminal_leaves_the_message_on_its_own_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = FakeTerminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with canned(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort") as url:
        assert main(["get", url, "-o", os.fspath(tmp_path / "file")]) == ExitStatus.PROTOCOL
    assert terminal.getvalue().splitlines()[-1].startswith("turbosock: GET ")


def test_get_as_a_process_writes_the_body(peer: Peer) -> None:
    done = subprocess.run([*COMMAND, "get", peer.url("/100")], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (ExitStatus.OK, SMALL_BODY, b"")


def test_get_slow_body_is_written_as_it_arrives() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen(
            [*COMMAND, "get", f"http://127.0.0.1:{listener.getsockname()[1]}/"],
            stdout=subprocess.PIPE,
            bufsize=0,
            env=BUFFERED,
        )
        assert process.stdout is not None
        connection, _ = listener.accept()
        with process.stdout, connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")
            readable, _, _ = select.select([process.stdout], [], [], 10)
            assert readable
            assert process.stdout.read(6) == b"one"
            connection.sendall(b"two")
            assert process.stdout.read() == b"two"
        assert process.wait(10) == ExitStatus.OK


def test_help_into_a_closed_pipe_is_quiet() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run([*COMMAND, "--help"], stdout=write_end, stderr=subprocess.PIPE, env=BUFFERED)
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (ExitStatus.PIPE_CLOSED, b"")


def test_get_closed_pipe_is_quiet(peer: Peer) -> None:
    process = subprocess.Popen(
        [*COMMAND, "get", peer.url("/big")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    assert process.stdout is not None and process.stderr is not None
    with process.stdout, process.stderr:
        assert process.stdout.read(10) == big_body(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(10) == ExitStatus.PIPE_CLOSED


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_get_full_disk_has_its_status(unbuffered: str, peer: Peer) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, "get", peer.url("/100")], stdout=full, stderr=subprocess.PIPE, env=environment)
    assert done.returncode == ExitStatus.OUTPUT
    assert (
        done.stderr == b"turbosock: standard output: No space left on device; free some space, or choose another disk\n"
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
def test_help_onto_a_full_disk_has_its_status() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, "--help"], stdout=full, stderr=subprocess.PIPE, env=BUFFERED)
    assert done.returncode == ExitStatus.OUTPUT
    assert done.stderr == b"turbosock: <stdout>: No space left on device; free some space, or choose another disk\n"


def test_get_interrupted_ends_with_130_and_leaves_no_file(peer: Peer, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "get", "-v", peer.url("/slow"), "-o", os.fspath(tmp_path / "file")], stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    with process.stderr:
        # The head of the answer is shown: what comes is a body of 16 seconds.
        for line in process.stderr:
            if line == b"<\n":
                break
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"turbosock: interrupted\n"
        assert process.wait(10) == ExitStatus.INTERRUPTED
    assert os.listdir(tmp_path) == []


# The demo

ROWS = (
    "8 threads on one Client",
    "8 threads over https",
    "60 Hz tick, 100 requests in flight",
    "one stream of events",
    "one WebSocket, echoed",
    "allocations per request",
)
SHORT_SECONDS = 0.4


def _stage(url: str, secure_url: str = "", ca_pem: bytes = b"") -> Stage:
    return Stage(url, secure_url, ca_pem, SHORT_SECONDS / 2, StatusLine(io.StringIO()))


def test_demo_prints_a_table_with_every_row_and_nothing_for_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--seconds", str(SHORT_SECONDS)]) == ExitStatus.OK
    captured = capfd.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert captured.err.splitlines() == [f"{title} ..." for title in ROWS]
    _, table, notes = re.split(r"^-+\n", captured.out, flags=re.MULTILINE)
    rows = [re.split(r"  +", line) for line in table.splitlines()]
    assert [row[0] for row in rows if row[0]] == list(ROWS)
    values = [(row[1], row[2]) for row in rows]
    assert [what for what, _ in values[:11]] == [
        *["requests per second"] * 3, "tick p50", "tick p99", "tick max", "late frames",
        "events per second", "the same in a Loop", "messages there and back", "the same in a Loop",
    ]  # fmt: skip
    assert all(int(value.replace(",", "").removesuffix("/s")) > 0 for _, value in values[7:11])
    assert all(int(value.replace(",", "")) > 0 for what, value in values if what == "requests per second")
    assert all(re.fullmatch(r"[\d.]+ (µs|ms|s)", value) for what, value in values if what.startswith("tick "))
    allocations = dict(values[11:])
    assert len(allocations) in (2, 4)
    assert all(float(value) < 1000 for value in allocations.values())
    assert ("memray" in notes) and ("A tick is" in notes) and ("https: " in notes)


def test_demo_on_a_terminal_shows_progress_and_takes_it_away(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    terminal = FakeTerminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["demo", "--seconds", str(SHORT_SECONDS)]) == ExitStatus.OK
    drawn = terminal.getvalue()
    assert "8 threads on one Client: " in drawn
    assert "60 Hz tick: " in drawn
    assert drawn.endswith("\r\x1b[K")
    assert "requests per second" in capfd.readouterr().out


class FailingLeg:
    """A leg whose requests fail."""

    title = "a leg that fails"
    timed = True

    def run(self, stage: Stage) -> Outcome:
        raise ReadError("the connection was reset")


def test_demo_leg_that_fails_is_named_and_no_table_is_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "LEGS", (FailingLeg(),))
    assert main(["demo"]) == ExitStatus.NETWORK
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "a leg that fails: failed\n" in captured.err
    assert "the connection was reset" in captured.err


@pytest.mark.parametrize("leg", command.LEGS, ids=lambda leg: type(leg).__name__)
def test_demo_leg_refused_by_its_server_fails(leg: Leg) -> None:
    port = unused_port()
    with pytest.raises(ConnectError):
        leg.run(_stage(f"http://127.0.0.1:{port}/", f"https://127.0.0.1:{port}/", Authority().pem))


@pytest.mark.parametrize("leg", command.LEGS, ids=lambda leg: type(leg).__name__)
def test_demo_leg_with_wrong_answers_fails(leg: Leg, peer: Peer, tmp_path: Path) -> None:
    made = make_self_signed("127.0.0.1")
    wrong = RunningListener(
        lambda exchange: exchange.respond(200, None, SMALL_BODY), TlsServerConfig(made.write(tmp_path))
    )
    with wrong, pytest.raises(ProtocolError, match="expected"):
        leg.run(_stage(peer.url("/100"), wrong.url(), made.ca_pem))


def test_demo_leg_over_https_trusts_the_given_authority_alone(tmp_path: Path) -> None:
    made = make_self_signed("127.0.0.1")
    right = RunningListener(lambda exchange: exchange.respond(200, None, BODY), TlsServerConfig(made.write(tmp_path)))
    with right:
        outcome = SecureThreadsLeg().run(_stage("", right.url(), made.ca_pem))
        assert int(outcome.figures[0].value.replace(",", "")) > 0
        with pytest.raises(TlsVerificationError):
            SecureThreadsLeg().run(_stage("", right.url(), Authority().pem))


def test_demo_threads_that_fail_later_fail_the_leg() -> None:
    right = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            # One connection warms up; then one for each thread.
            for answer in (right, *[b"garbage\r\n\r\n"] * THREADS):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(ProtocolError):
            ThreadsLeg().run(_stage(f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        thread.join(10)
        assert not thread.is_alive()


def test_demo_server_ends_with_its_block() -> None:
    with DemoServer() as server:
        url = server.url
        assert main(["get", url, "-o", os.devnull]) == ExitStatus.OK
    assert main(["get", url, "-o", os.devnull]) == ExitStatus.CONNECT


def test_demo_server_that_cannot_start_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_server, "_SCRIPT", "raise SystemExit('no such luck')")
    assert main(["demo"]) == ExitStatus.CONNECT
    assert "ended as it started" in capfd.readouterr().err


def test_demo_interrupted_ends_at_once_with_130() -> None:
    process = subprocess.Popen(
        [*COMMAND, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None and process.stderr is not None
    with process.stdout, process.stderr:
        assert process.stderr.readline() == f"{ROWS[0]} ...\n".encode()
        # As a terminal does it: to all of the group.
        os.killpg(process.pid, signal.SIGINT)
        # Both streams end only when the server, which has the same standard error, has ended too.
        assert process.stderr.read() == b"turbosock: interrupted\n"
        assert process.stdout.read() == b""
        assert process.wait(10) == ExitStatus.INTERRUPTED
