"""What tools/autobahn/run.py makes of the suite's report: which verdicts pass, and that every case was played.

The suite itself needs Python 2.7 and an hour: it runs in a tox environment of its own.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from support.in_thread import InThread
from support.tool import load_tool
from turbosock import Client, Loop

GOOD = {"behavior": "OK", "behaviorClose": "OK", "reportfile": "case.json"}


@pytest.fixture
def run() -> ModuleType:
    """tools/autobahn/run.py as a module."""
    return load_tool("autobahn/run.py")


def judged(run: ModuleType, output: Path, index: dict[str, dict[str, dict[str, str]]], side: str) -> list[str]:
    (output / "index.json").write_text(json.dumps(index))
    wrong: list[str] = run.judge(output, ("a", "b"), run.EXPLAINED[side])
    return wrong


def test_report_of_good_cases_passes(run: ModuleType, tmp_path: Path) -> None:
    good = {"1.1": GOOD, "1.10": {**GOOD, "behavior": "INFORMATIONAL"}, "12.1": {**GOOD, "behavior": "UNIMPLEMENTED"}}
    assert judged(run, tmp_path, {"a": good, "b": good}, "client") == []


@pytest.mark.parametrize("what", ["behavior", "behaviorClose"])
@pytest.mark.parametrize("verdict", ["FAILED", "NON-STRICT", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT"])
def test_other_verdict_fails(run: ModuleType, tmp_path: Path, what: str, verdict: str) -> None:
    (wrong,) = judged(run, tmp_path, {"a": {"1.1": {**GOOD, what: verdict}}, "b": {"1.1": GOOD}}, "server")
    assert verdict in wrong
    assert "1.1" in wrong


def test_case_that_is_explained_need_not_be_strict_at_that_end_alone(run: ModuleType, tmp_path: Path) -> None:
    index = {"a": {"3.2": {**GOOD, "behavior": "NON-STRICT"}}, "b": {"3.2": GOOD}}
    assert judged(run, tmp_path, index, "server") == []
    assert len(judged(run, tmp_path, index, "client")) == 1


def test_report_that_lacks_cases_fails(run: ModuleType, tmp_path: Path) -> None:
    assert len(judged(run, tmp_path, {"a": {"1.1": GOOD}, "b": {}}, "client")) == 1
    assert len(judged(run, tmp_path, {}, "client")) == 1


def test_ticking_listener_sends_back_what_it_gets_whatever_waits(run: ModuleType) -> None:
    sent = [b"%d " % number * 200 for number in range(1000)]
    over = threading.Event()
    with Loop() as loop:
        # So little that two messages of one tick have no room.
        listener = loop.listen(("127.0.0.1", 0), protocol="websocket", max_message=1 << 10, max_unsent=1 << 10)

        def talk() -> object:
            try:
                with Client() as client, client.websocket(listener.url) as ws:
                    reading = InThread(lambda: [ws.recv(timeout=20) for _ in sent])
                    for message in sent:
                        ws.send(message)
                    return reading.outcome()
            finally:
                over.set()

        talking = InThread(talk)
        run.tick_until_end(loop, SimpleNamespace(poll=lambda: 0 if over.is_set() else None))
        assert loop.stats().messages.full > 0
        assert talking.outcome() == sent
