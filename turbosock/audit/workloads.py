"""Workloads: what is performed while it is counted, each as little as a program can do with the call that it is about.

Whatever a loop here allocates is counted, too: it stands for the program. So each is flat, binds what it calls, reads
bodies into one buffer, and counts no further than 256 where it can, up to which CPython has its ints ready. Those of a
Loop keep their requests in flight from one call to the next, because a steady state has no beginning and no end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import traceback
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

from turbosock import limits
from turbosock.audit.answers import Answers
from turbosock.audit.counting import Work
from turbosock.audit.plan import AuditPlan, Kind
from turbosock.client.client import Client
from turbosock.client.events import EventKind
from turbosock.client.exchange import ClientExchange
from turbosock.config import Config, PoolConfig
from turbosock.errors import AuditError, TurbosockError
from turbosock.loop import Loop

if TYPE_CHECKING:
    from turbosock.client.blocking_event_stream import BlockingEventStream
    from turbosock.client.loop_exchange import Exchange
    from turbosock.client.websocket import WebSocket

BUFFER_BYTES = limits.SEGMENT_BYTES
# A turn of a Loop in which nothing came for so long is the target's failure, not a wait.
_TURN_S = 1.0


class Prepared(NamedTuple):
    """A workload that is ready; `each` says in words what one unit was, `answers` how requests were answered."""

    work: Work
    each: str
    answers: Answers | None = None


@contextlib.contextmanager
def prepared(plan: AuditPlan) -> Iterator[Prepared]:
    """The plan's workload, its connections open for the length of a with block.

    Raises:
        TurbosockError: the target cannot be reached, or does not do what it is to.
        AuditError: there is no such function, or the peer is not installed.
    """
    if plan.kind is Kind.TICK:
        yield Prepared(_ticks(plan.target), "one call")
    elif plan.peer != "turbosock":
        # Not with the module: the libraries are another's.
        from turbosock.audit.peers import requests_by

        with requests_by(plan) as (work, answers):
            yield Prepared(work, f"GET, {answers.usual}, the body as bytes", answers)
    elif plan.in_flight:
        with Loop(_roomy(plan)) as loop:
            yield _IN_LOOPS[plan.kind](loop, plan)
    else:
        with Client(plan.config) as client, contextlib.ExitStack() as stack:
            yield _BLOCKING[plan.kind](client, plan, stack)


def _roomy(plan: AuditPlan) -> Config:
    """The plan's Config, with room for a connection each."""
    count = plan.in_flight
    pool = plan.config.pool
    roomy = PoolConfig(
        max(pool.max_connections, count), max(pool.max_connections_per_origin, count), max(pool.max_idle, count)
    )
    return dataclasses.replace(plan.config, pool=roomy)


# One after the other


def _requests(client: Client, plan: AuditPlan, stack: contextlib.ExitStack) -> Prepared:
    stream, url, view = client.stream, plan.target, memoryview(bytearray(BUFFER_BYTES))
    nbytes = 0
    with stream("GET", url) as response:
        while count := response.readinto(view):
            nbytes += count
        each = f"{_answer(response)}, {nbytes} bytes of body into one buffer"
    usual = response.status_code
    answers = Answers(usual)

    def work(count: int) -> int:
        for _ in repeat(None, count):
            with stream("GET", url) as response:
                while response.readinto(view):
                    pass
                # No property, which is a call.
                if response.head.status_code != usual:  # type: ignore[union-attr]  # it was answered
                    answers.note(response.status_code)
        return count

    return Prepared(work, each, answers)


def _answer(answered: ClientExchange) -> str:
    """What a request came to, in words."""
    behind = len(answered.history)
    redirects = f" behind {behind} redirect{'s' if behind > 1 else ''}" if behind else ""
    return f"GET, {answered.http_version} {answered.status_code}{redirects}"


def _messages(client: Client, plan: AuditPlan, stack: contextlib.ExitStack) -> Prepared:
    websocket: WebSocket = stack.enter_context(client.websocket(plan.target))
    message = bytes(plan.message_bytes)
    send, receive, timeout_s = websocket.send, websocket.recv_view, plan.config.timeouts.read_s

    def work(count: int) -> int:
        for _ in repeat(None, count):
            send(message)
            receive(timeout_s)
        return count

    work(1)
    return Prepared(work, f"a message of {len(message)} bytes sent, and one received")


def _events(client: Client, plan: AuditPlan, stack: contextlib.ExitStack) -> Prepared:
    stream: BlockingEventStream = stack.enter_context(client.events(plan.target, reconnect=False))
    take = stream.__next__

    def work(count: int) -> int:
        try:
            for _ in repeat(None, count):
                take()
        except StopIteration:
            raise AuditError("the stream ended before enough events had come: audit one without end") from None
        return count

    work(1)
    return Prepared(work, "an event received, its data a view")


# Many at once, in a Loop


class _Slot:
    """The buffer of one of the requests in flight, used again for its successor."""

    __slots__ = ("view",)

    def __init__(self, size: int) -> None:
        self.view = memoryview(bytearray(size))


def _requests_in_flight(loop: Loop, plan: AuditPlan) -> Prepared:
    request, poll, events, url = loop.request, loop.poll, loop.events, plan.target
    answered = EventKind.RESPONSE
    first = loop.request("GET", url)
    while not first.done:
        poll(_TURN_S)
        for event in events:
            if event.error is not None:
                raise event.error
    nbytes = first.nbytes
    each = f"{_answer(first)}, {nbytes} bytes of body into a buffer of its own"
    usual = first.status_code
    answers = Answers(usual)
    for _ in range(plan.in_flight):
        slot = _Slot(max(BUFFER_BYTES, 2 * nbytes))
        request("GET", url, into=slot.view, user=slot)

    def work(count: int) -> int:
        done = 0
        while done < count:
            poll(_TURN_S)
            turn = 0
            for event in events:
                if event.error is not None:
                    raise event.error
                if event.kind is answered:
                    turn += 1
                    exchange: Exchange = event.exchange  # type: ignore[assignment]  # a RESPONSE has one
                    if exchange.head.status_code != usual:  # type: ignore[union-attr]  # likewise
                        answers.note(exchange.status_code)
                    slot: _Slot = exchange.user  # type: ignore[assignment]  # as given above
                    request("GET", url, into=slot.view, user=slot)
            done += turn
        return done

    return Prepared(work, each, answers)


def _messages_in_flight(loop: Loop, plan: AuditPlan) -> Prepared:
    payload = bytes(plan.message_bytes)
    poll, events, flush = loop.poll, loop.events, loop.flush
    is_message, is_open, is_closed = EventKind.MESSAGE, EventKind.OPEN, EventKind.CLOSED
    for _ in range(plan.in_flight):
        loop.websocket(plan.target)

    def work(count: int) -> int:
        done = 0
        while done < count:
            poll(_TURN_S)
            turn = 0
            for event in events:
                kind = event.kind
                if event.error is not None:
                    raise event.error
                if kind is is_message:
                    turn += 1
                    event.connection.send(payload)  # type: ignore[attr-defined]  # a WebSocketConnection
                elif kind is is_open:
                    event.connection.send(payload)  # type: ignore[attr-defined]  # likewise
                elif kind is is_closed:
                    raise AuditError("the server closed a WebSocket: audit one that sends back what it gets")
            flush()
            done += turn
        return done

    work(1)
    return Prepared(work, f"a message of {len(payload)} bytes received, and one sent")


def _events_in_flight(loop: Loop, plan: AuditPlan) -> Prepared:
    poll, events = loop.poll, loop.events
    is_message, is_closed = EventKind.MESSAGE, EventKind.CLOSED
    for _ in range(plan.in_flight):
        loop.events_from(plan.target, reconnect=False)

    def work(count: int) -> int:
        done = 0
        while done < count:
            poll(_TURN_S)
            turn = 0
            for event in events:
                if event.error is not None:
                    raise event.error
                if event.kind is is_message:
                    turn += 1
                elif event.kind is is_closed:
                    raise AuditError("a stream ended before enough events had come: audit one without end")
            done += turn
        return done

    work(1)
    return Prepared(work, "an event received, its data a view")


_BLOCKING: dict[Kind, Callable[[Client, AuditPlan, contextlib.ExitStack], Prepared]] = {
    Kind.REQUEST: _requests,
    Kind.MESSAGE: _messages,
    Kind.EVENT: _events,
}
_IN_LOOPS: dict[Kind, Callable[[Loop, AuditPlan], Prepared]] = {
    Kind.REQUEST: _requests_in_flight,
    Kind.MESSAGE: _messages_in_flight,
    Kind.EVENT: _events_in_flight,
}


# A function


def _ticks(target: str) -> Work:
    module_name, _, path = target.partition(":")
    try:
        found: object = importlib.import_module(module_name)
    except TurbosockError:
        raise
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == module_name:
            raise AuditError(f"{target}: there is no module {module_name}, neither here nor installed") from error
        raise AuditError(f"{target}: {failure_line(error)}") from error
    for name in path.split("."):
        found = getattr(found, name, None)
    if not callable(found):
        raise AuditError(f"{target}: there is no such function; give 'module:function'")
    tick = found

    def work(count: int) -> int:
        for _ in repeat(None, count):
            tick()
        return count

    try:
        work(1)
    except Exception as error:
        raise AuditError(f"{target} failed: {failure_line(error)}") from error
    return work


def failure_line(error: BaseException) -> str:
    """One line: what was raised, its message, and where."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    message = " ".join(str(error).split())
    return f"{type(error).__name__}{': ' if message else ''}{message} ({last.filename}:{last.lineno})"
