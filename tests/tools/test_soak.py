"""The soak test's own arithmetic, and one run in its shortest form."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from turbosock import NetworkError

TOOLS = Path(__file__).parent.parent.parent / "tools"


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """tools/soak.py as a module, for one test."""
    monkeypatch.syspath_prepend(TOOLS)
    spec = importlib.util.spec_from_file_location("soak", TOOLS / "soak.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "soak", module)
    path = list(sys.path)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = path
    for name in [name for name in sys.modules if name.startswith("soak_")]:
        del sys.modules[name]


def part(name: str) -> ModuleType:
    """A file that soak.py is made of, once that is loaded."""
    return sys.modules[name]


def test_shortest_run_passes_every_check() -> None:
    command = [sys.executable, os.fspath(TOOLS / "soak.py"), "--seconds", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    for phase in ("sustained", "burst", "recovery", "churn"):
        assert f"\n{phase} " in done.stdout
    assert "zero wrong bytes" in done.stdout
    assert "FAILED" not in done.stdout


def test_growth_is_the_slope_of_all_rests_and_none_within_the_noise(soak: ModuleType) -> None:
    growth = part("soak_checks").growth
    steady = [(float(at), 1000.0 + at * 50.0) for at in range(10)]
    assert growth(steady, 0) == pytest.approx(50.0)
    assert growth(steady, 450) == 0.0
    # One rest that is higher than its neighbours is no growth.
    peak = [(0.0, 100.0), (1.0, 100.0), (2.0, 9100.0), (3.0, 100.0), (4.0, 100.0)]
    assert growth(peak, 0) == pytest.approx(0.0)
    assert growth([(0.0, 900.0), (1.0, 100.0)], 0) == 0.0


def run_of(
    soak: ModuleType, *, server: list[object] | None = None, client: list[object] | None = None
) -> SimpleNamespace:
    """What checks_of() looks at, of a run in which nothing went wrong but what is given."""

    still = [soak.Rest(float(at), 10, 1_000_000, 50_000_000) for at in range(0, 40, 10)]
    tally = soak.Tally()
    for error in (None, None, NetworkError("broken")):
        tally.begin()
        tally.end(0.1, error, error is None)
    rests = {"client": client or still, "server": server or still}
    return SimpleNamespace(tallies={"sustained": tally}, unended=0, rests=rests)


def refused(soak: ModuleType, run: SimpleNamespace, before: int = 5, after: int = 5) -> list[str]:
    """The checks that did not pass."""
    return [check.what for check in soak.checks_of(run, before, after) if not check.passed]


def test_run_in_which_nothing_went_wrong_passes(soak: ModuleType) -> None:
    assert refused(soak, run_of(soak)) == []


def test_leaks_of_either_process_are_told_apart(soak: ModuleType) -> None:
    rests = [soak.Rest(float(at), 10 + at // 30, 1_000_000 + at * 20_000, 50_000_000) for at in range(0, 40, 10)]
    expected = ["descriptors of the {} are constant", "traced memory of the {} grows by < 1 KiB/s"]
    assert refused(soak, run_of(soak, client=rests)) == [each.format("client") for each in expected]
    assert refused(soak, run_of(soak, server=rests)) == [each.format("server") for each in expected]
    grown = [soak.Rest(float(at), 10, 1_000_000, 50_000_000 + at * 1_000_000) for at in range(0, 40, 10)]
    assert refused(soak, run_of(soak, client=grown)) == ["resident memory of the client grows by < 1 KiB/s"]


def test_wrong_bytes_missing_ends_and_odd_errors_fail(soak: ModuleType) -> None:
    run = run_of(soak)
    tally = run.tallies["sustained"]
    tally.begin()
    tally.end(0.1, None, False)
    assert refused(soak, run) == ["zero wrong bytes"]
    tally.begin()
    assert refused(soak, run) == ["zero wrong bytes", "every request has an end"]
    tally.end(0.1, KeyError("a bug"), False)
    assert refused(soak, run) == ["zero wrong bytes", "requests fail as broken connections make them"]


def test_descriptors_left_at_the_end_fail(soak: ModuleType) -> None:
    assert refused(soak, run_of(soak), 5, 6) == ["descriptors end where they began"]


def test_sample_of_many_times_keeps_its_size_and_its_shape(soak: ModuleType) -> None:
    make = part("soak_tally").Times
    times = make()
    for number in range(20_000):
        times.add(number / 20_000)
    assert times.most == pytest.approx(1.0, abs=0.001)
    assert times.quantile(0.5) == pytest.approx(0.5, abs=0.05)
    assert times.quantile(0.99) == pytest.approx(0.99, abs=0.02)
    assert make().quantile(0.5) == 0.0


def test_length_that_makes_no_sense_is_refused() -> None:
    command = [sys.executable, os.fspath(TOOLS / "soak.py"), "--seconds", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "second" in done.stderr
