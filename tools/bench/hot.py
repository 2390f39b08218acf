"""The hot workloads, in memory: what `run.py --instructions` counts.

Each is made once and then run so many operations long, against a peer that plays a script (see `scripted_peers.py`).
To add one: a function that returns such a run, and a line in HOT with how many operations make its longer run.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

import turbosock
import turbosock.observe
from raw_websocket import plain_frame
from scripted_peers import ANSWER, EchoPeer, EventsPeer, Http2Peer
from task import BODY_BYTES
from turbosock.buffers import BufferPool
from turbosock.config import TransportMode
from turbosock.protocol.sse.parser import EventParser
from turbosock.testing.memory import MemoryConnector
from turbosock.testing.memory_peer import MemoryPeer
from workloads.sse_parse import KINDS, event_of

# Makes so many operations.
Operations = Callable[[int], None]

URL = "http://in.memory/fixed"
WS_URL = "ws://in.memory/"
IN_FLIGHT = 100
DOWNLOAD_BYTES = 1024 * 1024
EVENTS_A_PIECE = 200


def client(answer: MemoryPeer | Callable[[bytes], bytes], **options: Any) -> turbosock.Client:
    """A Client of such a peer, with its defaults and these options of Config."""
    mode = TransportMode.SAEA if "http_versions" in options else TransportMode.STREAM
    config = turbosock.Config(trust_env=False, **options)
    return turbosock.Client(config, connector=MemoryConnector(answer, mode=mode))


def loop(answer: MemoryPeer | Callable[[bytes], bytes], **options: Any) -> turbosock.Loop:
    """A Loop, likewise."""
    return turbosock.Loop(turbosock.Config(trust_env=False, **options), connector=MemoryConnector(answer))


def fixed(data: bytes) -> bytes:
    """The answer to every request."""
    return ANSWER


def expect(got: int, expected: int = BODY_BYTES) -> None:
    """Raise RuntimeError unless so many bytes came."""
    if got != expected:
        raise RuntimeError(f"{got} bytes came, not {expected}")


def getting(client: turbosock.Client) -> Operations:
    """Client.get().content"""
    get = client.get

    def run(count: int) -> None:
        for _ in itertools.repeat(None, count):
            expect(len(get(URL).content))

    return run


def streaming(client: turbosock.Client, size: int = BODY_BYTES) -> Operations:
    """Client.stream() and readinto()"""
    stream, view = client.stream, memoryview(bytearray(65536))

    def run(count: int) -> None:
        for _ in itertools.repeat(None, count):
            total = 0
            with stream("GET", URL) as response:
                while got := response.readinto(view):
                    total += got
            expect(total, size)

    return run


def requesting(loop: turbosock.Loop) -> Operations:
    """Loop.request(into=) and Loop.poll(), IN_FLIGHT under way"""
    request, poll, events, view = loop.request, loop.poll, loop.events, memoryview(bytearray(BODY_BYTES))
    answered = turbosock.EventKind.RESPONSE

    def run(count: int) -> None:
        begun = done = 0
        while begun < min(IN_FLIGHT, count):
            request("GET", URL, into=view)
            begun += 1
        while done < count:
            poll(1.0)
            for event in events:
                if event.kind is answered:
                    expect(event.exchange.nbytes)
                    done += 1
                    if begun < count:
                        request("GET", URL, into=view)
                        begun += 1

    return run


def http1_loop() -> turbosock.Loop:
    """A Loop with a connection for each request under way."""
    pool = turbosock.PoolConfig(max_connections_per_origin=IN_FLIGHT, max_idle=IN_FLIGHT)
    return loop(fixed, pool=pool)


def observed_get() -> Operations:
    """Client.get(), counted: what a first look at its metrics turns on"""
    owner = client(fixed)
    turbosock.observe.snapshot(owner)
    return getting(owner)


def observed_loop() -> Operations:
    """A Loop's requests, counted likewise"""
    owner = http1_loop()
    turbosock.observe.snapshot(owner)
    return requesting(owner)


def http2_loop() -> Operations:
    pool = turbosock.PoolConfig(max_connections_per_origin=1, max_idle=1)
    return requesting(loop(Http2Peer(), pool=pool, http_versions=("HTTP/2",)))


def http2_client(body_bytes: int = BODY_BYTES) -> turbosock.Client:
    return client(Http2Peer(body_bytes), http_versions=("HTTP/2",))


def echo_blocking(size: int) -> Operations:
    """WebSocket.send() and recv()"""
    message = b"x" * size
    owner = client(EchoPeer(plain_frame(message)))
    ws = owner.websocket(WS_URL)

    # The WebSocket is its client's, which has to stay.
    def run(count: int, owner: turbosock.Client = owner) -> None:
        for _ in itertools.repeat(None, count):
            ws.send(message)
            expect(len(ws.recv()), size)

    return run


def echo_loop(size: int) -> Operations:
    """send() in a Loop, and its event"""
    message = b"x" * size
    owner = loop(EchoPeer(plain_frame(message)))
    ws = owner.websocket(WS_URL)
    while not ws.open:
        owner.poll(1.0)
    poll, events, kind = owner.poll, owner.events, turbosock.EventKind.MESSAGE

    def run(count: int) -> None:
        done = 0
        while done < count:
            ws.send(message)
            poll(1.0)
            for event in events:
                if event.kind is kind:
                    expect(len(event.data), size)
                    done += 1

    return run


def parsing() -> Operations:
    """EventParser; data as the views that it lends"""
    parser = EventParser(BufferPool())
    body = b"".join(event_of(KINDS["100 B"], number) for number in range(EVENTS_A_PIECE))

    def run(count: int) -> None:
        size, done = len(body), 0
        while done < count:
            parser.writable()[:size] = body
            parser.advance(size)
            for event in parser:
                event.data, event.event, event.id, event.retry  # noqa: B018  # reading them is the work
                done += 1

    return run


def event_stream() -> Operations:
    """Client.events(): one stream, read as far as is wanted"""
    most = HOT["sse_stream_100b"].count
    body = b"".join(event_of(KINDS["100 B"], number) for number in range(most))
    owner = client(EventsPeer(body))

    def run(count: int) -> None:
        with owner.events(URL) as stream:
            for event in itertools.islice(stream, count):
                event.data, event.event, event.id  # noqa: B018  # reading them is the work

    return run


def datagrams() -> Operations:
    """loop.listen(protocol="udp") and send_to(); of the system's loopback only the calls are counted"""
    owner = turbosock.Loop()
    listener = owner.listen(("127.0.0.1", 0), protocol="udp")
    sender = socket.socket(type=socket.SOCK_DGRAM)
    sender.connect(listener.address)
    sender.settimeout(10)
    poll, events, send_to = owner.poll, owner.events, listener.send_to
    message, buffer = b"x" * 32, bytearray(64)

    def run(count: int) -> None:
        for _ in itertools.repeat(None, count):
            sender.send(message)
            poll(1.0)
            for event in events:
                send_to(event.data, event.address)
            expect(sender.recv_into(buffer), len(message))

    return run


class Hot(NamedTuple):
    """How a workload is made, and how many operations make its longer run; the shorter one has a tenth of them."""

    make: Callable[[], Operations]
    count: int


HOT: dict[str, Hot] = {
    "http1_get": Hot(lambda: getting(client(fixed)), 1000),
    "http1_stream": Hot(lambda: streaming(client(fixed)), 1000),
    "http1_loop_100": Hot(lambda: requesting(http1_loop()), 1000),
    "h2_get": Hot(lambda: getting(http2_client()), 500),
    "h2_loop_100": Hot(http2_loop, 1000),
    "h2_download_1mib": Hot(lambda: streaming(http2_client(DOWNLOAD_BYTES), DOWNLOAD_BYTES), 30),
    "ws_echo_32b": Hot(lambda: echo_blocking(32), 1000),
    "ws_echo_1kib": Hot(lambda: echo_blocking(1024), 1000),
    "ws_loop_32b": Hot(lambda: echo_loop(32), 1000),
    "ws_loop_1kib": Hot(lambda: echo_loop(1024), 1000),
    "sse_parse_100b": Hot(parsing, 100 * EVENTS_A_PIECE),
    "sse_stream_100b": Hot(event_stream, 2000),
    "udp_echo_32b": Hot(datagrams, 1000),
    "observed_get": Hot(observed_get, 1000),
    "observed_loop_100": Hot(observed_loop, 1000),
}
