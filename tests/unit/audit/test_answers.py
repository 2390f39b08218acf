"""Answers: what an audit has to say about statuses."""

from __future__ import annotations

import json

from turbosock.audit.answers import Answers, warnings_of


def test_answers_that_are_successes_are_no_matter() -> None:
    assert warnings_of([]) == ()
    assert warnings_of([Answers(200).as_json(), Answers(204).as_json()]) == ()


def test_answers_of_several_processes_are_told_together() -> None:
    first, second = Answers(404), Answers(200)
    for status_code in (503, 503, 502):
        first.note(status_code)
    second.note(503)
    # As one process writes it for another.
    told = [json.loads(json.dumps(each.as_json())) for each in (first, second)]
    assert warnings_of(told) == (
        "the server answers 404, which is no success: the figures are of that answer",
        "4 answers had another status than the first one: 502 (1), 503 (3)",
    )
