"""What the arena knows of a scoreboard that answers, and of ones that answer nonsense, late, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from support.peers import unused_port
from turbosock import Config, HttpExchange, Loop
from turbosock.examples.arena.rules import MAX_SCORES_BYTES, SCORES_TIMEOUT_S, SHOWN_SCORES
from turbosock.examples.arena.score_keeper import ScoreKeeper
from turbosock.examples.arena.scoreboard import ScoreBoard
from turbosock.reactor.clock import ManualClock

TURNS = 2000


class Stage:
    """A Loop with a keeper, and a handler that the keeper asks, if any; time stands still."""

    def __init__(self, handler: Callable[[HttpExchange], object] | None) -> None:
        self.clock = ManualClock(10**9)
        self.loop = Loop(Config(trust_env=False), clock=self.clock)
        if handler is None:
            url = f"http://127.0.0.1:{unused_port()}"
        else:
            url = self.loop.listen(("127.0.0.1", 0), handler=handler).url
        self.keeper = ScoreKeeper(self.loop, url + "/scores")
        self.changes = 0

    def answers(self, count: int = 1) -> None:
        """Turn until so many requests are over."""
        for _ in range(TURNS):
            self.loop.poll(0.01)
            for event in self.loop.events:
                assert event.exchange is not None
                self.changes += self.keeper.take(event.exchange)
                count -= 1
            if not count:
                return
        raise AssertionError(f"{count} answers did not come")


@pytest.fixture
def board() -> Iterator[Stage]:
    stage = Stage(ScoreBoard().answer)
    yield stage
    stage.loop.close()


def test_keeper_tells_and_asks_and_says_when_the_table_is_another(board: Stage) -> None:
    keeper = board.keeper
    assert keeper.table is None and keeper.may_tell
    keeper.tell({"Ada": 3, "Bob": 5})
    assert not keeper.may_tell
    board.answers()
    assert keeper.may_tell and board.changes == 0
    keeper.ask()
    board.answers()
    assert keeper.table == [("Bob", 5), ("Ada", 3)] and board.changes == 1
    keeper.ask()
    board.answers()
    assert board.changes == 1 and keeper.failures == 0


def test_keeper_asks_once_at_a_time(board: Stage) -> None:
    for _ in range(5):
        board.keeper.ask()
    board.answers()
    board.loop.poll()
    assert not len(board.loop.events) and board.loop.stats().exchanges == 0


def test_exchange_that_is_none_of_its_own_is_left_alone(board: Stage) -> None:
    board.loop.request("GET", board.keeper._url)
    board.answers()
    assert board.keeper.table is None and board.changes == 0


@pytest.mark.parametrize(
    "answer",
    [
        lambda exchange: exchange.respond(500, None, b'[["Ada", 3]]'),
        lambda exchange: exchange.respond(404),
        lambda exchange: exchange.respond(200, None, b"<html>"),
        lambda exchange: exchange.respond(200, None, b""),
        lambda exchange: exchange.respond(200, None, b"[" + b" " * MAX_SCORES_BYTES + b"]"),
        lambda exchange: exchange.abort(),
    ],
)
def test_scoreboard_that_answers_nonsense_leaves_no_table(answer: Callable[[HttpExchange], object]) -> None:
    good = True

    def handler(exchange: HttpExchange) -> None:
        if good:
            exchange.respond(200, None, b'[["Ada", 3]]')
        else:
            answer(exchange)

    stage = Stage(handler)
    with stage.loop:
        stage.keeper.ask()
        stage.answers()
        assert stage.keeper.table == [("Ada", 3)]
        good = False
        stage.keeper.ask()
        stage.answers()
        assert stage.keeper.table is None and stage.keeper.failures == 1 and stage.changes == 2
        good = True
        stage.keeper.ask()
        stage.answers()
        assert stage.keeper.table == [("Ada", 3)] and stage.changes == 3


def test_scoreboard_that_is_not_there_is_a_failure_and_no_more() -> None:
    stage = Stage(None)
    with stage.loop:
        stage.keeper.tell({"Ada": 3})
        stage.keeper.ask()
        stage.answers(2)
        assert stage.keeper.table is None and stage.keeper.failures == 2 and stage.keeper.may_tell


def test_scoreboard_that_never_answers_is_given_up() -> None:
    kept: list[HttpExchange] = []
    stage = Stage(kept.append)
    with stage.loop:
        stage.keeper.ask()
        for _ in range(TURNS):
            stage.loop.poll(0.01)
            if kept:
                break
        stage.clock.advance(SCORES_TIMEOUT_S + 0.1)
        stage.answers()
        assert stage.keeper.failures == 1


def test_table_is_cut_to_what_is_shown() -> None:
    rows = b"[" + b",".join(b'["%d", 1]' % number for number in range(100)) + b"]"
    stage = Stage(lambda exchange: exchange.respond(200, None, rows))
    with stage.loop:
        stage.keeper.ask()
        stage.answers()
        assert stage.keeper.table is not None and len(stage.keeper.table) == SHOWN_SCORES
