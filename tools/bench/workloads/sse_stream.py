"""Events of 100 bytes from a server (event_server.py) to the caller, over TCP: one run is one stream of EVENTS."""

from __future__ import annotations

import contextlib
import socket

from event_server import EVENTS_A_CHUNK, HEAD, LAST_CHUNK, chunk, event
from task import Contestant, Run, Task
from workloads.sse_parse import checked

EVENTS = 20_000


def bare(task: Task) -> Run:
    """send and recv_into; the bytes are counted, and nothing is read in them"""
    request = task.request(f"/burst/{EVENTS}")
    sock = socket.create_connection((task.host, task.port))
    view = memoryview(bytearray(65536))
    whole, rest = divmod(EVENTS, EVENTS_A_CHUNK)
    total = len(HEAD) + whole * len(chunk(event(b"") * EVENTS_A_CHUNK)) + len(LAST_CHUNK)
    total += len(chunk(event(b"") * rest)) if rest else 0

    def step() -> int:
        sock.sendall(request)
        got = 0
        while got < total:
            count = sock.recv_into(view)
            if not count:
                raise RuntimeError("the server ended the connection")
            got += count
        return EVENTS

    return checked(step, EVENTS)


def turbosock_events(task: Task) -> Run:
    """client.events(); data as the views that it lends"""
    import turbosock

    client = turbosock.Client(turbosock.Config(trust_env=False))
    url = task.url(f"/burst/{EVENTS}")

    def step() -> int:
        done = 0
        with client.events(url, reconnect=False) as stream:
            for told in stream:
                told.data, told.event, told.id  # noqa: B018  # reading them is the work
                done += 1
        return done

    return checked(step, EVENTS)


def turbosock_loop(task: Task) -> Run:
    """loop.events_from(); data as the views that it lends"""
    import turbosock

    loop = turbosock.Loop(turbosock.Config(trust_env=False))
    url = task.url(f"/burst/{EVENTS}")
    message = turbosock.EventKind.MESSAGE

    def step() -> int:
        done = 0
        stream = loop.events_from(url, reconnect=False)
        while not stream.closed:
            loop.poll(1.0)
            for told in loop.events:
                if told.kind is message:
                    told.data, told.event, told.id  # type: ignore[attr-defined]  # noqa: B018  # as above
                    done += 1
        return done

    return checked(step, EVENTS)


def httpx_sse_events(task: Task) -> Run:
    """httpx_sse.connect_sse over an httpx.Client"""
    import httpx
    import httpx_sse

    stack = contextlib.ExitStack()
    client = stack.enter_context(httpx.Client(trust_env=False))
    url = task.url(f"/burst/{EVENTS}")

    def step() -> int:
        done = 0
        with httpx_sse.connect_sse(client, "GET", url) as source:
            for told in source.iter_sse():
                told.data, told.event, told.id  # noqa: B018  # as above
                done += 1
        return done

    return checked(step, EVENTS)


CONTESTANTS: dict[str, Contestant] = {
    "bare": bare,
    "turbosock events": turbosock_events,
    "turbosock loop": turbosock_loop,
    "httpx-sse": httpx_sse_events,
}
