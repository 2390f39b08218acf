"""Instruction counts: what callgrind says is read right, and the hot workloads do what they say, in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.bench import BENCH, PATHS, Load


def test_operation_is_the_difference_of_two_runs(load: Load) -> None:
    said = "\n".join(json.dumps(line) for line in ([11, "get", 10], [12, "get", 110], [13, "put", 1], [14, "put", 2]))
    complaint = (
        "==11== Events    : Ir\n==11== Collected : 5000\n==12== Collected : 105000\n"
        "==13== Collected : 700\n==14== Collected : 900\n==10== Collected : 4000\n"
    )
    assert load("instructions").each(said, complaint) == {"get": 1000.0, "put": 200.0}


def test_kept_counts_come_back(load: Load, tmp_path: Path) -> None:
    instructions = load("instructions")
    kept = {
        "3.11.7": instructions.Kept("GCC 12.2.0, x86_64", {"http1_get": 40000.0, "udp_echo_32b": 3.0}),
        "3.13.0": instructions.Kept("Clang 17, arm64", {"http1_get": 50000.0}),
    }
    instructions.write(tmp_path / "kept.toml", kept)
    assert instructions.read(tmp_path / "kept.toml") == kept
    assert instructions.read(tmp_path / "nothing.toml") == {}


@pytest.mark.parametrize(("now", "status"), [(1020.0, 0), (1031.0, 1), (500.0, 0)])
def test_count_above_three_percent_more_than_kept_fails(
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    now: float,
    status: int,
) -> None:
    instructions = load("instructions")
    counted = [1000.0, now]
    monkeypatch.setattr(instructions, "KEPT", tmp_path / "kept.toml")
    monkeypatch.setattr(instructions.shutil, "which", lambda name: name)
    monkeypatch.setattr(instructions, "count_all", lambda names, checkout: dict.fromkeys(names, counted.pop(0)))
    assert instructions.run(["http1_get"], keep=True) == 0
    assert instructions.run(["http1_get"], keep=False) == status
    out, err = capsys.readouterr()
    assert f"{now / 1000 - 1:+.2%}" in out
    assert ("over: http1_get" in err) is bool(status)


def test_count_of_another_build_is_not_compared(
    load: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    instructions = load("instructions")
    monkeypatch.setattr(instructions, "KEPT", tmp_path / "kept.toml")
    monkeypatch.setattr(instructions.shutil, "which", lambda name: name)
    monkeypatch.setattr(instructions, "count_all", lambda names, checkout: dict.fromkeys(names, 9.0))
    kept = instructions.Kept("another compiler", {"http1_get": 1.0})
    instructions.write(tmp_path / "kept.toml", {instructions.platform.python_version(): kept})
    assert instructions.run(["http1_get"], keep=False) == 0
    assert "No counts are kept" in capsys.readouterr().out


def test_without_valgrind_one_line_says_how_to_install_it(
    load: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    instructions = load("instructions")
    monkeypatch.setattr(instructions.shutil, "which", lambda name: None)
    assert instructions.run(["http1_get"], keep=False) == 2
    assert capsys.readouterr() == ("", "valgrind is not installed: apt-get install valgrind\n")


def test_workload_that_fails_is_named_with_its_error(
    load: Load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    instructions = load("instructions")

    def fail(command: list[str], **how: Any) -> Any:
        complaint = "==1== Callgrind\nTraceback ...\nRuntimeError: 1 bytes came, not 100\n==1== Collected : 5\n"
        return subprocess.CompletedProcess(command, 1, "", complaint)

    monkeypatch.setattr(instructions.shutil, "which", lambda name: name)
    monkeypatch.setattr(instructions.subprocess, "run", fail)
    assert instructions.run(["http1_get"], keep=True) == 1
    assert capsys.readouterr().err == "failed: RuntimeError: 1 bytes came, not 100\n"


def test_child_runs_every_workload_shortly_and_at_length_in_forks(load: Load) -> None:
    # Without callgrind nothing is counted; all else is as it is under it. Bytes of another length end it badly.
    names = load("instructions").WORKLOADS
    command = [sys.executable, os.fspath(BENCH / "counted.py"), *names]
    done = subprocess.run(command, env={**os.environ, **PATHS}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [name for _, name, _ in lines] == [name for name in names for _ in range(2)]
    assert all(10 * short == long for (_, _, short), (_, _, long) in zip(lines[::2], lines[1::2], strict=True))
    assert len({pid for pid, _, _ in lines}) == len(lines)
    assert tuple(load("hot").HOT) == names
