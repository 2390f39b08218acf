"""Load: how many requests are in flight, how many begin, and what is counted of them."""

from __future__ import annotations

import pytest

from support.top_stage import TopStage
from turbosock.errors import InvalidUrl


def test_every_place_is_in_flight_and_stays_so() -> None:
    with TopStage("/", places=3) as stage:
        stage.turn()
        assert stage.asked == ["/"] * 3
        for _ in range(4):
            stage.answer()
            assert stage.asked == ["/"] * 3
        assert stage.load.in_flight == 3
        assert stage.load.targets[0].total.answers == 12
        assert stage.load.targets[0].total.nbytes == 12 * len(b"hello")


def test_places_are_divided_among_the_urls_and_each_has_one() -> None:
    with TopStage("/a", "/b", places=3) as stage:
        stage.turn()
        assert sorted(stage.asked) == ["/a", "/a", "/b"]
    with TopStage("/a", "/b", "/c", places=1) as stage:
        stage.turn()
        assert stage.asked == ["/a", "/b", "/c"]


def test_rate_bounds_what_begins() -> None:
    with TopStage("/", places=100, rate_per_s=10) as stage:
        stage.turn()
        assert len(stage.asked) == 1
        stage.turn(0.05)
        assert len(stage.asked) == 1
        stage.turn(0.05)
        assert len(stage.asked) == 2
        stage.turn(0.5)
        assert len(stage.asked) == 7


def test_rate_makes_up_for_a_second_at_most() -> None:
    with TopStage("/", places=100, rate_per_s=10) as stage:
        stage.turn()
        stage.turn(60)
        assert len(stage.asked) == 1 + 11


def test_place_whose_request_failed_rests_and_goes_on() -> None:
    with TopStage("/", places=2) as stage:
        stage.peer.down = True
        stage.turn()
        total = stage.load.targets[0].total
        assert (total.failures, total.errors) == (2, {"connect": 2})
        assert "nobody is here" in str(stage.load.last_error)
        stage.turn(0.2)
        assert stage.load.targets[0].total.failures == 2
        stage.peer.down = False
        stage.turn(0.1)
        assert stage.asked == ["/"] * 2


def test_places_of_several_urls_that_fail_at_once_rest_side_by_side() -> None:
    with TopStage("/a", "/b", "/c", places=6) as stage:
        stage.peer.down = True
        stage.turn()
        assert [target.total.failures for target in stage.load.targets] == [2, 2, 2]
        stage.peer.down = False
        stage.turn(0.3)
        assert sorted(stage.asked) == ["/a", "/a", "/b", "/b", "/c", "/c"]


def test_statuses_and_latencies_are_counted_and_an_interval_begins_with_each_look() -> None:
    with TopStage("/", places=1) as stage:
        stage.turn()
        stage.clock.advance(0.004)
        stage.answer()
        stage.load.look()
        stage.clock.advance(0.032)
        stage.answer("503 Busy", b"")
        target = stage.load.targets[0]
        assert target.recent.statuses == {503: 1}
        assert target.total.statuses == {200: 1, 503: 1}
        assert target.recent.latencies.quantile_ns(0.5) == 32_000_000
        assert target.total.latencies.max_ns == 32_000_000
        assert stage.load.looked_ns == stage.load.started_ns + 4_000_000


def test_url_is_shown_without_credentials() -> None:
    with TopStage(places=1, urls=["http://ada:secret@host/x"]) as stage:
        stage.turn()
        assert stage.load.targets[0].url == "http://host/x"


def test_url_that_cannot_be_asked_for_is_refused_at_once() -> None:
    with TopStage(places=1, urls=["nowhere"]) as stage, pytest.raises(InvalidUrl):
        stage.turn()
