"""What turbosock promises, in the only form that lasts from machine to machine: ratios inside one run.

`PROMISED` has a line for each workload with promises, in the order of the scoreboard: what it says is shown as long as
the workload was not run; then its verdicts are. To add one: a line there, its bounds below, and in run.py's WORKLOADS a
function that takes the Bench, runs the contestants (`bench.attempt`), and returns tables: `table.judge()` adds a
verdict, which is a row of the scoreboard, `table.draw()` what is plotted. A workload that is a rate of requests is a
`Rate` in rates.py and a `Promise` in RATIOS; nothing else is needed.

The server has a core of its own, and once shares the client's: across cores the kernel's wake-ups hide what a client
costs. A promise names the placements in which it is held; in the other one its figure is shown beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

SAME_CORE = "same core"
TWO_CORES = "two cores"


PROMISED = {
    "http1_sequential": "get ≥ 1.2 × pycurl, 6 × urllib3, 0.65 × bare; stream ≥ 1.3 × pycurl, 0.75 × bare",
    "http1_threads": "8 threads on one Client ≥ 1.2 × pycurl, 10 × urllib3",
    "http1_concurrent": "100 at once in one Loop ≥ 1 × pycurl multi, 5 × aiohttp+uvloop, 0.6 × wrk",
    "download": "100 MB into a buffer ≥ 0.95 × bare",
    "allocations": "stream: 0 system, ≤ 25 Python allocations, < 1 KiB; get: ≤ 45, < 4 KiB and the body",
    "allocations_loop": "100 at once in one Loop: 0 system, ≤ 25 Python allocations, < 1 KiB",
    "growth": "< 1 KiB a second at full rate, over 100,000 requests",
    "import_time": "< 100 ms, nothing optional imported",
    "https_sequential": "get ≥ 1 × pycurl, 6 × urllib3, 0.75 × bare",
    "download_tls": "100 MB over TLS into a buffer ≥ 0.95 × bare",
    "https_handshakes": "≥ 1 × pycurl, with and without resumption",
    "allocations_tls": "stream: no system allocation of ours",
    "mock_pipeline": "≥ 50,000 requests/s; the chain adds < 10 µs; < 1 KiB allocated",
    "concurrent_10000": "all complete; < 100 KiB an active connection, < 4 KiB an idle one",
    "acquire": "a ready connection ≥ 1,000 × sooner than dialled",
    "pool_contention": "64 threads on 8 connections: the slowest does ≥ 0.5 × the mean",
    "churn": "100,000 connections: descriptors and memory end where they began",
    "upload_file": "1 GB from a file ≥ 1 × pycurl; user time ≤ 0.1 × requests'",
    "json_post": "≥ 5 × requests",
    "gzip_download": "≥ 0.9 × zlib; < 2 MiB above idle",
    "large_body": "peak < 1.1 × the body; no allocation above one segment",
    "h2_multiplexed": "100 at once on one connection ≥ 2 × pycurl multi, 20 × httpx2, 0.5 × h2load",
    "h2_sequential": "≥ 1 × pycurl, 8 × httpx2",
    "h2_threads": "40 threads on one connection: no error, no answer mixed up; ≥ 10 × httpx2",
    "h2_download": "100 MB on one stream ≥ 0.85 × pycurl, 0.9 × HTTP/1.1",
    "h2_download_delayed": "the same, 50 ms there and back",
    "allocations_h2": "0 system, ≤ 40 Python allocations, < 2 KiB",
    "ws_echo": "≥ 1.5 × websockets, 1 × websocket-client (3 × at 64 KiB), 0.7 × picows",
    "ws_fanin": "1,000 × 30 messages/s in < 0.5 of a core; ≥ 2 × websockets, 0.6 × picows",
    "ws_broadcast": "1 KiB to 1,000 at 60 Hz: p99 tick < 16 ms",
    "tick_latency": "a hostile mix: p99 poll < 4 ms, no player waits over 2 ticks",
    "udp_echo": "≥ 0.7 × bare, 2 × asyncio",
    "allocations_ws": "0 system, ≤ 12 Python allocations, < 512 bytes a message",
    "memory_ws_idle": "< 4 KiB of ours for an idle WebSocket",
    "sse_parse": "≥ 4, 2.5, 3, 3 × httpx-sse; over 1 GB/s from 2 KiB up; 0 system, ≤ 3 Python allocations",
    "sse_stream": "events of 100 B over TCP ≥ 5 × httpx-sse; no system allocation",
    "sse_latency": "adds < 5 % to a bare read at p95; < 1 ms at p99.9",
    "sse_sessions": "1,000 streams in < 100 MB; aimed at: 10 MB",
    "sse_reconnect": "< 50 ms",
    "requests_adapter": "requests over turbosock ≥ 1.3 × requests alone",
    "requests_adapter_stream": "100 MB by requests over turbosock ≥ 1 × requests alone",
    "httpx_transport": "httpx2 over turbosock ≥ 1.5 × httpx2 alone",
    "allocations_neighbours": "requests and httpx2 over turbosock: fewer allocations than alone",
    "recording": "with a Recorder < 10 % slower than without",
    "observability": "requests counted < 3 % more instructions than not",
}


@dataclass(frozen=True, slots=True)
class Promise:
    """`ours` is at least `at_least` times as fast as `other`, in `workload` with `in_flight` under way."""

    workload: str
    ours: str
    other: str
    at_least: float
    in_flight: int = 1
    placements: tuple[str, ...] = (SAME_CORE, TWO_CORES)

    def __str__(self) -> str:
        many = f", {self.in_flight} at once" if self.in_flight > 1 else ""
        return f"{self.ours} ≥ {self.at_least:g} × {self.other}{many}"


RATIOS = (
    Promise("http1_sequential", "turbosock get", "pycurl", 1.2, 1, (SAME_CORE,)),
    Promise("http1_sequential", "turbosock get", "urllib3", 6, 1, (SAME_CORE,)),
    Promise("http1_sequential", "turbosock get", "bare", 0.65, 1, (SAME_CORE,)),
    Promise("http1_sequential", "turbosock stream", "pycurl", 1.3, 1, (SAME_CORE,)),
    Promise("http1_sequential", "turbosock stream", "bare", 0.75, 1, (SAME_CORE,)),
    Promise("http1_threads", "turbosock get", "pycurl", 1.2, 8, (TWO_CORES,)),
    Promise("http1_threads", "turbosock get", "urllib3", 10, 8, (TWO_CORES,)),
    Promise("http1_concurrent", "turbosock loop", "pycurl multi", 1.0, 100),
    Promise("http1_concurrent", "turbosock loop", "aiohttp+uvloop", 5, 100),
    Promise("http1_concurrent", "turbosock loop", "wrk", 0.6, 100),
    Promise("download", "turbosock stream", "bare", 0.95),
    # On one core the server's share of it decides, and what the bare loop reaches there is less.
    Promise("upload_file", "turbosock put", "pycurl", 1.0, 1, (TWO_CORES,)),
    Promise("json_post", "turbosock msgspec", "requests", 5, 1, (SAME_CORE,)),
    Promise("requests_adapter", "turbosock under requests", "requests", 1.3),
    Promise("requests_adapter_stream", "turbosock under requests", "requests", 1.0),
    Promise("httpx_transport", "turbosock under httpx2", "httpx2", 1.5),
    Promise("https_sequential", "turbosock get", "pycurl", 1.0, 1, (SAME_CORE,)),
    Promise("https_sequential", "turbosock get", "urllib3", 6, 1, (SAME_CORE,)),
    Promise("https_sequential", "turbosock get", "bare", 0.75, 1, (SAME_CORE,)),
    Promise("https_sequential", "turbosock stream", "bare", 0.75, 1, (SAME_CORE,)),
    Promise("download_tls", "turbosock stream", "bare", 0.95),
    Promise("https_handshakes", "turbosock, resumed", "pycurl, resumed", 1.0),
    Promise("https_handshakes", "turbosock, full", "pycurl, full", 1.0),
    # Recording adds less than a tenth to a request.
    Promise("recording", "turbosock get, recorded", "turbosock get", 0.91, 1, (SAME_CORE,)),
    Promise("recording", "turbosock stream, recorded", "turbosock stream", 0.91, 1, (SAME_CORE,)),
    Promise("h2_multiplexed", "turbosock loop", "pycurl multi", 2, 100),
    Promise("h2_multiplexed", "turbosock loop", "httpx2+uvloop", 20, 100),
    Promise("h2_multiplexed", "turbosock loop", "h2load", 0.5, 100),
    Promise("h2_sequential", "turbosock get", "pycurl", 1.0, 1, (SAME_CORE,)),
    Promise("h2_sequential", "turbosock get", "httpx2", 8, 1, (SAME_CORE,)),
    Promise("h2_download", "turbosock stream", "pycurl", 0.85),
    Promise("h2_download", "turbosock stream", "turbosock stream, HTTP/1.1", 0.9),
    Promise("h2_download_delayed", "turbosock stream", "pycurl", 0.85),
    Promise("h2_download_delayed", "turbosock stream", "turbosock stream, HTTP/1.1", 0.9),
)


@dataclass(frozen=True, slots=True)
class UserTime:
    """`ours` takes at most `at_most` of the processor time outside the system that `other` takes, in `workload`."""

    workload: str
    ours: str
    other: str
    at_most: float

    def __str__(self) -> str:
        return f"user time of {self.ours} ≤ {self.at_most:g} × {self.other}"


USER_TIMES = (UserTime("upload_file", "turbosock put", "requests", 0.1),)


@dataclass(frozen=True, slots=True)
class Budget:
    """What one request of `contestant` may allocate; body bytes, where it owns them, are not counted."""

    contestant: str
    system: float
    python: float
    python_bytes: float


# An average below a half in a hundred requests is none: the interpreter takes an arena now and then.
NO_SYSTEM_ALLOCATION = 0.005

BUDGETS = (
    Budget("turbosock stream", NO_SYSTEM_ALLOCATION, 25, 1024),
    Budget("turbosock get", float("inf"), 45, 4096 + 100),
)

# One request over turbosock beside the library alone: each kind of allocation, net of frames, is less.
FEWER_ALLOCATIONS = (
    ("requests_adapter", "turbosock under requests", "requests"),
    ("httpx_transport", "turbosock under httpx2", "httpx2"),
)

# The same for one of many requests in flight, each on a connection of its own; and on one HTTP/2 connection.
LOOP_BUDGET = Budget("turbosock loop", NO_SYSTEM_ALLOCATION, 25, 1024)
HTTP2_BUDGET = Budget("turbosock loop", NO_SYSTEM_ALLOCATION, 40, 2048)

# Threads that share an HTTP/2 connection, beside as many that share httpx2's.
HTTP2_THREADS_RATE = 10
HTTP2_THREADS_PLACEMENT = TWO_CORES

# Held after the run beyond what was held after the warm-up, for each second that the run takes at full rate.
GROWTH_BYTES_A_SECOND = 1024.0
IMPORT_S = 0.100

# Requests through the whole pipeline with a peer in memory: on one core, what a chain of four links adds to one, and
# what one allocates.
PIPELINE_RATE = 50_000
PIPELINE_ADDED_S = 10e-6
PIPELINE_BYTES = 1024

# What a connection costs while it is active, and ours alone while it is kept idle.
ACTIVE_BYTES = 100 * 1024
IDLE_BYTES = 4 * 1024

ACQUIRE_SOONER = 1_000

# What the slowest of many threads gets, of the mean.
FAIR_SHARE = 0.5

# Memory "ends where it began": what Python holds by the byte for each connection, because its own tables make noise;
# and what the process holds, of which the system's allocator keeps some megabytes whatever is done.
CHURN_BYTES = 1.0
CHURN_RESIDENT_BYTES = 4 * 1024 * 1024

# A coded body: as a part of the bare decoder's rate, and what it takes of memory; what a body in memory takes as a
# multiple of itself, and in one piece: a segment, and the byte that ends every bytearray.
DECODING_RATE = 0.9
DECODING_PEAK_BYTES = 2 * 1024 * 1024
CONTENT_PEAK = 1.1
SEGMENT_ALLOCATION_BYTES = 64 * 1024 + 1

# Event streams from memory: how many times as many events a second as httpx-sse, by kind of event; the rate from large
# events up; and what one event of the smallest kind allocates.
EVENT_RATIOS = {
    "100 B": 4,
    "100 B, id and type": 4,
    "1 KiB": 2.5,
    "1 KiB, id and type": 2.5,
    "10 KiB": 3,
    "10 KiB, id and type": 3,
    "10 lines": 3,
    "100 lines": 3,
}
EVENT_RATE = 1e9
EVENT_RATE_FROM_BYTES = 2048
EVENT_BUDGET = "100 B"
EVENT_ALLOCATIONS = 3
# One stream over TCP, as many events a second as httpx-sse over httpx; and what one of them allocates on its way.
EVENT_STREAM_RATIO = 5
# What a stream adds to a bare read at the 95th percentile, and how late an event may be at the 99.9th.
EVENT_ADDED = 0.05
EVENT_LATE_S = 0.001
# A thousand streams in one Loop, each with events that wait: what all of them hold, and what is aimed at.
SESSIONS_BYTES = 100 * 1024 * 1024
SESSIONS_AIM_BYTES = 10 * 1024 * 1024
# From the reset of a stream's connection to its next event.
RECONNECT_S = 0.050

# One message after the other on one WebSocket: by size and peer, how many times as many a second as it does.
ECHO_RATIOS = {
    ("32 B", "websockets"): 1.5,
    ("1 KiB", "websockets"): 1.5,
    ("64 KiB", "websockets"): 1.5,
    ("32 B", "websocket-client"): 1.0,
    ("64 KiB", "websocket-client"): 3.0,
    ("32 B", "picows+uvloop"): 0.7,
    ("1 KiB", "picows+uvloop"): 0.7,
    ("64 KiB", "picows+uvloop"): 0.7,
}
# A thousand WebSockets that send 30 small messages a second each: what they take of a core; and when they are pushed to
# the server's limit, how many times as many a second as a peer.
FANIN_SHARE = 0.5
FANIN_RATIOS = {"websockets+uvloop": 2.0, "picows+uvloop": 0.6}
# A tick that sends 1 KiB to a thousand WebSockets, at the 99th percentile: the whole of a frame at 60 Hz.
BROADCAST_TICK_S = 0.016
# poll(max_time=0.003) in a hostile mix, at the 99th percentile; and how many ticks a player's message may wait for.
POLL_S = 0.004
WAIT_TICKS = 2
# Datagrams sent back, of a bare loop of recvfrom_into and sendto, and of asyncio's endpoint.
DATAGRAM_RATIOS = {"bare": 0.7, "asyncio": 2.0}
# What one message of a WebSocket may allocate.
MESSAGE_BUDGET = Budget("", NO_SYSTEM_ALLOCATION, 12, 512)
# Instructions of a request that is counted, beyond those of one that is not.
OBSERVING = 0.03
