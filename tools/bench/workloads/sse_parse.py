"""Event streams from memory to the caller, every field of every event read: no network, only the parsers.

Both sides get the bytes as a connection would bring them, in pieces that are copied once: ours into the parser's own
memory, the peer's into bytes, which its library reads through an httpx.Response. One run is one stream.
"""

from __future__ import annotations

import functools
import importlib
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import work
from task import Contestant, Run, Task

STREAM_BYTES = 1_000_000
PIECE_BYTES = 64 * 1024
# Events whose allocations are counted, in one buffer of so many bytes.
COUNTED = 80
COUNTED_BYTES = 1024 * 1024
# Allocations that fail one after the other. Not all that follow: where CPython 3.11 has no memory for the place of an
# exception in a long function, it looks for the handler again, for ever.
FAILING = 1000


class Kind(NamedTuple):
    """A kind of event: bytes of all of it, and how many lines its data has; `whole` with a type and an id."""

    size: int
    lines: int
    whole: bool


KINDS = {
    "100 B": Kind(100, 1, False),
    "100 B, id and type": Kind(100, 1, True),
    "1 KiB": Kind(1024, 1, False),
    "1 KiB, id and type": Kind(1024, 1, True),
    "2 KiB": Kind(2048, 1, False),
    "10 KiB": Kind(10240, 1, False),
    "10 KiB, id and type": Kind(10240, 1, True),
    "10 lines": Kind(1000, 10, False),
    "100 lines": Kind(10000, 100, False),
}


def event_of(kind: Kind, number: int) -> bytes:
    """One event; `number` is its id."""
    head = b"id: %d\nevent: update\n" % (100_000 + number) if kind.whole else b""
    room = kind.size - len(head) - 1 - kind.lines * len(b"data: \n")
    text = (b'{"delta": "word %d", "index": 0} ' % number) * (room // 30 + 1)
    share = room // kind.lines
    last = room - share * (kind.lines - 1)
    lines = [text[:share]] * (kind.lines - 1) + [text[:last]]
    return head + b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"


def stream_of(kind: Kind) -> tuple[bytes, int]:
    """A stream, and how many events are in it."""
    count = STREAM_BYTES // kind.size
    return b"".join(event_of(kind, number) for number in range(count)), count


def checked(step: Callable[[], int], count: int) -> Run:
    """A run that calls `step` once a stream; `step` returns the events that it read, checked once here."""
    got = step()
    if got != count:
        raise RuntimeError(f"a stream gave {got} events, not {count}")

    def run(streams: int) -> None:
        for _ in itertools.repeat(None, streams):
            step()

    return run


def turbosock_views(task: Task, kind: Kind) -> Run:
    """EventParser; data as the views that it lends"""
    from turbosock.buffers import BufferPool
    from turbosock.protocol.sse.parser import EventParser

    parser = EventParser(BufferPool())
    body, count = stream_of(kind)
    source, total = memoryview(body), len(body)

    def step() -> int:
        at = done = 0
        while at < total:
            view = parser.writable()
            size = min(len(view), PIECE_BYTES, total - at)
            view[:size] = source[at : at + size]
            parser.advance(size)
            at += size
            for event in parser:
                event.data, event.event, event.id, event.retry  # noqa: B018  # reading them is the work
                done += 1
        return done

    return checked(step, count)


def turbosock_text(task: Task, kind: Kind) -> Run:
    """EventParser; data as text"""
    from turbosock.buffers import BufferPool
    from turbosock.protocol.sse.parser import EventParser

    parser = EventParser(BufferPool())
    body, count = stream_of(kind)
    source, total = memoryview(body), len(body)

    def step() -> int:
        at = done = 0
        while at < total:
            view = parser.writable()
            size = min(len(view), PIECE_BYTES, total - at)
            view[:size] = source[at : at + size]
            parser.advance(size)
            at += size
            for event in parser:
                event.text, event.event, event.id, event.retry  # noqa: B018  # reading them is the work
                done += 1
        return done

    return checked(step, count)


def httpx_sse_events(task: Task, kind: Kind) -> Run:
    """httpx_sse.EventSource over an httpx.Response"""
    import httpx
    import httpx_sse

    body, count = stream_of(kind)
    source = memoryview(body)
    headers = {"Content-Type": "text/event-stream"}

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(body), PIECE_BYTES):
            yield bytes(source[at : at + PIECE_BYTES])

    def step() -> int:
        done = 0
        response = httpx.Response(200, headers=headers, content=pieces())
        for event in httpx_sse.EventSource(response).iter_sse():
            event.data, event.event, event.id, event.retry  # noqa: B018  # reading them is the work
            done += 1
        return done

    return checked(step, count)


def allocations(task: Task, kind: Kind) -> dict[str, float]:
    """What one event of a kind takes: from the interpreter, counted without a tracer, and from the system, by memray.

    The interpreter is told to have no memory after so many allocations; the least number with which COUNTED events
    can be read all the same is what they take. A tracer would make objects of frames and of methods, and count those.
    """
    from turbosock.buffers import BufferPool
    from turbosock.protocol.sse.parser import EventParser

    faults = importlib.import_module("_testcapi")
    parser = EventParser(BufferPool(), buffer_bytes=COUNTED_BYTES)
    events = [event_of(kind, number) for number in range(COUNTED + 10)]
    body = b"".join(events)

    def suffices(allowed: int, turns: itertools.repeat[None]) -> bool:
        parser.reset()
        parser.writable()[: len(body)] = body
        parser.advance(len(body))
        for _ in range(4):
            parser.next_event()
        faults.set_nomemory(allowed, allowed + FAILING)
        try:
            for _, event in zip(turns, parser, strict=False):
                event.data, event.event, event.id, event.retry  # noqa: B018  # reading them is the work
        except MemoryError:
            return False
        finally:
            faults.remove_mem_hooks()
        return True

    least = []
    # The first one has what an iteration takes once.
    for turns in (1, COUNTED + 1):
        low, high = 0, 100 * COUNTED
        while low < high:
            middle = (low + high) // 2
            if suffices(middle, itertools.repeat(None, turns)):
                high = middle
            else:
                low = middle + 1
        least.append(low)
    streams = 20
    run = turbosock_views(task, kind)
    work.traced(run, 1, python_allocators=False)
    system, _ = work.traced(run, streams, python_allocators=False)
    return {
        "python": (least[1] - least[0]) / COUNTED,
        "system": system / (STREAM_BYTES // kind.size),
    }


READERS: dict[str, Callable[[Task, Kind], Run]] = {
    "turbosock": turbosock_views,
    "turbosock text": turbosock_text,
    "httpx-sse": httpx_sse_events,
}

CONTESTANTS: dict[str, Contestant] = {
    f"{reader}, {name}": functools.partial(make, kind=kind)
    for name, kind in KINDS.items()
    for reader, make in READERS.items()
}

REPORTS = {name: functools.partial(allocations, kind=kind) for name, kind in KINDS.items()}
