from __future__ import annotations

import itertools

import pytest

from turbosock.errors import ProtocolError, StateError
from turbosock.protocol.http1 import state as s
from turbosock.protocol.http1.state import ExchangeState, ServerExchangeState

STATES = range(len(s.STATE_NAMES))
EVENTS = range(len(s.EVENT_NAMES))


class ClientExchangeState(ExchangeState):
    """The client's table driven by events; a client's connection takes its steps from the columns."""

    table = s.CLIENT_TABLE
    peer_events = frozenset((s.INTERIM_HEAD, s.FINAL_HEAD, s.SWITCHED, s.LEFTOVER, s.PEER_CLOSED))


SIDES = (ClientExchangeState, ServerExchangeState)


def driven(side: type[ExchangeState], *events: int) -> ExchangeState:
    exchange = side()
    for event in events:
        exchange.on(event)
    return exchange


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("state", "event"), list(itertools.product(STATES, EVENTS)))
def test_every_state_and_event_follows_the_table_or_raises_and_stays(
    side: type[ExchangeState], state: int, event: int
) -> None:
    exchange = side()
    exchange.state = state
    expected = side.table.get((state, event))
    if expected is not None:
        assert exchange.on(event) == exchange.state == expected
        return
    error = ProtocolError if event in side.peer_events else StateError
    with pytest.raises(error, match=s.STATE_NAMES[state]):
        exchange.on(event)
    assert exchange.state == state


@pytest.mark.parametrize("event", EVENTS)
def test_column_follows_the_table_and_breaks_where_it_has_no_row(event: int) -> None:
    steps = s.column(s.CLIENT_TABLE, event)
    assert [steps[state] for state in STATES] == [s.CLIENT_TABLE.get((state, event), s.BROKEN) for state in STATES]
    assert steps[s.BROKEN] == s.BROKEN


@pytest.mark.parametrize("side", SIDES)
def test_every_state_of_a_table_is_reached_from_idle_and_can_be_closed(side: type[ExchangeState]) -> None:
    reached = {s.IDLE, s.MUST_CLOSE}
    while True:
        further = reached | {to for (origin, _), to in side.table.items() if origin in reached}
        if further == reached:
            break
        reached = further
    assert reached == {origin for origin, _ in side.table}
    assert all(side.table[state, s.CLOSE] == s.CLOSED for state in reached)


@pytest.mark.parametrize("side", SIDES)
def test_no_way_leads_back_from_the_end_to_idle(side: type[ExchangeState]) -> None:
    ends = {s.MUST_CLOSE, s.CLOSED, s.UPGRADED}
    assert all(to in ends for (origin, _), to in side.table.items() if origin in ends)


@pytest.mark.parametrize("side", SIDES)
def test_connection_comes_back_to_idle_after_a_whole_exchange(side: type[ExchangeState]) -> None:
    whole = (s.REQUEST_STARTED, s.REQUEST_DONE, s.INTERIM_HEAD, s.FINAL_HEAD, s.RESPONSE_DONE)
    exchange = driven(side, *whole, *whole)
    assert exchange.state == s.IDLE
    assert exchange.reusable


@pytest.mark.parametrize("side", SIDES)
def test_connection_in_use_is_not_reusable(side: type[ExchangeState]) -> None:
    exchange = side()
    assert exchange.reusable
    for event in (s.REQUEST_STARTED, s.REQUEST_DONE, s.FINAL_HEAD):
        exchange.on(event)
        assert not exchange.reusable


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("when", range(4))
def test_connection_told_that_the_exchange_is_the_last_must_close_after_it(
    side: type[ExchangeState], when: int
) -> None:
    exchange = side()
    for i, event in enumerate((s.REQUEST_STARTED, s.REQUEST_DONE, s.FINAL_HEAD, s.RESPONSE_DONE)):
        if i == when:
            exchange.end_after_this()
        if when == 0 and i == 0:
            assert exchange.state == s.MUST_CLOSE
            return
        exchange.on(event)
    assert exchange.state == s.MUST_CLOSE
    assert not exchange.reusable


def test_client_answered_before_its_request_was_sent_is_not_reused() -> None:
    exchange = driven(ClientExchangeState, s.REQUEST_STARTED, s.FINAL_HEAD, s.REQUEST_DONE, s.RESPONSE_DONE)
    assert exchange.state == s.MUST_CLOSE
    assert driven(ClientExchangeState, s.REQUEST_STARTED, s.FINAL_HEAD, s.RESPONSE_DONE).state == s.MUST_CLOSE


def test_client_with_leftover_bytes_is_not_reused() -> None:
    exchange = driven(ClientExchangeState, s.REQUEST_STARTED, s.REQUEST_DONE, s.FINAL_HEAD, s.RESPONSE_DONE, s.LEFTOVER)
    assert exchange.state == s.MUST_CLOSE


@pytest.mark.parametrize("event", [s.INTERIM_HEAD, s.FINAL_HEAD, s.SWITCHED])
def test_client_sent_a_response_that_it_never_asked_for_refuses_it(event: int) -> None:
    with pytest.raises(ProtocolError, match="out of turn"):
        driven(ClientExchangeState, event)


def test_client_whose_server_switches_before_the_request_is_sent_refuses_it() -> None:
    with pytest.raises(ProtocolError):
        driven(ClientExchangeState, s.REQUEST_STARTED, s.SWITCHED)


@pytest.mark.parametrize("side", SIDES)
def test_upgraded_connection_carries_no_exchange(side: type[ExchangeState]) -> None:
    exchange = driven(side, s.REQUEST_STARTED, s.REQUEST_DONE, s.SWITCHED)
    assert exchange.state == s.UPGRADED
    assert not exchange.reusable


def test_server_answers_a_client_that_closed_its_half_and_then_closes() -> None:
    exchange = driven(ServerExchangeState, s.REQUEST_STARTED, s.REQUEST_DONE, s.PEER_CLOSED, s.FINAL_HEAD)
    assert exchange.state == s.ANSWERING
    assert exchange.on(s.RESPONSE_DONE) == s.MUST_CLOSE


def test_server_that_answered_early_drains_the_request_before_the_next() -> None:
    exchange = driven(ServerExchangeState, s.REQUEST_STARTED, s.FINAL_HEAD, s.RESPONSE_DONE)
    assert exchange.state == s.DRAINING
    assert not exchange.reusable
    assert exchange.on(s.REQUEST_DONE) == s.IDLE
