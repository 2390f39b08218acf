"""The scoreboard as a handler of HTTP, and what it makes of what it is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.running_listener import RunningListener
from turbosock import Client, Config
from turbosock.examples.arena.rules import MAX_KEPT_SCORES, MAX_POINTS, SHOWN_SCORES
from turbosock.examples.arena.scoreboard import ScoreBoard, read_scores


def test_board_keeps_the_best_of_each_name_highest_first() -> None:
    board = ScoreBoard()
    for name, points in [("Ada", 3), ("Bob", 9), ("Ada", 7), ("Ada", 5), ("Cid", 7), ("Dot", 0)]:
        board.note(name, points)
    assert board.table() == [("Bob", 9), ("Ada", 7), ("Cid", 7)]


def test_board_shows_no_more_than_it_should() -> None:
    board = ScoreBoard()
    for number in range(50):
        board.note(f"{number}", number + 1)
    assert board.table() == [(f"{number}", number + 1) for number in range(49, 49 - SHOWN_SCORES, -1)]


def test_board_that_is_full_forgets_the_lowest() -> None:
    board = ScoreBoard()
    for number in range(MAX_KEPT_SCORES):
        board.note(f"{number}", number + 10)
    board.note("low", 1)
    board.note("high", 60_000)
    assert len(board._best) == MAX_KEPT_SCORES
    assert board.table()[0] == ("high", 60_000)
    assert "low" not in board._best and "0" not in board._best and "1" in board._best


@pytest.mark.parametrize(
    ("content", "scores"),
    [
        (b"{}", []),
        (b"[]", []),
        (b'{"Ada": 3, "Bob": 0}', [("Ada", 3), ("Bob", 0)]),
        (b'[["Ada", 3]]', [("Ada", 3)]),
        (b'[["A\\u202eda", 3]]', [("A da", 3)]),
        (b'{"Ada": %d}' % MAX_POINTS, [("Ada", MAX_POINTS)]),
        (b'{"Ada": %d}' % (MAX_POINTS + 1), None),
        (b'{"Ada": -1}', None),
        (b'{"Ada": 1.5}', None),
        (b'{"Ada": true}', None),
        (b'{"Ada": "3"}', None),
        (b'[["Ada"]]', None),
        (b'[["Ada", 1, 2]]', None),
        (b"[[3, 3]]", None),
        (b'["Ad"]', None),
        (b"7", None),
        (b"null", None),
        (b"", None),
        (b"{", None),
        (b"\xff", None),
        (b"[" * 5000, None),
        (b"<html>", None),
    ],
)
def test_scores_are_read_whole_or_not_at_all(content: bytes, scores: list[tuple[str, int]] | None) -> None:
    assert read_scores(content) == scores
    assert read_scores(memoryview(content)) == scores


@pytest.fixture(scope="module")
def board() -> Iterator[RunningListener]:
    with RunningListener(ScoreBoard().answer) as running:
        yield running


def test_board_is_told_and_asked_by_http(board: RunningListener) -> None:
    with Client(Config(trust_env=False)) as client:
        assert client.post(board.url(), json={"Ada": 3}).status_code == 204
        answer = client.get(board.url())
        assert (answer.status_code, answer.json()) == (200, [["Ada", 3]])
        assert answer.headers["content-type"] == "application/json"
        assert client.head(board.url()).status_code == 200
        assert client.post(board.url(), data="Ada=3").status_code == 400
        refused = client.put(board.url(), data="x")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, POST")
