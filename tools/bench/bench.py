"""The parent side: servers, and contestants run as child processes, one at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import environment
from calls import parse_strace
from promises import SAME_CORE, TWO_CORES
from report import Notes
from task import BIG_BYTES, BODY_BYTES, Task

sys.path.insert(0, os.fspath(environment.CHECKOUT / "tests"))

from support import peers  # the path to it is known only now

CLIENT_CORE = 0
SERVER_CORES = {SAME_CORE: 0, TWO_CORES: 1}
CHILD_DEADLINE_S = 300.0

# The small answer comes from memory, so that the server costs as little as it can.
FIXED = f'location = /fixed {{ return 200 "{"x" * BODY_BYTES}"; }}'

# What lies under the name is gzip, and is said to be.
CODED = "location = /coded { add_header Content-Encoding gzip; }"

# The answer to any path below is its own: the path, the connection's number and the version that it was asked in.
OWN = 'location /own/ { return 200 "$uri $connection $server_protocol"; }'

# Over TLS the first byte of this answer is "r" where the connection resumed a session, and "." where it did not.
SESSION = f'location = /session {{ return 200 "${{ssl_session_reused}}{"x" * (BODY_BYTES - 1)}"; }}'

CERTIFICATE_HOSTS = ("127.0.0.1", "localhost")
CERTIFICATE_SCRIPT = """
import sys
from turbosock.tls.selfsigned import make_self_signed
make_self_signed(*sys.argv[2:]).write(sys.argv[1])
"""


class ContestantFailed(Exception):
    """A contestant's process ended badly, or did not end."""


class ContestantMissing(Exception):
    """A contestant's library is not installed."""


@dataclasses.dataclass(slots=True)
class Bench:
    """What every workload needs: the interpreter, how long and how often, and a running list of failures.

    Attributes:
        connections: how many `churn` opens; 0: its own number.
        checkout: whose package the contestants import.
    """

    python: Path
    rounds: int
    seconds: float
    quick: bool
    connections: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    checkout: Path = environment.CHECKOUT

    def placements(self) -> list[str]:
        """Where server and client can run on this machine."""
        return [SAME_CORE, TWO_CORES] if len(os.sched_getaffinity(0)) > 1 else [SAME_CORE]

    @contextlib.contextmanager
    def server(
        self, placement: str, *, tls: bool = False, http2: bool = False, streams: int = 0
    ) -> Iterator[peers.Peer]:
        """nginx on its core for the length of a with block, with a certificate made on the spot where `tls`.

        Args:
            streams: how many a connection may have, with `http2`; 0: nginx's own bound.
        """
        allowed = f"http2_max_concurrent_streams {streams};" if http2 and streams else ""
        with tempfile.TemporaryDirectory() as name:
            directory, core = Path(name), SERVER_CORES[placement]
            if tls:
                self.make_certificate(directory)
            with peers.nginx(
                directory / "nginx",
                big_bytes=BIG_BYTES,
                locations=FIXED + CODED + OWN + (SESSION if tls else "") + allowed,
                core=core,
                tls=directory if tls else None,
                http2=http2,
            ) as peer:
                yield peer

    @contextlib.contextmanager
    def sink(self, placement: str) -> Iterator[peers.Peer]:
        """A server that throws bodies away (see sink_server.py), on its core, for the length of a with block."""
        with self.helper("sink_server.py", placement) as (port, pid):
            nowhere = Path(os.devnull)
            yield peers.Peer("127.0.0.1", port, None, nowhere, nowhere, pid)

    @contextlib.contextmanager
    def events(self, placement: str) -> Iterator[peers.Peer]:
        """A server of event streams (see event_server.py), on its core, for the length of a with block."""
        with self.helper("event_server.py", placement) as (port, pid):
            nowhere = Path(os.devnull)
            yield peers.Peer("127.0.0.1", port, None, nowhere, nowhere, pid)

    @contextlib.contextmanager
    def echo(self, placement: str) -> Iterator[peers.Peer]:
        """A WebSocket server that echoes (see echo_server.py), on its core, for the length of a with block."""
        with self.helper("echo_server.py", placement) as (port, pid):
            nowhere = Path(os.devnull)
            yield peers.Peer("127.0.0.1", port, None, nowhere, nowhere, pid)

    @contextlib.contextmanager
    def delayed(self, peer: peers.Peer, placement: str, delay_s: float) -> Iterator[peers.Peer]:
        """`peer` on a path (see relay_server.py) of which every byte takes `delay_s`, there and back."""
        with self.helper("relay_server.py", placement, peer.host, str(peer.port), str(delay_s)) as (port, _):
            yield dataclasses.replace(peer, port=port)

    @contextlib.contextmanager
    def helper(self, script: str, placement: str, *arguments: str) -> Iterator[tuple[int, int]]:
        """(port, process id) of a script beside this file on the server's core, for the length of a with block."""
        command = [sys.executable, os.fspath(environment.HERE / script), *arguments]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            os.sched_setaffinity(process.pid, {SERVER_CORES[placement]})
            # Also where what it is for has failed: it ends with its input.
            with process.stdin:
                yield int(process.stdout.readline()), process.pid

    def make_certificate(self, directory: Path) -> None:
        """Write ca.pem, certificate.pem and key.pem, by the contestants' interpreter: ours may lack `cryptography`."""
        command = [os.fspath(self.python), "-c", CERTIFICATE_SCRIPT, os.fspath(directory), *CERTIFICATE_HOSTS]
        subprocess.run(command, env=environment.variables(), check=True)

    def task(
        self,
        peer: peers.Peer,
        workload: str,
        contestant: str,
        measure: str = "time",
        *,
        seconds: float | None = None,
        **more: int,
    ) -> Task:
        """A task on the client's core, as long as all are unless `seconds` are given."""
        fields = {"count": 0, "in_flight": 1, "core": CLIENT_CORE, **more}
        ca_file = "" if peer.ca_file is None else os.fspath(peer.ca_file)
        length = self.seconds if seconds is None else seconds
        return Task(workload, contestant, measure, peer.host, peer.port, length, **fields, ca_file=ca_file)

    def command(self, task: Task) -> list[str]:
        """The command line of a contestant's process."""
        script = os.fspath(environment.HERE / "contestant.py")
        return [os.fspath(self.python), script, json.dumps(dataclasses.asdict(task))]

    def run(
        self, task: Task, *, before: list[str] | None = None, deadline_s: float = CHILD_DEADLINE_S
    ) -> dict[str, Any]:
        """Run a contestant and return what it measured; raise ContestantMissing or ContestantFailed."""
        process = subprocess.Popen(
            [*(before or []), *self.command(task)],
            env=environment.variables(self.checkout),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            said, complaint = process.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise ContestantFailed(f"{task.workload}, {task.contestant}: no end after {deadline_s} s") from None
        if process.returncode:
            last = complaint.strip().splitlines()[-1] if complaint.strip() else f"exit status {process.returncode}"
            raise ContestantFailed(f"{task.workload}, {task.contestant}: {last}")
        answer: dict[str, Any] = json.loads(said.splitlines()[-1])
        if "missing" in answer:
            raise ContestantMissing(f"{task.contestant}: no module {answer['missing']}")
        return answer

    def attempt(self, task: Task, notes: Notes, *, deadline_s: float = CHILD_DEADLINE_S) -> dict[str, Any] | None:
        """Run a contestant; where it cannot run, say so in `notes`, keep a failure, and return None."""
        try:
            return self.run(task, deadline_s=deadline_s)
        except ContestantMissing as missing:
            notes.append(f"Left out: {missing}.")
        except ContestantFailed as failed:
            notes.append(f"Left out: {failed}.")
            self.failures.append(str(failed))
        return None

    def calls(self, task: Task, few: int, many: int) -> dict[str, float]:
        """System calls of one request by name: the difference between a run of `few` and one of `many` requests."""
        if shutil.which("strace") is None:
            return {}
        counts = []
        for count in (few, many):
            with tempfile.TemporaryDirectory() as directory:
                output = os.path.join(directory, "calls")
                counted = dataclasses.replace(task, measure="calls", count=count)
                self.run(counted, before=["strace", "-f", "-c", "-o", output])
                counts.append(parse_strace(Path(output).read_text()))
        low, high = counts
        made = {name: (high[name] - low.get(name, 0)) / (many - few) for name in high}
        return {name: calls for name, calls in made.items() if round(calls, 2) > 0}
