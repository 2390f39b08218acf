"""I/O contexts: every state by every step, and the pool that keeps them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from turbosock.errors import StateError
from turbosock.reactor.context import (
    COMPLETED,
    CONFIGURED,
    EMPTY,
    FREE,
    PENDING,
    RECEIVE,
    STATE_NAMES,
    IOContext,
    IOContextPool,
)

BUFFER = bytearray(10)


def submit(context: IOContext) -> None:
    """What a transport writes when it takes a receive."""
    context.operation = RECEIVE
    context.state = PENDING


def in_state(state: int) -> IOContext:
    """A context brought to `state` as transports do."""
    context = IOContext()
    if state == FREE:
        return context
    context.set_buffer(BUFFER, 2, 5)
    if state == PENDING:
        submit(context)
    elif state == COMPLETED:
        context.bytes_transferred = 3
        context.state = COMPLETED
    return context


STEPS: dict[str, Callable[[IOContext], object]] = {
    "set_buffer": lambda context: context.set_buffer(BUFFER, 0, 10),
    "set_vector": lambda context: context.set_vector([b"ab", b"c"], 3),
    "disarm": lambda context: context.disarm(),
    "release": lambda context: context.release(),
}

# What the picture at the top of the module allows; a step that is not here raises.
TABLE: dict[tuple[int, str], int] = {
    (FREE, "set_buffer"): CONFIGURED,
    (FREE, "set_vector"): CONFIGURED,
    (FREE, "disarm"): FREE,
    (CONFIGURED, "set_buffer"): CONFIGURED,
    (CONFIGURED, "set_vector"): CONFIGURED,
    (CONFIGURED, "disarm"): FREE,
    (CONFIGURED, "release"): FREE,
    (PENDING, "disarm"): FREE,
    (COMPLETED, "set_buffer"): CONFIGURED,
    (COMPLETED, "set_vector"): CONFIGURED,
    (COMPLETED, "disarm"): FREE,
    (COMPLETED, "release"): FREE,
}


@pytest.mark.parametrize("state", [FREE, CONFIGURED, PENDING, COMPLETED], ids=STATE_NAMES)
@pytest.mark.parametrize("step", STEPS)
def test_context_step_in_state_moves_as_the_table_says(state: int, step: str) -> None:
    context = in_state(state)
    expected = TABLE.get((state, step))
    if expected is None:
        with pytest.raises(StateError, match=f"{STATE_NAMES[state]}"):
            STEPS[step](context)
        assert context.state == state
    else:
        STEPS[step](context)
        assert context.state == expected


@pytest.mark.parametrize("state", [CONFIGURED, COMPLETED])
def test_context_released_forgets_everything_and_counts(state: int) -> None:
    context = in_state(state)
    context.error = OSError()
    context.release()
    assert context.buffer is EMPTY
    assert context.vector is None
    assert context.error is None
    assert (context.offset, context.count, context.bytes_transferred) == (0, 0, 0)
    assert context.generation == 1


def test_context_disarmed_counts_as_a_release_once() -> None:
    context = in_state(PENDING)
    context.disarm()
    assert context.generation == 1
    context.disarm()
    assert context.generation == 1


@pytest.mark.parametrize(("offset", "count"), [(-1, 1), (0, -1), (0, 11), (10, 1), (11, 0)])
def test_context_buffer_left_by_offset_and_count_is_refused(offset: int, count: int) -> None:
    context = IOContext()
    with pytest.raises(StateError, match="buffer of 10 bytes"):
        context.set_buffer(BUFFER, offset, count)
    assert context.state == FREE


def test_context_repr_shows_state_and_progress() -> None:
    context = in_state(PENDING)
    assert repr(context) == "<IOContext RECEIVE PENDING 0/5 generation=0>"


def test_pool_lends_what_it_got_back_and_makes_no_more() -> None:
    pool = IOContextPool()
    context = pool.rent()
    context.completed = print
    context.user_token = "mine"
    context.set_buffer(BUFFER, 0, 5)
    pool.give_back(context)
    assert len(pool) == 1
    again = pool.rent()
    assert again is context
    assert (again.state, again.completed, again.user_token) == (FREE, None, None)
    assert (pool.made, pool.rented, pool.returned, pool.dropped) == (1, 2, 1, 0)


def test_pool_keeps_no_more_than_its_cap() -> None:
    pool = IOContextPool(max_idle=2)
    contexts = [pool.rent() for _ in range(3)]
    for context in contexts:
        pool.give_back(context)
    assert (len(pool), pool.dropped, pool.returned) == (2, 1, 3)
    pool.clear()
    assert len(pool) == 0


def test_pool_refuses_a_pending_context_and_one_that_is_there() -> None:
    pool = IOContextPool()
    pending = pool.rent()
    pending.set_buffer(BUFFER, 0, 5)
    submit(pending)
    with pytest.raises(StateError, match="PENDING"):
        pool.give_back(pending)
    pending.disarm()
    pool.give_back(pending)
    with pytest.raises(StateError, match="already in its pool"):
        pool.give_back(pending)
    assert (len(pool), pool.returned) == (1, 1)
