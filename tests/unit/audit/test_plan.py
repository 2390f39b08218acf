"""AuditPlan: what a target's form says, and what is refused with the name of the argument."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from turbosock.audit.plan import AuditPlan, Kind
from turbosock.errors import InvalidOption


@pytest.mark.parametrize(
    ("target", "events", "kind"),
    [
        ("http://host/", False, Kind.REQUEST),
        ("https://host/", False, Kind.REQUEST),
        ("https://host/", True, Kind.EVENT),
        ("ws://host/", False, Kind.MESSAGE),
        ("wss://host/", False, Kind.MESSAGE),
        ("ws+unix://%2Ftmp%2Fs/", False, Kind.MESSAGE),
        ("game.world:step", False, Kind.TICK),
        ("game:World.step", False, Kind.TICK),
    ],
)
def test_plan_of_a_target_knows_its_kind(target: str, events: bool, kind: Kind) -> None:
    assert AuditPlan(target, events=events).kind is kind


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"target": 5}, "target"),
        ({"target": "host/path"}, "target"),
        ({"target": "module"}, "target"),
        ({"target": "module:func tion"}, "target"),
        ({"target": "ftp://host/"}, "scheme"),
        ({"target": "http://"}, "host"),
        ({"count": 0}, "count"),
        ({"count": 10**9}, "count"),
        ({"warm_up": 0}, "warm_up"),
        ({"growth_count": 0}, "growth_count"),
        ({"in_flight": -1}, "in_flight"),
        ({"in_flight": 10**6}, "in_flight"),
        ({"target": "a:b", "in_flight": 2}, "in_flight"),
        ({"message_bytes": -1}, "message_bytes"),
        ({"events": 1}, "events"),
        ({"target": "ws://host/", "events": True}, "events"),
        ({"target": "a:b", "events": True}, "events"),
        ({"config": None}, "config"),
        ({"peer": "curl"}, "peer"),
        ({"peer": "requests", "target": "ws://host/"}, "peer"),
        ({"peer": "requests", "in_flight": 3}, "peer"),
    ],
)
def test_plan_that_cannot_work_names_the_argument(fields: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidOption, match=expected):
        AuditPlan(**{"target": "http://host/", **fields})


def test_plan_shows_no_credentials() -> None:
    plan = AuditPlan("http://user:secret@host/?token=secret")
    assert "secret" not in plan.shown
    assert "host" in plan.shown


def test_plan_of_many_looks_at_ten_times_as_many_for_growth_up_to_the_bound() -> None:
    assert AuditPlan("http://host/", count=50).growth_count == 500
    assert AuditPlan("http://host/", count=900_000).growth_count == 1_000_000
    assert AuditPlan("http://host/", growth_count=7).growth_count == 7


def test_plan_says_who_performs_it_and_how() -> None:
    assert AuditPlan("http://host/").way == "turbosock, blocking"
    assert AuditPlan("http://host/", in_flight=100).way == "turbosock, 100 at once in a Loop"
    assert AuditPlan("http://host/", peer="urllib3").way == "urllib3"
    assert AuditPlan("a:b").way == "called"


def test_plan_pickled_is_the_same() -> None:
    plan = AuditPlan("http://host/", in_flight=3)
    assert pickle.loads(pickle.dumps(plan)) == plan
