from __future__ import annotations

import itertools

import pytest

from turbosock.errors import ProtocolError, StateError
from turbosock.protocol.websocket import state as s
from turbosock.protocol.websocket.close import ABNORMAL, NO_STATUS
from turbosock.protocol.websocket.state import TABLE, ConnectionState

STATES = range(len(s.STATE_NAMES))
EVENTS = range(len(s.EVENT_NAMES))


@pytest.mark.parametrize(("state", "event"), list(itertools.product(STATES, EVENTS)))
def test_every_state_and_event_follows_the_table_or_raises_and_stays(state: int, event: int) -> None:
    connection = ConnectionState()
    connection.state = state
    expected = TABLE.get((state, event))
    if expected is not None:
        assert connection.on(event) == connection.state == expected
        return
    error = ProtocolError if event in s.PEER_EVENTS else StateError
    with pytest.raises(error, match=s.STATE_NAMES[state]):
        connection.on(event)
    assert connection.state == state


def test_every_state_is_reached_and_can_be_ended_by_either_side() -> None:
    reached = {s.OPEN}
    while True:
        further = reached | {to for (origin, _), to in TABLE.items() if origin in reached}
        if further == reached:
            break
        reached = further
    assert reached == set(STATES)
    assert all(TABLE[state, event] == s.CLOSED for state in STATES for event in (s.CLOSE, s.PEER_CLOSED))


def test_no_way_leads_back_to_an_earlier_state() -> None:
    order = {s.OPEN: 0, s.CLOSE_SENT: 1, s.CLOSE_RECEIVED: 1, s.FINISHED: 2, s.CLOSED: 3}
    assert all(origin == to or order[origin] < order[to] for (origin, _), to in TABLE.items())


def test_nothing_new_is_said_after_our_close() -> None:
    ours = {s.SEND_DATA, s.SEND_CONTROL, s.SEND_CLOSE}
    silent = {s.CLOSE_SENT, s.FINISHED, s.CLOSED}
    assert not any(origin in silent and event in ours for origin, event in TABLE)


def test_close_that_we_begin_is_clean_once_it_is_answered() -> None:
    connection = ConnectionState()
    connection.on(s.DATA)
    assert connection.send_close(1001) == s.CLOSE_SENT
    assert not connection.clean
    connection.on(s.DATA)
    connection.on(s.CONTROL)
    assert connection.receive_close(1000, "bye") == s.FINISHED
    assert connection.on(s.PEER_CLOSED) == s.CLOSED
    assert connection.clean
    assert (connection.sent_code, connection.close_code, connection.close_reason) == (1001, 1000, "bye")
    assert repr(connection) == "<ConnectionState CLOSED sent=1001 received=1000>"


def test_close_that_the_peer_begins_lets_a_message_be_sent_to_its_end() -> None:
    connection = ConnectionState()
    assert connection.receive_close(NO_STATUS, "") == s.CLOSE_RECEIVED
    assert connection.on(s.SEND_DATA) == s.CLOSE_RECEIVED
    with pytest.raises(StateError):
        connection.on(s.SEND_CONTROL)
    assert connection.send_close() == s.FINISHED
    assert connection.clean
    assert connection.close_code == NO_STATUS


def test_connection_lost_has_the_code_1006() -> None:
    connection = ConnectionState()
    connection.on(s.PEER_CLOSED)
    assert (connection.close_code, connection.close_reason, connection.clean) == (ABNORMAL, "", False)
    unanswered = ConnectionState()
    unanswered.receive_close(1000, "bye")
    unanswered.on(s.PEER_CLOSED)
    assert (unanswered.close_code, unanswered.clean) == (1000, False)
    half_closed = ConnectionState()
    half_closed.send_close(1000)
    half_closed.on(s.PEER_CLOSED)
    assert (half_closed.close_code, half_closed.clean) == (ABNORMAL, False)


def test_connection_that_fails_sends_one_close_and_tells_why() -> None:
    connection = ConnectionState()
    assert connection.fail(1002, "a bad frame")
    assert connection.state == s.FINISHED
    assert (connection.sent_code, connection.close_code, connection.close_reason) == (1002, 1002, "a bad frame")
    assert not connection.clean
    assert not connection.fail(1011, "another thing")
    assert (connection.close_code, connection.close_reason) == (1002, "a bad frame")


def test_connection_that_fails_after_our_close_sends_none() -> None:
    connection = ConnectionState()
    connection.send_close(1000)
    assert not connection.fail(1002, "a bad frame")
    assert connection.sent_code == 1000
    assert connection.failed and not connection.clean


def test_connection_that_fails_after_the_peers_close_answers_it() -> None:
    connection = ConnectionState()
    connection.receive_close(1001, "going")
    assert connection.fail(1011, "the handler failed")
    assert (connection.close_code, connection.close_reason, connection.sent_code) == (1001, "going", 1011)


def test_connection_that_is_closed_cannot_fail_any_more() -> None:
    connection = ConnectionState()
    connection.on(s.CLOSE)
    with pytest.raises(StateError):
        connection.fail(1002, "")
    assert not connection.failed
