#!/usr/bin/env python3
"""Autobahn|Testsuite against turbosock's WebSocket client: every case, with compression, over ws and wss.

    python tools/autobahn/run.py client [--tls] [--cases 1.* 7.*] [--output DIRECTORY]

The suite, a server that plays every peer there is (`wstest -m fuzzingserver`), runs under Python 2.7 in an environment
of its own, which is made the first time: `virtualenv` below 20.16 is needed for that, and a python2.7, looked for in
TURBOSOCK_PYTHON2, the path and pyenv. Each case is a WebSocket that sends back what it receives until the suite closes
it; what it thinks of that is read from its report, which stays in the output directory.

It fails where a case fails. A case may be NON-STRICT only where EXPLAINED says why.
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
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import turbosock
from turbosock.tls.selfsigned import make_self_signed

SUITE = "autobahntestsuite==25.10.1"
AGENT = "turbosock"
START_S = 60.0
# The suite's longest cases take minutes under Python 2.7; between two bytes it never waits long.
CASE_S = 300.0
MAX_MESSAGE = 64 << 20
# Whole windows: to an offer of a smaller one for the client the suite answers with a larger one, which RFC 7692
# (§7.1.2.2) forbids, and which is refused.
DEFLATE = turbosock.DeflateOptions(server_max_window_bits=15, client_max_window_bits=15)
GOOD = frozenset(("OK", "INFORMATIONAL", "UNIMPLEMENTED"))
# Behaviour that the suite calls NON-STRICT, by case, with the reason for it.
EXPLAINED: dict[str, str] = {}


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
    spec = {"url": url, "outdir": str(output), "cases": cases, "exclude-cases": [], "exclude-agent-cases": {}}
    # Its directory of web pages cannot be switched off, only moved to a port that nobody uses.
    (output / "spec.json").write_text(json.dumps({**spec, "webport": 0}))
    command = [str(wstest), "-m", "fuzzingserver", "-s", str(output / "spec.json"), "-u", "0"]
    if tls:
        certificate = make_self_signed("127.0.0.1").write(output)
        command += ["-k", str(certificate.key_file), "-c", str(certificate.cert_file)]
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


def play(client: turbosock.Client, url: str) -> int:
    """Play every case; how many there were."""
    with client.websocket(f"{url}/getCaseCount") as ws:
        count = int(ws.recv(timeout=CASE_S))
    for case in range(1, count + 1):
        query = urllib.parse.urlencode({"case": case, "agent": AGENT})
        echo(client, f"{url}/runCase?{query}")
        if case % 25 == 0 or case == count:
            print(f"{case} of {count}", flush=True)
    with client.websocket(f"{url}/updateReports?agent={AGENT}") as ws:
        list(ws)
    return count


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


def judge(output: Path) -> list[str]:
    """What is wrong, a line for each case."""
    index = json.loads((output / "index.json").read_text())[AGENT]
    wrong = []
    counts: Counter[str] = Counter()
    for case, result in sorted(index.items(), key=lambda item: [int(part) for part in item[0].split(".")]):
        for what in ("behavior", "behaviorClose"):
            verdict = result[what]
            counts[f"{what}: {verdict}"] += 1
            if verdict not in GOOD and not (verdict == "NON-STRICT" and case in EXPLAINED):
                wrong.append(f"{case}: {what} is {verdict}; see {result['reportfile']}")
    for name, count in sorted(counts.items()):
        print(f"{count:>5}  {name}")
    for case, reason in EXPLAINED.items():
        print(f"{case} is NON-STRICT: {reason}")
    return wrong


def main() -> int:
    """Run the suite; 0 where every case passed."""
    parser = argparse.ArgumentParser(description="Autobahn|Testsuite against turbosock")
    parser.add_argument("side", choices=["client"])
    parser.add_argument("--tls", action="store_true", help="over wss")
    parser.add_argument("--cases", nargs="+", default=["*"], help="which, as the suite names them; * is all")
    parser.add_argument("--output", type=Path, default=Path(".autobahn/report"), help="where the report stays")
    parser.add_argument(
        "--environment", type=Path, default=Path(".autobahn/python2"), help="where the suite is installed"
    )
    arguments = parser.parse_args()
    output = (arguments.output / ("wss" if arguments.tls else "ws")).resolve()
    output.mkdir(parents=True, exist_ok=True)
    try:
        wstest = suite(arguments.environment.resolve())
        with fuzzing_server(wstest, output, arguments.cases, arguments.tls) as url:
            config = turbosock.Config(trust_env=False)
            if arguments.tls:
                config = turbosock.Config(trust_env=False, tls=turbosock.TlsConfig(verify=False))
            with turbosock.Client(config) as client:
                play(client, url)
    except Unavailable as error:
        print(f"autobahn: {error}", file=sys.stderr)
        return 2
    wrong = judge(output)
    for line in wrong:
        print(line)
    print("every case passed" if not wrong else f"{len(wrong)} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
