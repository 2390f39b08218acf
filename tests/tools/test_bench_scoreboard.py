"""The scoreboard: what is kept comes back, every promise has its row, and plots show what was measured."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from support.bench import BENCH, Load
from support.peers import Peer


def some_table(load: Load, where: str = "same core") -> Any:
    """A table with everything in it."""
    table = load("report").Table("title", ["", "rate"], [["bare", "9"]], ["A note."], where=where)
    table.draw("requests/s", {"bare": [8.0, 9.0, 10.0], "turbosock get": [7.0], "left out": []})
    table.judge("get ≥ 0.5 × bare", "0.78", True)
    table.judge("get ≥ 1 × pycurl", "0.90", False)
    table.judge("get ≥ 6 × urllib3", load("report").NOT_MEASURED, None)
    return table


def kept(load: Load, name: str = "http1_sequential", version: str = "3.11", machine: str = "A") -> Any:
    """Results of one workload."""
    return {version: {name: load("results").result_of([some_table(load)], f"run.py {name}", [machine])}}


def test_results_come_back_as_they_were_kept(load: Load, tmp_path: Path) -> None:
    results, charts = load("results"), load("charts")
    told = kept(load)
    lines = load("report").Table("lines", [""])
    lines.chart = charts.Chart("MB/s", lines={"bare": [charts.Point(1, [2.0, 3.0])]}, sizes="bytes")
    told["3.11"]["http1_sequential"].tables.append(lines)
    results.save(told, tmp_path / "results.json")
    assert results.load(tmp_path / "results.json") == told
    assert results.load(tmp_path / "nothing.json") == {}


def test_board_has_a_row_for_every_promise_with_its_figure_met_or_not(load: Load) -> None:
    told = kept(load) | kept(load, "download", "3.12")
    rows = load("scoreboard").board(told).splitlines()
    assert rows[0] == "| workload | promise | 3.11 | 3.12 |"
    name = "[`http1_sequential`](#http1_sequential)"
    assert f"| {name} | get ≥ 0.5 × bare, same core | 0.78, met | not run |" in rows
    assert f"| {name} | get ≥ 1 × pycurl, same core | 0.90, **NOT MET** | not run |" in rows
    assert f"| {name} | get ≥ 6 × urllib3, same core | not measured | not run |" in rows
    assert "| [`download`](#download) | get ≥ 0.5 × bare, same core | not run | 0.78, met |" in rows
    promised = load("promises").PROMISED
    assert f"| `upload_file` | {promised['upload_file']} | not run | not run |" in rows
    assert len(rows) == 2 + 2 * 3 + len(promised) - 2


def test_versions_are_in_their_order_and_the_oldest_one_is_shown(load: Load) -> None:
    scoreboard = load("scoreboard")
    told = {**kept(load, version="3.9"), **kept(load, version="3.11")}
    assert scoreboard.versions(told) == ["3.9", "3.11"]
    assert scoreboard.shown(told, "http1_sequential")[0] == "3.9"


def test_page_says_of_each_workload_when_where_and_by_which_command(load: Load, tmp_path: Path) -> None:
    told = kept(load, machine="one core")
    told["3.11"] |= kept(load, "extra", machine="two cores")["3.11"]
    page = tmp_path / "benchmarks.md"
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "gone.svg").touch()
    load("scoreboard").write(told, page)
    text = page.read_text()
    assert "1. one core\n\n2. two cores\n" in text
    result = told["3.11"]["extra"]
    assert f"### extra\n\nCPython 3.11, {result.date} UTC, machine 2: `run.py extra`\n" in text
    assert "![extra](benchmarks/extra.svg)" in text
    assert "- CPython 3.11: 2 met, 2 not met, 2 not measured; workloads not run: " in text
    assert sorted(path.name for path in (tmp_path / "benchmarks").iterdir()) == ["extra.svg", "http1_sequential.svg"]


def texts(svg: str) -> list[str]:
    """What is written in a drawing."""
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]


def test_bars_are_as_long_as_their_medians_and_axes_have_units(load: Load) -> None:
    chart = load("charts").Chart("requests/s", {"a <b>": [10.0, 30.0, 20.0], "turbosock": [40.0], "none": [0.0]})
    svg = load("charts").drawing([("the title", chart)])
    widths = [float(e.get("width", "")) for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("rect")]
    assert widths[0] == pytest.approx(widths[1] / 2, rel=0.01)
    assert widths[2] <= 1
    said = texts(svg)
    assert {"the title", "requests/s", "a <b>", "20", "40"} <= set(said)


def test_lines_go_through_every_point_on_logarithmic_axes(load: Load) -> None:
    charts = load("charts")
    line = [charts.Point(1, [10.0]), charts.Point(100, [100.0]), charts.Point(10_000, [1000.0])]
    svg = charts.drawing([("growth", charts.Chart("MB/s", lines={"ours": line}, sizes="bytes"))])
    circles = [e for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("circle")]
    (x0, y0), (x1, y1), (x2, y2) = [(float(e.get("cx", "")), float(e.get("cy", ""))) for e in circles]
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2) and x1 > x0
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2) and y1 < y0
    assert {"MB/s", "bytes", "ours", "10k", "1k"} <= set(texts(svg))


@pytest.mark.parametrize("top", [0.003, 0.9, 1, 7, 20, 99, 57_199])
def test_marks_of_an_axis_are_round_and_reach_the_top(load: Load, top: float) -> None:
    marks = load("charts").steps(top)
    assert marks[0] == 0 and marks[-2] < top <= marks[-1] * (1 + 1e-9)
    assert 2 <= len(marks) <= 6


def test_spread_is_half_of_the_distance_of_the_rounds(load: Load) -> None:
    assert load("report").spread([90.0, 100.0, 110.0]) == "±10%"
    assert load("report").spread([90.0]) == ""


def test_every_promised_workload_is_one_that_runs(load: Load) -> None:
    promises, run = load("promises"), load("run")
    assert promises.PROMISED.keys() <= run.WORKLOADS.keys()
    judged = {promise.workload for promise in (*promises.RATIOS, *promises.USER_TIMES)}
    assert judged <= promises.PROMISED.keys()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nothing"], "no workload 'nothing'; there are http1_sequential"),
        (["--instructions", "download"], "no workload 'download'; there are http1_get"),
        (["--report", "download"], "--report runs nothing"),
        (["--keep", "--compare", "HEAD"], "do not go together"),
        (["--compare", "no-such-revision", "download"], "--compare no-such-revision: "),
        (["--rounds", "0"], "--rounds must be at least 1"),
    ],
)
def test_command_line_that_makes_no_sense_is_refused_in_one_line(
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    run = load("run")
    monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        run.main()
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]


# Revisions beside each other.


def answering(seconds: dict[Path, list[float]]) -> Any:
    """Stands where a Bench runs a contestant: what each checkout takes, in turn."""

    def run(self: Any, task: object, **how: object) -> dict[str, float]:
        return {"seconds": seconds[self.checkout].pop(0), "count": 10, "user_s": 0.0, "system_s": 0.0}

    return run


def compared(load: Load, monkeypatch: pytest.MonkeyPatch, seconds: dict[Path, list[float]]) -> tuple[Any, ModuleType]:
    """A CompareBench whose contestants answer so."""
    compare = load("compare")
    monkeypatch.setattr(load("bench").Bench, "run", answering(seconds))
    return compare.CompareBench(Path(sys.executable), 2, 0.1, True, other=Path("other")), compare


def test_comparison_is_the_median_of_the_rounds_ratios(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    here = load("environment").CHECKOUT
    bench, _ = compared(load, monkeypatch, {here: [2.0, 3.0], Path("other"): [1.0, 2.0]})
    task = load("task").Task("download", "turbosock stream", "time", "", 0, 0.1, 0, 1, -1)
    assert [bench.run(task)["seconds"] for _ in range(2)] == [2.0, 3.0]
    assert bench.found["download", "turbosock stream", 1] == ([0.2, 0.3], [0.1, 0.2])
    [row] = bench.table("REV").rows
    assert row[0] == "download: turbosock stream"
    assert row[-3:] == ["1.750", "1.500", "2.000"]
    assert bench.checkout == here


def test_comparison_leaves_peers_out(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    bench, _ = compared(load, monkeypatch, {})
    notes: list[str] = []
    task = load("task").Task("download", "pycurl", "time", "", 0, 0.1, 0, 1, -1)
    assert bench.attempt(task, notes) is None
    assert bench.failures == [] and bench.found == {}


def test_checkout_of_a_revision_has_its_package_and_goes_again(load: Load) -> None:
    compare = load("compare")
    head = subprocess.run(["git", "-C", BENCH, "rev-parse", "HEAD"], capture_output=True, text=True)
    if head.returncode:
        pytest.skip("not a checkout of git")
    with compare.checkout_of(head.stdout.strip()) as directory:
        assert (directory / "turbosock" / "__init__.py").exists()
    assert not directory.exists()


# Growth.


def test_scale_measures_every_size_and_leaves_out_who_is_too_slow(load: Load) -> None:
    scales, bench_module = load("scales"), load("bench")
    asked = []

    class Told(bench_module.Bench):  # type: ignore[misc,name-defined]  # loaded at run time
        def attempt(self, task: Any, notes: list[str], **how: Any) -> dict[str, float]:
            asked.append((task.contestant, task.in_flight))
            return {"count": 100, "seconds": 1 / task.in_flight}

    class Here(scales.Scale):  # type: ignore[misc,name-defined]  # as above
        server = staticmethod(lambda bench, placement: peer_context())

    bench = Told(Path(sys.executable), 1, 0.1, True)
    [table] = Here("scale_threads", "t", (1, 10), "threads", most={"urllib3": 1}).run(bench)
    assert [row[0] for row in table.rows] == ["1", "10"]
    assert table.chart.lines["bare"][1] == load("charts").Point(10, [1000.0])
    assert ("urllib3", 1) in asked and ("urllib3", 10) not in asked


def peer_context() -> Any:
    """A peer that nobody asks."""
    return contextlib.nullcontext(Peer("127.0.0.1", 0, None, Path(), Path(), 0))


def test_bodies_of_growth_have_a_file_each(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    scales, bench_module = load("scales"), load("bench")
    monkeypatch.setattr(bench_module, "BIG_BYTES", 1000)
    bench = bench_module.Bench(Path(sys.executable), 1, 0.05, True)
    scale = scales.Scale("scale_body", "", (1, 1000), "bytes", bodies=True)
    with scale.server(bench, "same core") as peer:
        for size in scale.sizes:
            task = bench.task(peer, "scale_body", "bare", count=2, size=size, core=-1)
            # A body of another length ends the process badly.
            assert bench.run(task)["count"] == 2
