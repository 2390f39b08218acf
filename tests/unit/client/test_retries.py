"""Retries: what is worth another attempt, how long it waits, and that an outage is not amplified."""

from __future__ import annotations

import copy
import pickle
import random
import threading
from typing import Any

import pytest

from support.forks import NEEDS_FORK, held_elsewhere, in_child
from support.seeds import seeds
from turbosock import limits
from turbosock.client.request import IDEMPOTENT_METHODS
from turbosock.client.retries import NOT_AGAIN, RETRY_STATUSES, RetryBudget, RetryPolicy, RetryState
from turbosock.errors import (
    BodyTruncated,
    Cancelled,
    ClientClosed,
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    InvalidOption,
    MisuseError,
    Origin,
    Phase,
    PoolTimeout,
    ProtocolError,
    ProxyError,
    ReadError,
    ReadTimeout,
    ResolveError,
    StateError,
    TlsHandshakeError,
    TlsVerificationError,
    TotalTimeout,
    TurbosockError,
    WriteError,
    WriteTimeout,
)
from turbosock.protocol.http1.headers import HeaderList
from turbosock.reactor.clock import NS_PER_S, ManualClock

FAR_NS = 10**18
EXAMPLE = "Sun, 06 Nov 1994 08:49:37 GMT"
EXAMPLE_S = 784_111_777.0


class Highest(random.Random):
    """Draws as near to one as there is: the bound of each pause shows."""

    def random(self) -> float:
        return 1 - 2**-53


def asked(
    state: RetryState, outcome: TurbosockError | int = 503, headers: HeaderList | None = None, **given: Any
) -> int:
    """What the state answers; all that is not given speaks for another attempt."""
    arguments: dict[str, Any] = {
        "attempt": 1,
        "idempotent": True,
        "replayable": True,
        "now_ns": 0,
        "deadline_ns": FAR_NS,
        "wall_clock": lambda: EXAMPLE_S - 10,
    }
    return state.next(outcome, headers, **(arguments | given))


def of(rng: random.Random | None = None, **settings: Any) -> RetryState:
    """A state without a budget, unless one is given."""
    return RetryState(RetryPolicy(**({"budget": None} | settings)), rng or Highest())


# What is worth another attempt


@pytest.mark.parametrize("status_code", range(100, 600))
def test_status_is_retried_only_where_the_policy_names_it(status_code: int) -> None:
    assert (asked(of(), status_code) >= 0) == (status_code in (429, 502, 503, 504))
    assert (asked(of(statuses=(500, 404)), status_code) >= 0) == (status_code in (404, 500))


@pytest.mark.parametrize("status_code", sorted(RETRY_STATUSES))
@pytest.mark.parametrize(("idempotent", "replayable"), [(True, False), (False, True), (False, False)])
def test_status_of_what_cannot_be_repeated_stands(status_code: int, idempotent: bool, replayable: bool) -> None:
    assert asked(of(), status_code, idempotent=idempotent, replayable=replayable) == NOT_AGAIN


BROKEN = [ReadError, WriteError, ConnectionClosed, ReadTimeout, WriteTimeout]
UNSENT = [ConnectError, ConnectTimeout, ResolveError, PoolTimeout]
STANDING = [Cancelled, TotalTimeout, MisuseError, StateError, ClientClosed, InvalidOption, ProtocolError, BodyTruncated,
            TlsHandshakeError, TlsVerificationError, TurbosockError]  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("phase", [Phase.NONE, Phase.SEND, Phase.HEAD, Phase.BODY])
def test_error_once_bytes_may_be_sent_is_retried_only_for_what_can_be_repeated(
    kind: type[TurbosockError], phase: Phase
) -> None:
    error = kind("it failed").during(phase)
    assert asked(of(), error) >= 0
    assert asked(of(), error, idempotent=False) == NOT_AGAIN
    assert asked(of(), error, replayable=False) == NOT_AGAIN


@pytest.mark.parametrize("kind", UNSENT)
def test_error_before_a_byte_was_sent_is_retried_for_every_request(kind: type[TurbosockError]) -> None:
    assert asked(of(), kind("it failed"), idempotent=False, replayable=False) >= 0


@pytest.mark.parametrize("phase", [Phase.QUEUE, Phase.RESOLVE, Phase.CONNECT, Phase.PROXY, Phase.TLS])
def test_error_in_a_phase_before_the_request_is_retried_for_every_request(phase: Phase) -> None:
    error = ReadError("reset", origin=Origin.LOCAL).during(phase)
    assert asked(of(), error, idempotent=False, replayable=False) >= 0


@pytest.mark.parametrize("code", ["proxy_connect", "proxy_unreachable", "proxy_closed", "proxy_failed"])
def test_proxy_that_may_do_better_is_asked_again(code: str) -> None:
    error = ProxyError("it failed", code=code).during(Phase.PROXY)
    assert asked(of(), error, idempotent=False, replayable=False) >= 0


@pytest.mark.parametrize("code", ["proxy_auth", "proxy_refused", "proxy_unsupported"])
def test_proxy_that_will_say_the_same_is_not_asked_again(code: str) -> None:
    assert asked(of(), ProxyError("it failed", code=code).during(Phase.PROXY)) == NOT_AGAIN


@pytest.mark.parametrize("kind", STANDING)
def test_error_that_the_policy_does_not_name_stands(kind: type[TurbosockError]) -> None:
    assert asked(of(), kind("it failed")) == NOT_AGAIN


@pytest.mark.parametrize("kind", [Cancelled, TotalTimeout, MisuseError, StateError, ClientClosed, InvalidOption])
@pytest.mark.parametrize("phase", [Phase.CONNECT, Phase.HEAD])
def test_error_that_is_final_stands_whatever_the_policy_names(kind: type[TurbosockError], phase: Phase) -> None:
    assert asked(of(errors=(TurbosockError,)), kind("it failed").during(phase)) == NOT_AGAIN


def test_error_named_by_the_policy_is_retried_and_no_other() -> None:
    state = of(errors=(ProtocolError,))
    assert asked(state, BodyTruncated("short")) >= 0
    assert asked(state, ReadError("reset")) == NOT_AGAIN
    assert asked(state, ConnectError("refused")) == NOT_AGAIN


def test_error_of_the_body_itself_stands() -> None:
    error = WriteError("the file cannot be read", origin=Origin.LOCAL).during(Phase.SEND)
    assert asked(of(), error) == NOT_AGAIN


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "POST", "PATCH", "CONNECT", "get"]
)
def test_method_is_repeated_only_where_the_policy_names_it(method: str) -> None:
    assert RetryPolicy().repeats(method) == (method in IDEMPOTENT_METHODS)
    assert RetryPolicy(methods=["POST"]).repeats(method) == (method == "POST")
    assert not RetryPolicy(methods=()).repeats(method)


@pytest.mark.parametrize("count", [0, 1, 3, limits.MAX_ATTEMPTS - 1])
def test_attempts_end_with_the_count(count: int) -> None:
    state = of(count=count)
    answers = [asked(state, attempt=attempt) >= 0 for attempt in range(1, limits.MAX_ATTEMPTS + 1)]
    assert answers == [attempt <= count for attempt in range(1, limits.MAX_ATTEMPTS + 1)]


# How long


def test_pause_is_bounded_by_doubling_up_to_the_cap() -> None:
    state = of(count=15, backoff_first_s=0.5, backoff_cap_s=3.0)
    bounds = [asked(state, attempt=attempt) for attempt in range(1, 8)]
    assert [round(bound / NS_PER_S, 6) for bound in bounds] == [0.5, 1.0, 2.0, 3.0, 3.0, 3.0, 3.0]


@pytest.mark.parametrize("seed", seeds(5))
def test_pause_is_drawn_evenly_below_its_bound(seed: int) -> None:
    state = of(random.Random(seed), backoff_first_s=1.0)
    pauses = [asked(state) for _ in range(4000)]
    assert all(0 <= pause < NS_PER_S for pause in pauses)
    for quarter in range(4):
        share = sum(quarter <= 4 * pause / NS_PER_S < quarter + 1 for pause in pauses) / len(pauses)
        # Seven standard deviations of an even draw.
        assert abs(share - 0.25) < 0.05


def test_pauses_of_equal_seeds_are_equal() -> None:
    one, other = of(random.Random(7)), of(random.Random(7))
    assert [asked(one) for _ in range(20)] == [asked(other) for _ in range(20)]


def test_pause_of_the_longest_settings_stays_a_number() -> None:
    state = of(count=15, backoff_first_s=limits.MAX_TIMEOUT_S, backoff_cap_s=limits.MAX_TIMEOUT_S)
    assert 0 <= asked(state, attempt=15) <= limits.MAX_TIMEOUT_S * NS_PER_S


@pytest.mark.parametrize(
    ("value", "delay_s"),
    [("7", 7.0), ("0", 0.0), ("3600", limits.RETRY_AFTER_CAP_S), (EXAMPLE, 10.0),
     ("Sun, 06 Nov 1994 00:00:00 GMT", 0.0), ("Sun, 06 Nov 2094 00:00:00 GMT", limits.RETRY_AFTER_CAP_S)],
)  # fmt: skip
@pytest.mark.parametrize("status_code", sorted(RETRY_STATUSES))
def test_retry_after_decides_the_pause(status_code: int, value: str, delay_s: float) -> None:
    headers = HeaderList([("retry-AFTER", value)])
    assert asked(of(), status_code, headers) == delay_s * NS_PER_S


@pytest.mark.parametrize(
    "fields",
    [[("Retry-After", "soon")], [("Retry-After", "-5")], [("Retry-After", "5"), ("Retry-After", "9")], [("X", "5")]],
)
def test_retry_after_that_is_garbage_leaves_the_pause_as_it_is(fields: list[tuple[str, str]]) -> None:
    state = of(backoff_first_s=0.5)
    assert asked(state, 503, HeaderList(fields)) == asked(state)


def test_retry_after_is_cut_to_its_own_cap() -> None:
    assert asked(of(max_retry_after_s=2.5), 429, HeaderList([("Retry-After", "9")])) == 2.5 * NS_PER_S


def test_retry_after_is_not_read_where_it_is_not_respected() -> None:
    state = of(respect_retry_after=False, backoff_first_s=0.5)
    assert asked(state, 503, HeaderList([("Retry-After", "9")])) == asked(state)


def test_retry_after_makes_no_retry_of_another_status() -> None:
    assert asked(of(), 500, HeaderList([("Retry-After", "0")])) == NOT_AGAIN


@pytest.mark.parametrize(("deadline_s", "again"), [(6.9, False), (7.0, False), (7.1, True)])
def test_pause_that_would_meet_the_deadline_is_not_begun(deadline_s: float, again: bool) -> None:
    state = RetryState(RetryPolicy(budget=RetryBudget(ratio=1.0, min_per_s=0)), Highest())
    state.begin()
    now_ns = 5 * NS_PER_S
    headers = HeaderList([("Retry-After", "7")])

    delay_ns = asked(state, 503, headers, now_ns=now_ns, deadline_ns=now_ns + int(deadline_s * NS_PER_S))

    assert (delay_ns >= 0) == again
    assert state.stats().too_late == (not again)
    # What was not begun is not paid for.
    assert (asked(state) >= 0) == (not again)


# The budget


def test_budget_gives_a_part_of_the_requests() -> None:
    state = of(budget=RetryBudget(ratio=0.25, min_per_s=0))
    answers = []
    for _ in range(12):
        state.begin()
        answers.append(asked(state) >= 0)
    assert answers == [False, False, False, True] * 3
    assert state.stats()[:3] == (12, 3, 9)


def test_budget_puts_aside_no_more_than_its_bound() -> None:
    state = of(budget=RetryBudget(ratio=1.0, min_per_s=0))
    for _ in range(100_000):
        state.begin()
    assert sum(asked(state) >= 0 for _ in range(1000)) == limits.MAX_RETRY_CREDIT


def test_budget_without_requests_gives_its_rate() -> None:
    state = of(budget=RetryBudget(ratio=0, min_per_s=2.0))
    at_once = int(2 * limits.RETRY_BUDGET_WINDOW_S)
    assert sum(asked(state) >= 0 for _ in range(100)) == at_once
    for second in (1, 2, 3):
        assert sum(asked(state, now_ns=second * NS_PER_S) >= 0 for _ in range(100)) == 2
    rested_ns = 10_000 * NS_PER_S
    assert sum(asked(state, now_ns=rested_ns) >= 0 for _ in range(100)) == at_once


def test_budget_of_the_slowest_rate_gives_one_at_first() -> None:
    state = of(budget=RetryBudget(ratio=0, min_per_s=0.001))
    assert [asked(state) >= 0, asked(state) >= 0] == [True, False]
    assert asked(state, now_ns=1000 * NS_PER_S) >= 0


def test_budget_is_not_spent_on_what_is_not_retried() -> None:
    state = of(budget=RetryBudget(ratio=1.0, min_per_s=0))
    state.begin()
    assert asked(state, 404) == NOT_AGAIN
    assert asked(state, attempt=99) == NOT_AGAIN
    assert asked(state, ReadError("reset"), idempotent=False) == NOT_AGAIN
    assert state.stats().over_budget == 0
    assert asked(state) >= 0


def outage(state: RetryState, rng: random.Random, requests: int, rate_per_s: float, down: tuple[float, float]) -> Any:
    """Requests at a rate to a server that turns all away while it is down; the attempts outside and inside of that.

    Virtual time: each event is (time, request's attempt), in order.
    """
    clock = ManualClock()
    events = [(int(number / rate_per_s * NS_PER_S), number, 1) for number in range(requests)]
    counts = {"up": 0, "down": 0, "first_down": 0, "first": 0}
    while events:
        events.sort(reverse=True)
        at_ns, number, attempt = events.pop()
        clock.advance(ns=at_ns - clock.now_ns())
        is_down = down[0] <= at_ns / NS_PER_S < down[1]
        if attempt == 1:
            state.begin()
            counts["first"] += 1
            counts["first_down"] += is_down
        counts["down" if is_down else "up"] += 1
        if not is_down:
            continue
        outcomes: list[TurbosockError | int] = [503, 429, ReadError("reset"), ConnectError("refused")]
        deadline_ns = at_ns + 60 * NS_PER_S
        delay_ns = asked(state, rng.choice(outcomes), attempt=attempt, now_ns=at_ns, deadline_ns=deadline_ns)
        if delay_ns >= 0:
            events.append((at_ns + delay_ns, number, attempt + 1))
    return counts


@pytest.mark.parametrize("seed", seeds(4))
@pytest.mark.parametrize("ratio", [0.05, 0.1, 0.5])
def test_outage_is_amplified_by_no_more_than_the_ratio(seed: int, ratio: float) -> None:
    rng = random.Random(seed)
    state = of(rng, count=5, budget=RetryBudget(ratio=ratio, min_per_s=0))

    counts = outage(state, rng, 1000, 100.0, (0.0, 1e9))

    assert counts["down"] <= (1 + ratio) * counts["first"]
    # And the budget is used: it refuses what is too much, not all.
    assert counts["down"] >= (1 + ratio * 0.9) * counts["first"]
    assert state.stats().retries == counts["down"] - counts["first"]


@pytest.mark.parametrize("seed", seeds(4))
def test_outage_after_good_times_adds_what_they_put_aside_and_the_rate(seed: int) -> None:
    rng = random.Random(seed)
    budget = RetryBudget(ratio=0.1, min_per_s=1.0)
    state = of(rng, count=5, budget=budget)

    counts = outage(state, rng, 1500, 100.0, (5.0, 15.0))

    retries = counts["up"] + counts["down"] - counts["first"]
    free = budget.min_per_s * (15 + 60 + limits.RETRY_BUDGET_WINDOW_S)
    assert retries <= 0.1 * counts["first"] + free


def test_outage_without_a_budget_is_amplified_by_every_retry() -> None:
    rng = random.Random(1)
    counts = outage(of(rng, count=3), rng, 200, 100.0, (0.0, 1e9))
    assert counts["down"] == 4 * counts["first"]


def test_blip_in_a_small_program_is_retried_at_once() -> None:
    state = RetryState(RetryPolicy(), random.Random(1))
    state.begin()
    assert all(asked(state, attempt=attempt) >= 0 for attempt in (1, 2, 3))


def test_budget_shared_by_threads_is_spent_exactly() -> None:
    state = of(budget=RetryBudget(ratio=0.5, min_per_s=0))
    allowed: list[int] = []

    def work() -> None:
        for _ in range(500):
            state.begin()
            allowed.append(asked(state) >= 0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stats = state.stats()
    assert stats.requests == 2000
    assert sum(allowed) == stats.retries <= 1000
    assert stats.retries + stats.over_budget == 2000


@NEEDS_FORK
def test_child_of_a_fork_goes_on_with_the_budget_whoever_held_the_lock() -> None:
    state = of(budget=RetryBudget(ratio=1.0, min_per_s=0))
    state.begin()

    def use() -> None:
        assert [asked(state) >= 0, asked(state) >= 0] == [True, False]

    with held_elsewhere(state._lock):
        in_child(use)
    use()


# Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", -1),
        ("count", limits.MAX_ATTEMPTS),
        ("count", True),
        ("count", None),
        ("statuses", 503),
        ("statuses", "503"),
        ("statuses", (399,)),
        ("statuses", (600,)),
        ("statuses", ("503",)),
        ("statuses", (True,)),
        ("methods", "GET"),
        ("methods", None),
        ("methods", ("G T",)),
        ("methods", ("",)),
        ("methods", (b"GET",)),
        ("methods", (5,)),
        ("errors", ReadError),
        ("errors", (OSError,)),
        ("errors", (ReadError("x"),)),
        ("errors", ("ReadError",)),
        ("errors", (Cancelled,)),
        ("errors", (TotalTimeout,)),
        ("errors", (InvalidOption,)),
        ("backoff_first_s", 0),
        ("backoff_first_s", -1.0),
        ("backoff_first_s", float("nan")),
        ("backoff_cap_s", "1"),
        ("backoff_cap_s", limits.MAX_TIMEOUT_S * 2),
        ("respect_retry_after", 1),
        ("max_retry_after_s", 0),
        ("max_retry_after_s", True),
        ("budget", 0.1),
        ("budget", True),
    ],
)
def test_policy_option_wrong_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"^{name}[=:]"):
        RetryPolicy(**{name: value})


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"backoff_first_s": 5.0, "backoff_cap_s": 1.0}, ["backoff_first_s=5.0", "backoff_cap_s=1.0"]),
        ({"backoff_cap_s": 0.1}, ["backoff_first_s=0.25", "backoff_cap_s=0.1"]),
        (
            {"respect_retry_after": False, "max_retry_after_s": 5.0},
            ["respect_retry_after=False", "max_retry_after_s=5.0"],
        ),
        ({"statuses": (), "errors": []}, ["count=3", "statuses=()", "errors=()"]),
    ],
)
def test_policy_options_that_contradict_are_both_named(settings: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(InvalidOption) as caught:
        RetryPolicy(**settings)
    assert [name for name in names if name not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ratio", -0.1),
        ("ratio", 1.1),
        ("ratio", 1e-9),
        ("ratio", float("nan")),
        ("ratio", True),
        ("ratio", "0.1"),
        ("min_per_s", -1),
        ("min_per_s", 1e-6),
        ("min_per_s", limits.MAX_RETRY_BUDGET_PER_S + 1),
        ("min_per_s", float("inf")),
        ("min_per_s", None),
    ],
)
def test_budget_option_wrong_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"^{name}="):
        RetryBudget(**{name: value})


def test_budget_of_nothing_is_refused_with_both_names() -> None:
    with pytest.raises(InvalidOption, match="ratio=0 and min_per_s=0"):
        RetryBudget(ratio=0, min_per_s=0)


@pytest.mark.parametrize("min_per_s", [0, 0.001, 0.5, limits.MAX_RETRY_BUDGET_PER_S])
@pytest.mark.parametrize("ratio", [1e-6, 1])
def test_budget_at_its_bounds_makes_a_state(ratio: float, min_per_s: float) -> None:
    RetryState(RetryPolicy(budget=RetryBudget(ratio, min_per_s))).begin()


@pytest.mark.parametrize("policy", [None, 3, "twice", RetryBudget()])
def test_state_of_no_policy_is_refused(policy: Any) -> None:
    with pytest.raises(InvalidOption, match="RetryPolicy"):
        RetryState(policy)


def test_state_with_another_rng_is_refused() -> None:
    with pytest.raises(InvalidOption, match=r"^rng: "):
        RetryState(RetryPolicy(), random)  # type: ignore[arg-type]  # that is the test


def test_policy_is_frozen_hashable_and_travels() -> None:
    policy = RetryPolicy(count=2, statuses=[503, 429, 503], methods={"POST", "GET"}, errors=[ReadError], budget=None)
    assert pickle.loads(pickle.dumps(policy)) == policy == copy.deepcopy(policy)
    assert policy == RetryPolicy(
        count=2, statuses=(429, 503), methods=("GET", "POST"), errors=(ReadError,), budget=None
    )
    assert hash(policy) == hash(copy.copy(policy))
    assert pickle.loads(pickle.dumps(RetryPolicy())) == RetryPolicy()
    with pytest.raises(AttributeError):
        policy.count = 3  # type: ignore[misc]  # that is the test
