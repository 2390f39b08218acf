"""Audits of real servers and of functions, by the library and by the command: figures, files and exit statuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.peers import Peer, nginx, unused_port
from support.switches import requires_default
from turbosock.audit import AuditPlan, audit
from turbosock.cli.main import main
from turbosock.config import Config
from turbosock.errors import AuditError, ConnectError

# Every second answer of a connection is a refusal.
FLAKY = 'location /flaky { if ($connection_requests ~ "[02468]$") { return 503; } return 204; }'
# Few, because what is measured here is known.
FEW = ["-n", "100", "--warm-up", "50"]

MODULE = """\
import os, sys

kept = []
ticks = 0


def idle():
    pass


def allocates():
    bytes(4096)


def keeps():
    kept.append(bytes(2000))


def lends():
    pool.rent(2048)


def raises():
    raise ValueError("not\\ntoday")


def raises_late():
    global ticks
    ticks += 1
    if ticks > 60:
        raise KeyError("late")


def dies():
    os.abort()


class World:
    @staticmethod
    def step():
        print("this goes nowhere", flush=True)


from turbosock.buffers import BufferPool

pool = BufferPool()
not_callable = 5
"""


@pytest.fixture(autouse=True)
def no_diagnostics(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted are the defaults, in the processes that count, too."""
    monkeypatch.setenv("TURBOSOCK_POOL_DIAGNOSTICS", "")


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with nginx(tmp_path_factory.mktemp("nginx"), big_bytes=1000, locations=FLAKY) as running:
        yield running


@pytest.fixture
def game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to be in, with the module `game`."""
    (tmp_path / "game.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def small(target: str, **fields: Any) -> AuditPlan:
    return AuditPlan(target, **{"count": 100, "warm_up": 50, "growth_count": 200, **fields})


def test_audit_in_a_loop_keeps_its_requests_in_flight(memray: None, peer: Peer) -> None:
    report = audit(small(peer.url("/100"), in_flight=10, count=300, config=Config(zero_alloc=True)), growth=False)
    assert report.system is not None and report.python is not None
    assert report.system.made < 0.05
    assert 5 < report.python.made < 50
    # A socket for each has two contexts, and so has nothing else.
    assert report.counters["contexts"]["alive"] >= 20
    assert report.growth is None


@pytest.mark.parametrize("in_flight", [0, 3])
def test_audit_of_refusals_says_that_they_are(peer: Peer, in_flight: int) -> None:
    report = audit(small(peer.url("/missing"), in_flight=in_flight), growth=False, memray=False)
    assert "HTTP/1.1 404" in report.each
    assert report.warnings == ("the server answers 404, which is no success: the figures are of that answer",)
    assert audit(small(peer.url("/100"), in_flight=in_flight), growth=False, memray=False).warnings == ()


@pytest.mark.parametrize("in_flight", [0, 3])
def test_audit_of_answers_that_are_not_all_alike_says_how_often(peer: Peer, in_flight: int) -> None:
    report = audit(small(peer.url("/flaky"), in_flight=in_flight), growth=False, memray=False)
    [line] = report.warnings
    found = re.fullmatch(r"(\d+) answers had another status than the first one: 503 \((\d+)\)", line)
    assert found is not None and found[1] == found[2] and 20 <= int(found[1]) <= 100


def test_audit_behind_a_redirect_says_so(peer: Peer) -> None:
    report = audit(small(peer.url("/redirect")), growth=False, memray=False)
    assert report.each == "GET, HTTP/1.1 200 behind 1 redirect, 100 bytes of body into one buffer"
    assert report.warnings == ()


def test_audit_of_a_function_counts_what_it_does(memray: None, game: Path) -> None:
    report = audit(small("game:allocates"), growth=False)
    assert report.system is not None and report.python is not None
    assert report.system.made == pytest.approx(1, abs=0.05)
    assert report.python.made == pytest.approx(1, abs=0.1)
    [site, *_] = report.system.sites
    assert (Path(site.file).name, site.function, site.source) == ("game.py", "allocates", "bytes(4096)")


def test_audit_of_a_function_that_keeps_names_its_line(memray: None, game: Path) -> None:
    report = audit(small("game:keeps"), growth=False)
    assert report.kept[0].source == "kept.append(bytes(2000))"
    assert 2000 <= report.kept_bytes < 2200


def test_audit_of_leases_that_are_lost_counts_them_and_names_the_line(game: Path) -> None:
    (game / "game.py").write_text(MODULE.replace("BufferPool()", "BufferPool(diagnostics=True)"))
    report = audit(small("game:lends"), growth=False, memray=False)
    assert report.leases > 50
    line = 1 + MODULE.splitlines().index("    pool.rent(2048)")
    assert report.lease_lines[0][0].endswith(f"game.py:{line}")


def test_audit_without_memray_says_what_it_cannot_see(game: Path) -> None:
    report = audit(small("game:keeps"), memray=False)
    assert report.system is None and report.python is None and report.kept == ()
    assert report.tool.startswith("tracemalloc")
    assert len(report.unseen) == 2
    assert report.peak_bytes is not None and report.peak_bytes >= 2000
    assert report.growth is not None
    assert 2000 <= report.growth.nbytes / report.growth.units < 2200
    assert report.growth.sites[0].source == "kept.append(bytes(2000))"


def test_audit_that_insists_on_memray_without_it_is_refused(game: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "memray", None)
    with pytest.raises(AuditError, match="memray is not installed"):
        audit(small("game:idle"), memray=True)


def test_audit_of_a_method_that_prints_shows_nothing_of_it(game: Path, capfd: pytest.CaptureFixture[str]) -> None:
    audit(small("game:World.step"), growth=False, memray=False)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("nowhere:step", r"nowhere:step: there is no module nowhere, neither here nor installed$"),
        ("game:nothing", "game:nothing: there is no such function"),
        ("game:not_callable", "there is no such function"),
        ("game:raises", r"game:raises failed: ValueError: not today \(.*game.py:24\)"),
        ("game:raises_late", r"game:raises_late failed: KeyError: 'late' \(.*game.py:31\)"),
        ("game:dies", "game:dies: its process was killed by signal 6"),
    ],
)
def test_audit_of_a_function_that_fails_says_so_in_one_line(game: Path, target: str, expected: str) -> None:
    with pytest.raises(AuditError, match=expected) as caught:
        audit(small(target), memray=False)
    assert "\n" not in str(caught.value)


def test_audit_of_a_server_that_is_not_there_is_its_error() -> None:
    with pytest.raises(ConnectError):
        audit(small(f"http://127.0.0.1:{unused_port()}/"), memray=False)


def report_of(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(path.read_text())
    return told


@requires_default("zero_alloc", why="the figures of the command are those of its defaults, which allocate nothing")
def test_command_within_its_bounds_writes_report_and_files(
    memray: None, peer: Peer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / f"report.{name}" for name in ("json", "html", "svg")}
    bounds = ["--max-mallocs", "0.05", "--max-allocations", "30", "--max-bytes", "2000", "--max-growth", "1e9"]
    written = ["--json", str(files["json"]), "--html", str(files["html"]), "--flamegraph", str(files["svg"])]
    assert main(["audit", peer.url("/100"), *FEW, *bounds, *written]) == 0
    out, error = capsys.readouterr()
    assert "system mallocs" in out and "requests a second" in out
    assert error == ""
    told = report_of(files["json"])
    assert told["over"] == []
    assert told["each"] == "GET, HTTP/1.1 200, 100 bytes of body into one buffer"
    assert told["leases"] == 0 and told["counters"]["objects"]["made"] <= 2
    assert all("turbosock" in site["file"] for site in told["python"]["sites"] if site["made"] > 0.5)
    assert "<svg" in files["html"].read_text()
    assert files["svg"].read_text().startswith("<svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json", "report.svg"]


def test_command_over_a_bound_fails_and_says_by_how_much(
    memray: None, game: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "game:allocates", *FEW, "--max-mallocs", "0", "--no-growth", "--json", "report.json"]) == 1
    out, error = capsys.readouterr()
    assert error == "turbosock: 1.00 system mallocs a tick, 0 allowed\n"
    assert "over the bounds" in out and "bytes(4096)" in out
    assert report_of(game / "report.json")["over"] == ["1.00 system mallocs a tick, 0 allowed"]


def test_command_over_its_growth_fails_without_memray_too(game: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "game:keeps", *FEW, "--tracemalloc", "--max-growth", "1000"]) == 1
    assert "memory grows by" in capsys.readouterr().err


@requires_default("zero_alloc", why="the figures of the command are those of its defaults, which allocate nothing")
def test_command_compares_with_what_is_installed(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A library of that name, as much of it as is used.
    (tmp_path / "requests.py").write_text(
        "import http.client, urllib.parse\n"
        "class Session:\n"
        "    def __enter__(self): return self\n"
        "    def __exit__(self, *error): self.connection.close()\n"
        "    def get(self, url):\n"
        "        parts = urllib.parse.urlsplit(url)\n"
        "        self.connection = getattr(self, 'connection', None) or http.client.HTTPConnection(parts.netloc)\n"
        "        self.connection.request('GET', parts.path)\n"
        "        answer = self.connection.getresponse()\n"
        "        self.status_code, self.content = 203, answer.read()\n"
        "        return self\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    command = ["audit", peer.url("/100"), *FEW, "--tracemalloc", "--no-growth", "--compare", "requests"]
    assert main([*command, "--json", str(tmp_path / "j")]) == 0
    assert "turbosock, blocking  requests" in capsys.readouterr().out
    told = report_of(tmp_path / "j")
    [other] = told["compared"]
    assert other["peak_bytes"] > 2 * told["peak_bytes"]
    assert other["each"] == "GET, 203, the body as bytes"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["http://127.0.0.1:1/"], "connect"),
        (["game:raises"], "game:raises failed: ValueError"),
        (["nowhere:step"], "there is no module"),
        (["word"], "target"),
        (["game:idle", "--in-flight", "3"], "in_flight"),
        (["game:idle", "--events"], "events"),
        (["game:idle", "-n", "0"], "count"),
        (["game:idle", "--compare", "requests"], "peer"),
        (["game:idle", "--tracemalloc", "--max-mallocs", "0"], "only memray counts allocations"),
        (["game:idle", "--tracemalloc", "--flamegraph", "flame.svg"], "only memray counts allocations"),
        (["game:idle", "--no-growth", "--max-growth", "0"], "--no-growth"),
        (["game:idle", "--max-mallocs", "-1"], "--max-mallocs"),
        (["game:idle", "--max-mallocs", "nan"], "--max-mallocs"),
        (["game:idle", "--compare", "curl"], "--compare"),
    ],
)
def test_command_that_cannot_audit_says_why_in_one_line_and_writes_nothing(
    game: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    files = ["--json", "report.json", "--html", "report.html"]
    assert main(["audit", *arguments, *files]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    (said,) = error.splitlines()
    assert expected in said and said.startswith("turbosock")
    assert "Traceback" not in error
    assert {path.name for path in game.iterdir()} <= {"game.py", "__pycache__"}


def test_command_compared_with_what_is_not_installed_says_how_to_get_it(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "turbosock: pycurl is not installed: pip install pycurl, or compare with another\n"
    command = ["audit", peer.url("/100"), *FEW, "--no-growth", "--tracemalloc", "--compare", "pycurl"]
    with monkeypatch.context() as patched:
        # Before anything is measured.
        patched.setattr("turbosock.cli.audit.find_spec", lambda name: None)
        patched.setattr("turbosock.cli.audit.audit", lambda plan, **options: pytest.fail("it is measured"))
        assert main(command) == 2
    assert capsys.readouterr().err == said
    # What is there, and cannot be imported.
    (tmp_path / "pycurl.py").write_text("raise ImportError\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(command) == 2
    assert capsys.readouterr().err == said


def test_command_on_a_platform_without_memray_counts_nothing_and_says_so(
    game: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "memray", None)
    assert main(["audit", "game:idle", *FEW, "--max-mallocs", "0"]) == 2
    assert "memray is not installed" in capsys.readouterr().err
    assert main(["audit", "game:idle", *FEW, "--no-growth"]) == 0
    assert "counted by tracemalloc, because memray is not installed" in capsys.readouterr().out


def test_command_that_cannot_write_says_so_before_it_audits(game: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "game:dies", "--tracemalloc", "--json", "nowhere/report.json"]) == 11
    said = "turbosock: nowhere/report.json: No such file or directory; make the directory first\n"
    assert capsys.readouterr().err == said


def test_command_interrupted_ends_quietly_and_leaves_no_file(game: Path) -> None:
    # Its step would take a minute: it is under way when the interrupt comes, which ends it.
    (game / "slow.py").write_text(
        "import pathlib, time\n\ndef step():\n    pathlib.Path('begun').touch()\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-m", "turbosock", "audit", "slow:step", "--tracemalloc", "--json", "report.json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        # Its child has begun when the file is there.
        while not (game / "begun").exists():
            assert process.poll() is None
            os.sched_yield()
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=30)
    assert (process.returncode, out, error) == (130, "", "turbosock: interrupted\n")
    assert not (game / "report.json").exists()
