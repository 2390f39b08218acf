#!/usr/bin/env python3
"""Autobahn|Testsuite against turbosock's WebSockets, at either end: every case, over ws and wss.

    python tools/autobahn/run.py client [--tls] [--cases 1.* 7.*] [--output DIRECTORY]
    python tools/autobahn/run.py server [--tls] [--cases 1.* 7.*] [--output DIRECTORY]

The suite plays every peer there is: a server to our blocking client (`wstest -m fuzzingserver`), or a client to a
listener of our ticking Loop (`wstest -m fuzzingclient`), which it meets with compression and without. It runs under
Python 2.7 in an environment of its own, which is made the first time: `virtualenv` below 20.16 is needed for that, and
a python2.7, looked for in TURBOSOCK_PYTHON2, the path and pyenv. Each case is a WebSocket that sends back what it
receives until the suite closes it; what it thinks of that is read from its report, which stays in the output directory.

It fails where a case fails, or was not played. A case may be NON-STRICT only where EXPLAINED says why.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

import turbosock
from turbosock.tls.selfsigned import make_self_signed

SUITE = "autobahntestsuite==25.10.1"
AGENT = "turbosock"
# The listener that does not compress.
PLAIN_AGENT = "turbosock-plain"
START_S = 60.0
# Between two bytes of the suite's client; then it is taken for stuck, and its report will lack what it did not play.
STUCK_S = 600.0
# The suite's longest cases take minutes under Python 2.7; between two bytes it never waits long.
CASE_S = 300.0
MAX_MESSAGE = 64 << 20
# Whole windows: to an offer of a smaller one for the client the suite answers with a larger one, which RFC 7692
# (§7.1.2.2) forbids, and which is refused.
DEFLATE = turbosock.DeflateOptions(server_max_window_bits=15, client_max_window_bits=15)
GOOD = frozenset(("OK", "INFORMATIONAL", "UNIMPLEMENTED"))
# Behaviour that the suite calls NON-STRICT, by the end that is ours and by case, with the reason for it.
_ONE_READ = (
    "a message and a violation came in one read: the connection fails in that step (RFC 6455 §7.1.7), the program is "
    "given the message and then CLOSED, and what it would have answered is not sent any more"
)
EXPLAINED: dict[str, dict[str, str]] = {
    "client": {},
    # The same cases in pieces, 3.4, 4.1.5 and 4.2.5, depend on how many of them one read brings.
    "server": dict.fromkeys(
        ("3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"), _ONE_READ
    ),
}


class Unavailable(Exception):
    """The suite cannot be had here."""


def python2() -> str:
    """A Python 2.7.

    Raises:
        Unavailable: there is none.
    """
    candidates = [
        os.environ.get("TURBOSOCK_PYTHON2"),
        *sorted(map(str, Path.home().glob(".pyenv/versions/2.7*/bin/python2.7"))),
    ]
    candidates.append(shutil.which("python2.7"))
    for path in candidates:
        if path and subprocess.run([path, "-c", "import ssl"], capture_output=True, check=False).returncode == 0:
            return path
    raise Unavailable("no python2.7: install one (pyenv install 2.7.18) and name it in TURBOSOCK_PYTHON2")


def suite(directory: Path) -> Path:
    """The `wstest` of an environment in `directory`, made if it is not there.

    Raises:
        Unavailable: it cannot be made.
    """
    wstest = directory / "bin" / "wstest"
    if not wstest.exists():
        try:
            subprocess.run([sys.executable, "-m", "virtualenv", "-q", "-p", python2(), directory], check=True)
            subprocess.run([directory / "bin" / "pip", "install", "-q", SUITE], check=True)
        except subprocess.CalledProcessError as error:
            shutil.rmtree(directory, ignore_errors=True)
            raise Unavailable(f"the suite cannot be installed: {error}") from error
    return wstest


@contextlib.contextmanager
def fuzzing_server(wstest: Path, output: Path, cases: list[str], tls: bool) -> Iterator[str]:
    """Run the suite's server; the URL it listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}"
    spec: dict[str, object] = {"url": url, "outdir": str(output), "cases": cases, "exclude-cases": []}
    # Its directory of web pages cannot be switched off, only moved to a port that nobody uses.
    spec |= {"exclude-agent-cases": {}, "webport": 0}
    if tls:
        # Its options for these two go nowhere.
        certificate = make_self_signed("127.0.0.1").write(output)
        spec |= {"key": str(certificate.key_file), "cert": str(certificate.cert_file)}
    (output / "spec.json").write_text(json.dumps(spec))
    command = [str(wstest), "-m", "fuzzingserver", "-s", str(output / "spec.json"), "-u", "0"]
    with open(output / "wstest.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=output)
    try:
        _await_port(port, process)
        yield url
    finally:
        process.terminate()
        process.wait()


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise Unavailable("the suite's server did not start; see wstest.log")


def play_all(wstest: Path, output: Path, cases: list[str], tls: bool) -> None:
    """Play every case with the suite's server."""
    config = turbosock.Config(trust_env=False)
    if tls:
        config = turbosock.Config(trust_env=False, tls=turbosock.TlsConfig(verify=False))
    with fuzzing_server(wstest, output, cases, tls) as url, turbosock.Client(config) as client:
        play(client, url)


def play(client: turbosock.Client, url: str) -> None:
    """Play the cases one after another."""
    with client.websocket(f"{url}/getCaseCount") as ws:
        count = int(ws.recv(timeout=CASE_S))
    for case in range(1, count + 1):
        query = urllib.parse.urlencode({"case": case, "agent": AGENT})
        echo(client, f"{url}/runCase?{query}")
        if case % 25 == 0 or case == count:
            print(f"{case} of {count}", flush=True)
    with client.websocket(f"{url}/updateReports?agent={AGENT}") as ws:
        list(ws)


def echo(client: turbosock.Client, url: str) -> None:
    """Send back what comes, until the end."""
    with client.websocket(url, max_message=MAX_MESSAGE, deflate=DEFLATE, timeout=CASE_S) as ws:
        try:
            while True:
                view = ws.recv_view(timeout=CASE_S)
                ws.send(str(view, "utf-8") if ws.received_text else view)
        except turbosock.WebSocketClosed:
            # How it came about is what the suite judges.
            return


def fuzzed_server(wstest: Path, output: Path, cases: list[str], tls: bool) -> None:
    """Let the suite's client play every case with two listeners of one Loop: one compresses, the other does not.

    Raises:
        Unavailable: the suite's client failed.
    """
    certificate = make_self_signed("127.0.0.1").write(output) if tls else None
    files = None if certificate is None else turbosock.TlsServerConfig(certificate)
    with turbosock.Loop(turbosock.Config(trust_env=False)) as loop:
        servers = []
        for agent, deflate in ((AGENT, DEFLATE), (PLAIN_AGENT, None)):
            listener = loop.listen(
                ("127.0.0.1", 0),
                protocol="websocket",
                tls=files,
                deflate=deflate,
                max_message=MAX_MESSAGE,
                quota=4 * MAX_MESSAGE,
                max_unsent=MAX_MESSAGE,
                message_timeout_s=CASE_S,
            )
            servers.append({"agent": agent, "url": listener.url, "options": {"version": 18}})
        spec = {"servers": servers, "outdir": str(output), "cases": cases, "exclude-cases": []}
        (output / "spec.json").write_text(json.dumps({**spec, "exclude-agent-cases": {}}))
        with open(output / "wstest.log", "wb") as log:
            command = [str(wstest), "-m", "fuzzingclient", "-s", str(output / "spec.json"), "-u", "0"]
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=output)
        try:
            tick_until_end(loop, process)
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait()
        if process.returncode:
            raise Unavailable(f"the suite's client ended with {process.returncode}; see wstest.log")


def tick_until_end(loop: turbosock.Loop, process: subprocess.Popen[bytes]) -> None:
    """Send back what comes, until the suite has ended."""
    opened = 0
    last = time.monotonic()
    while process.poll() is None:
        result = loop.poll(timeout=0.1)
        now = time.monotonic()
        if result.bytes_in or result.bytes_out:
            last = now
        elif now - last > STUCK_S:
            return
        for event in loop.events:
            ws = event.connection
            assert isinstance(ws, turbosock.WebSocketConnection), "the listeners have no others"
            if event.kind is turbosock.EventKind.OPEN:
                # What had no room yet.
                ws.user = deque()
                opened += 1
                if opened % 50 == 0:
                    print(f"{opened} WebSockets", flush=True)
            elif event.kind is turbosock.EventKind.MESSAGE:
                if ws.user or ws.send(event.data) is turbosock.Send.FULL:
                    data = event.data
                    ws.user.append(data if isinstance(data, str) else bytes(data))
                    ws.pause()
            elif event.kind is turbosock.EventKind.WRITABLE:
                while ws.user and ws.send(ws.user[0]) is not turbosock.Send.FULL:
                    ws.user.popleft()
                if not ws.user:
                    ws.resume()


def judge(output: Path, agents: tuple[str, ...], explained: dict[str, str]) -> list[str]:
    """What is wrong, a line for each case."""
    index = json.loads((output / "index.json").read_text())
    wrong = []
    for agent in agents:
        print(agent)
        wrong += [f"{agent} {line}" for line in judge_agent(index.get(agent, {}), explained)]
    played = {agent: len(index.get(agent, {})) for agent in agents}
    if len(set(played.values())) > 1 or not all(played.values()):
        wrong.append(f"not every case was played: {played}")
    return wrong


def judge_agent(index: dict[str, dict[str, str]], explained: dict[str, str]) -> list[str]:
    """What is wrong with one of our ends, and what the suite thought of it, counted."""
    wrong = []
    counts: Counter[str] = Counter()
    for case, result in sorted(index.items(), key=lambda item: [int(part) for part in item[0].split(".")]):
        for what in ("behavior", "behaviorClose"):
            verdict = result[what]
            counts[f"{what}: {verdict}"] += 1
            if verdict == "NON-STRICT" and case in explained:
                print(f"{case} is NON-STRICT: {explained[case]}")
            elif verdict not in GOOD:
                wrong.append(f"{case}: {what} is {verdict}; see {result['reportfile']}")
    for name, count in sorted(counts.items()):
        print(f"{count:>5}  {name}")
    return wrong


def main() -> int:
    """Run the suite; 0 where every case passed."""
    parser = argparse.ArgumentParser(description="Autobahn|Testsuite against turbosock")
    parser.add_argument("side", choices=["client", "server"], help="which end is ours")
    parser.add_argument("--tls", action="store_true", help="over wss")
    parser.add_argument("--cases", nargs="+", default=["*"], help="which, as the suite names them; * is all")
    parser.add_argument("--output", type=Path, default=Path(".autobahn/report"), help="where the report stays")
    parser.add_argument(
        "--environment", type=Path, default=Path(".autobahn/python2"), help="where the suite is installed"
    )
    arguments = parser.parse_args()
    output = (arguments.output / arguments.side / ("wss" if arguments.tls else "ws")).resolve()
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    agents: tuple[str, ...] = (AGENT,)
    try:
        wstest = suite(arguments.environment.resolve())
        if arguments.side == "server":
            agents = (AGENT, PLAIN_AGENT)
            fuzzed_server(wstest, output, arguments.cases, arguments.tls)
        else:
            play_all(wstest, output, arguments.cases, arguments.tls)
    except Unavailable as error:
        print(f"autobahn: {error}", file=sys.stderr)
        return 2
    wrong = judge(output, agents, EXPLAINED[arguments.side])
    for line in wrong:
        print(line)
    print("every case passed" if not wrong else f"{len(wrong)} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
