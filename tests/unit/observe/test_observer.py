"""An observer sees what it asks for, and breaks nothing when it fails."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from support.observed import Made
from turbosock.errors import Phase
from turbosock.observe import Observer


class Notes(Observer):
    """Writes down what it is told, and fails where it is told to."""

    def __init__(self, fails: str = "") -> None:
        self.told: list[str] = []
        self._fails = fails

    def tell(self, step: str) -> None:
        self.told.append(step)
        if step == self._fails:
            raise ValueError("s3cr3t")

    def on_start(self, exchange: Any) -> None:
        self.tell("start")

    def on_answer(self, exchange: Any) -> None:
        self.tell(f"answer {exchange.status_code}")

    def on_end(self, exchange: Any) -> None:
        self.tell("end" if exchange.error is None else exchange.error.code)


class Phases(Notes):
    """As Notes, with phases."""

    def on_phase(self, exchange: Any, phase: Phase) -> None:
        self.tell(phase.name)


def test_observer_is_told_of_start_answer_and_end(observed: Made) -> None:
    notes = Notes()
    face = observed(middleware=[notes])
    assert face.ask("/hop") is None
    assert notes.told == ["start", "answer 302", "end", "start", "answer 200", "end"]


def test_observer_is_told_of_a_failure(observed: Made) -> None:
    notes = Notes()
    error = observed(middleware=[notes]).ask("/cut")
    assert error is not None
    assert notes.told == ["start", "answer 200", error.code]


def test_observer_is_told_of_phases_where_it_asks_for_them(observed: Made) -> None:
    phases, notes = Phases(), Notes()
    face = observed(middleware=[phases, notes])
    assert face.ask() is None
    assert [step for step in phases.told if step.isupper()][-3:] == ["SEND", "HEAD", "BODY"]
    assert notes.told == ["start", "answer 200", "end"]


def test_observer_is_told_of_each_phase_once_in_every_request_that_follows(observed: Made) -> None:
    phases = Phases()
    assert observed(middleware=[phases]).ask("/hop") is None
    assert [phases.told.count(name) for name in ("SEND", "HEAD", "BODY")] == [2, 2, 2]


@pytest.mark.parametrize("step", ["start", "SEND", "answer 200", "end"])
def test_observer_that_fails_is_logged_once_and_cut_off(
    observed: Made, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken, whole = Phases(step), Notes()
    face = observed(middleware=[broken, whole])
    with caplog.at_level(logging.DEBUG, "turbosock.observe"):
        for _ in range(3):
            assert face.ask() is None
    (record,) = [record for record in caplog.records if record.name == "turbosock.observe"]
    assert record.levelno == logging.ERROR and record.exc_info
    assert record.observer == "Phases"  # type: ignore[attr-defined]  # from `extra`
    assert "s3cr3t" not in record.getMessage()
    assert broken.failed and broken.told.count(step) == 1
    assert whole.told == ["start", "answer 200", "end"] * 3


def test_interrupt_of_an_observer_is_raised(observed: Made) -> None:
    class Interrupted(Notes):
        def on_start(self, exchange: Any) -> None:
            raise KeyboardInterrupt

    face = observed(middleware=[Interrupted()])
    with pytest.raises(KeyboardInterrupt):
        face.ask()
