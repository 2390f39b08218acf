"""Ticks of the budgets' scenarios that no URL stands for: each function is one unit, as `turbosock audit` calls it.

Whatever a function needs is made when it is called for the first time, because a process has one scenario. The peer's
ports come by TURBOSOCK_AUDIT_PEER.
"""

from __future__ import annotations

import functools
import json
import os
import socket
from collections.abc import Callable
from typing import Any

from turbosock import Client, EventKind, LengthPrefixed, Loop

MESSAGE = EventKind.MESSAGE
PAYLOAD = b"x" * 32
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def _ports() -> dict[str, int]:
    ports: dict[str, int] = json.loads(os.environ["TURBOSOCK_AUDIT_PEER"])
    return ports


def _echo(loop: Loop) -> None:
    """One turn, in which every message goes back."""
    loop.poll(5.0)
    for event in loop.events:
        if event.kind is MESSAGE:
            event.connection.send(event.data)  # type: ignore[attr-defined]  # a connection of messages
    loop.flush()


def _echoed(loop: Loop, client: socket.socket, sent: bytes, size: int) -> Callable[[], None]:
    """A tick in which `sent` comes in and `size` bytes go out again."""
    received = memoryview(bytearray(size))
    send, receive = client.send, client.recv_into

    def tick() -> None:
        send(sent)
        _echo(loop)
        receive(received)

    return tick


@functools.cache
def _udp() -> Callable[[], None]:
    loop = Loop()
    listener = loop.listen(("127.0.0.1", 0), protocol="udp", session_timeout_s=60)
    client = socket.socket(type=socket.SOCK_DGRAM)
    client.connect(listener.address)
    return _echoed(loop, client, PAYLOAD, len(PAYLOAD))


@functools.cache
def _tcp() -> Callable[[], None]:
    loop = Loop()
    listener = loop.listen(("127.0.0.1", 0), protocol="tcp", framing=LengthPrefixed(2))
    assert isinstance(listener.address, tuple)
    client = socket.create_connection(listener.address)
    while not listener.connections:
        loop.poll(1.0)
    frame = len(PAYLOAD).to_bytes(2, "big") + PAYLOAD
    return _echoed(loop, client, frame, len(frame))


@functools.cache
def _http() -> Callable[[], None]:
    loop = Loop()
    # A Date of its own, because the listener's changes with the second.
    fields = [("Date", "Tue, 14 Nov 2023 22:13:20 GMT")]
    listener = loop.listen(("127.0.0.1", 0), handler=lambda exchange: exchange.respond(200, fields, PAYLOAD))
    assert isinstance(listener.address, tuple)
    client = socket.create_connection(listener.address)
    received = memoryview(bytearray(65536))
    send, receive, poll = client.send, client.recv_into, loop.poll
    client.setblocking(False)

    def tick() -> None:
        send(REQUEST)
        poll(5.0)
        receive(received)

    # The first turns accept.
    client.send(REQUEST)
    for _ in range(3):
        poll(0.2)
    receive(received)
    return tick


@functools.cache
def _sse() -> Callable[[], None]:
    ports = _ports()
    control = socket.create_connection(("127.0.0.1", ports["control"]))
    stream = Client().events(f"http://127.0.0.1:{ports['http']}/events", reconnect=False)
    send, take = control.send, stream.__next__
    # The stream is there when its first event is; those that are sent before are sent to nobody.
    _first_event(stream, send)

    def tick() -> None:
        send(b".")
        take()

    return tick


def _first_event(stream: Any, send: Callable[[bytes], int]) -> None:
    import threading

    came = threading.Event()

    def ask() -> None:
        while not came.wait(0.05):
            send(b".")

    asking = threading.Thread(target=ask)
    asking.start()
    next(stream)
    came.set()
    asking.join()


@functools.cache
def _sse_in_loop() -> Callable[[], None]:
    ports = _ports()
    control = socket.create_connection(("127.0.0.1", ports["control"]))
    loop = Loop()
    stream = loop.events_from(f"http://127.0.0.1:{ports['http']}/events", reconnect=False)
    opened = False
    while not opened:
        loop.poll(5.0)
        for event in loop.events:
            opened = opened or event.kind is EventKind.OPEN
    assert not stream.closed
    send, poll, events = control.send, loop.poll, loop.events

    def tick() -> None:
        send(b".")
        came = False
        while not came:
            poll(5.0)
            for event in events:
                came = event.kind is MESSAGE

    return tick


def udp() -> None:
    """A datagram of a client comes and goes back."""
    _udp()()


def tcp() -> None:
    """A message of a client comes over TCP and goes back."""
    _tcp()()


def http_listener() -> None:
    """A request of a client comes and is answered."""
    _http()()


def sse() -> None:
    """An event comes out of a blocking stream."""
    _sse()()


def sse_in_loop() -> None:
    """An event comes out of a stream of a Loop."""
    _sse_in_loop()()
