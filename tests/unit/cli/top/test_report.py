"""What is said of a Load: now, in one line, and in the end."""

from __future__ import annotations

import re

from support.top_stage import TopStage
from turbosock.cli.top.report import Line, one_line, summary, table


def after_a_second(stage: TopStage) -> int:
    """Two answers for /a, one of 503 and then nobody for /b, within a second; the time then."""
    stage.turn()
    stage.clock.advance(0.008)
    waiting = stage.peer.waiting
    stage.peer.waiting = [each for each in waiting if each[0] == "/a"]
    stage.answer()
    stage.answer()
    stage.peer.waiting = [each for each in waiting if each[0] == "/b"]
    stage.answer("503 Busy", b"")
    stage.peer.down = True
    stage.peer.waiting.pop()[1].reset()
    stage.turn()
    return stage.clock.advance(0.992)


def cells(line: Line) -> list[str]:
    return re.split(r" {2,}", line.text.strip())


def test_table_has_a_row_for_each_url_and_one_for_all() -> None:
    with TopStage("/a", "/b", places=2) as stage:
        now_ns = after_a_second(stage)
        lines = table(stage.load, now_ns)
        assert cells(lines[0]) == ["turbosock top", "1 s", "1 in flight", "3 answered", "1 failed"]
        assert cells(lines[1]) == ["rate", "p50", "p99", "max", "2xx", "3xx", "4xx", "5xx", "failed", "bytes"]
        row_a, row_b, row_all = lines[2:5]
        assert cells(row_a)[0] == "2/s"
        assert cells(row_a)[2:] == ["8.00 ms", "8.00 ms", "2", "0", "0", "0", "0", "10 B/s", "http://host/a"]
        assert cells(row_b)[4:-1] == ["0", "0", "0", "1", "1", "0 B/s"]
        assert (cells(row_all)[0], cells(row_all)[-1]) == ("3/s", "all")
        assert [line.style for line in (row_a, row_b, row_all)] == ["", "bad", "bad"]
        assert len({line.text.index(cells(line)[-1]) for line in lines[2:5]}) == 1


def test_table_tells_connections_pools_and_the_last_error() -> None:
    with TopStage("/a", "/b", places=2) as stage:
        now_ns = after_a_second(stage)
        connections, pools, error = table(stage.load, now_ns)[5:]
        assert connections.text.startswith("connections  1 open, 0 idle, 0 dialling; 2 made, ")
        assert re.search(r"buffers 2 rents, \d misses; exchanges \d rents, \d misses; rings \d made", pools.text)
        assert error.text.startswith("last error   GET http://host/b: ") and error.style == "bad"


def test_rates_are_of_the_interval_and_counts_of_all() -> None:
    with TopStage("/a", places=1) as stage:
        stage.turn()
        stage.answer()
        stage.clock.advance(1)
        stage.load.look()
        row = table(stage.load, stage.clock.advance(1))[2]
        assert cells(row)[:5] == ["0/s", "-", "-", "-", "1"]
        assert cells(row)[-1] == "http://host/a"
        assert cells(summary(stage.load, stage.clock.now_ns())[2])[0] == "0/s"
        assert cells(summary(stage.load, stage.load.started_ns + 1_000_000_000)[2])[0] == "1/s"


def test_one_line_has_all_together() -> None:
    with TopStage("/a", "/b", places=2) as stage:
        said = one_line(stage.load, after_a_second(stage))
        assert said.startswith("1 s  3/s  p50 8.00 ms  p99 8.00 ms  max 8.00 ms  in flight 1  ")
        assert "  2xx 2  3xx 0  4xx 0  5xx 1  failed 1  open 1  rents 2  misses " in said


def test_summary_names_statuses_and_errors() -> None:
    with TopStage("/a", "/b", places=2) as stage:
        lines = [line.text for line in summary(stage.load, after_a_second(stage))]
        assert "statuses     200: 2, 503: 1" in lines
        assert any(re.fullmatch(r"errors       \w+: 1", line) for line in lines)


def test_long_url_is_cut() -> None:
    with TopStage("/" + "x" * 100, places=1) as stage:
        stage.turn()
        assert cells(table(stage.load, stage.clock.now_ns())[2])[-1] == "http://host/" + "x" * 35 + "…"
