"""HarRecorder: a link that records exchanges for HAR files (HTTP Archive 1.2), which browsers and many tools read.

Each request that is sent is an entry: every redirect, every challenge and, with the recorder last among the links,
every attempt. One that failed without an answer has status 0; the code of a failure is in `_error`.

Credentials, cookies and secrets in URLs are hidden (`hidden.py`), always; bodies are not recorded, only their sizes.

Times are those of a Timeline. `blocked` is from the start of the entry until something is done: links, and the pool's
line. `connect` has the way through proxies and the TLS handshake in it, as the format wants it. Through a proxy the
address of the server is not known here.
"""

from __future__ import annotations

import json
import time
import weakref
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from turbosock import limits
from turbosock.client.middleware import GO, Middleware, Timeline
from turbosock.config import check_count
from turbosock.errors import Phase
from turbosock.observe.hidden import HIDDEN, shown_url, shown_value
from turbosock.version import __version__

if TYPE_CHECKING:
    from turbosock.client.middleware.chained import Chained
    from turbosock.protocol.http1.head import ResponseHead

_SEND: Final = Phase.SEND
_NS_PER_MS: Final = 1e6
# What a duration is that did not take place.
_NONE: Final = -1
_VERSIONS: Final = {10: "HTTP/1.0", 11: "HTTP/1.1", 20: "HTTP/2"}


class HarRecorder(Middleware):
    """Records exchanges; put it last, so that it sees each attempt.

    Args:
        max_entries: how many of the latest are kept.

    Raises:
        InvalidOption: `max_entries` is no number in its range.
    """

    def __init__(self, max_entries: int = limits.MAX_HAR_ENTRIES) -> None:
        check_count("max_entries", max_entries, 1, limits.MAX_HAR_ENTRIES)
        # A deque's own steps need no lock.
        self._entries: deque[tuple[float, dict[str, Any]]] = deque(maxlen=max_entries)

    def enter(self, exchange: Chained, now_ns: int) -> int:
        moments = _Moments(exchange)
        moments.begin(exchange, self)
        moments.begun_ns = now_ns
        exchange.timeline = moments
        return GO

    def leave(self, exchange: Chained) -> None:
        moments = exchange.timeline
        if not isinstance(moments, _Moments) or moments.recorder is not self:
            # Interrupted before it was attached.
            return
        exchange.timeline = moments.outer
        moments.end(exchange)
        self._entries.append((moments.begun_s, _entry(exchange, moments)))

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The entries of exchanges that are over, by their start."""
        return [entry for _, entry in sorted(self._entries.copy(), key=lambda pair: pair[0])]

    def har(self) -> dict[str, Any]:
        """All of it, as `json` writes it: an object with one member, `log`."""
        creator = {"name": "turbosock", "version": __version__}
        return {"log": {"version": "1.2", "creator": creator, "pages": [], "entries": self.entries}}

    def to_json(self) -> bytes:
        """The HAR as a file holds it."""
        return json.dumps(self.har(), indent=1).encode("ascii") + b"\n"


class _Moments(Timeline):
    """A Timeline with what else an entry needs to know of the way."""

    __slots__ = ("_exchange", "address", "begun_ns", "begun_s", "local_port")

    def __init__(self, exchange: Chained) -> None:
        super().__init__()
        # No more than a look: as a cycle, an exchange that is dropped would not end before the collector comes.
        self._exchange = weakref.ref(exchange)
        self.begun_s = time.time()
        self.begun_ns = 0
        self.address = ""
        self.local_port = 0

    def reach(self, phase: Phase, now_ns: int) -> None:
        super().reach(phase, now_ns)
        if phase is _SEND:
            self._look_at_socket()

    def _look_at_socket(self) -> None:
        exchange = self._exchange()
        if exchange is None or exchange.connection is None:
            return
        sock = exchange.connection.transport.socket
        try:
            peer, local = sock.getpeername(), sock.getsockname()
        except (OSError, AttributeError):
            # Gone already, or no socket of the system's.
            return
        # The path of a Unix socket is no address.
        if isinstance(peer, tuple):
            self.address = peer[0]
            self.local_port = local[1]

    def timings_ms(self) -> dict[str, float]:
        """The parts in the format's order; they add up to the whole, but for `ssl`, which is a part of `connect`."""
        marks = (
            ("blocked", self.begun_ns),
            ("dns", self.resolve_ns),
            ("connect", self.connect_ns or self.proxy_ns or self.tls_ns),
            ("send", self.send_ns),
            ("wait", self.sent_ns),
            ("receive", self.first_byte_ns),
        )
        timings: dict[str, float] = {
            "blocked": _NONE,
            "dns": _NONE,
            "connect": _NONE,
            "send": 0,
            "wait": 0,
            "receive": 0,
        }
        end_ns = self.done_ns
        for name, begin_ns in reversed(marks):
            if begin_ns:
                begin_ns = min(begin_ns, end_ns)
                timings[name] = (end_ns - begin_ns) / _NS_PER_MS
                end_ns = begin_ns
        timings["ssl"] = ((self.send_ns or self.done_ns) - self.tls_ns) / _NS_PER_MS if self.tls_ns else _NONE
        return timings


def _entry(exchange: Chained, moments: _Moments) -> dict[str, Any]:
    timings = moments.timings_ms()
    entry: dict[str, Any] = {
        "startedDateTime": datetime.fromtimestamp(moments.begun_s, UTC).isoformat(timespec="milliseconds"),
        "time": sum(value for name, value in timings.items() if value != _NONE and name != "ssl"),
        "request": _request(exchange),
        "response": _no_response() if exchange.head is None else _response(exchange, exchange.head),
        "cache": {},
        "timings": timings,
    }
    if moments.address and not exchange.prepared.origin.key.hops:
        entry["serverIPAddress"] = moments.address
    if moments.local_port:
        entry["connection"] = str(moments.local_port)
    if exchange.error is not None:
        entry["_error"] = exchange.error.code
    return entry


def _request(exchange: Chained) -> dict[str, Any]:
    prepared = exchange.prepared
    fields = _fields(prepared.head)
    by_key = {name.lower(): value for name, value in fields}
    url = shown_url(prepared.url.full)
    length = by_key.get("content-length", "0")
    chunked = "transfer-encoding" in by_key
    two = exchange.head is not None and exchange.head.version == 20
    request: dict[str, Any] = {
        "method": prepared.method,
        "url": url,
        "httpVersion": "HTTP/2" if two else "HTTP/1.1",
        "cookies": [_cookie(pair) for name, value in fields if name.lower() == "cookie" for pair in value.split(";")],
        "headers": _shown(fields),
        "queryString": [
            {"name": name, "value": value} for name, value in parse_qsl(url.partition("?")[2], keep_blank_values=True)
        ],
        # Compressed, nobody knows how well.
        "headersSize": -1 if two else len(prepared.head),
        "bodySize": -1 if chunked else int(length),
    }
    if chunked or length != "0":
        # The form of the record without its content.
        request["postData"] = {"mimeType": by_key.get("content-type", ""), "text": "", "comment": "not recorded"}
    return request


def _response(exchange: Chained, head: ResponseHead) -> dict[str, Any]:
    headers = head.headers
    size = exchange.received
    wire_size = size
    if head.coded:
        # What was decoded is counted, and not what came; once all has come, its length was announced or is not known.
        wire_size = head.content_length if exchange.error is None else -1
    content: dict[str, Any] = {"size": size, "mimeType": headers.get("content-type") or "x-unknown"}
    if head.coded and wire_size >= 0:
        content["compression"] = size - wire_size
    return {
        "status": head.status_code,
        "statusText": head.reason,
        "httpVersion": _VERSIONS[head.version],
        "cookies": [_cookie(value.partition(";")[0]) for value in headers.get_all("set-cookie")],
        "headers": _shown(_fields(head.shown)),
        "content": content,
        "redirectURL": shown_url(headers.get("location") or ""),
        "headersSize": -1 if head.version == 20 else len(head.raw),
        "bodySize": wire_size,
    }


def _no_response() -> dict[str, Any]:
    return {
        "status": 0,
        "statusText": "",
        "httpVersion": "",
        "cookies": [],
        "headers": [],
        "content": {"size": 0, "mimeType": "x-unknown"},
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": -1,
    }


def _fields(raw: bytes) -> list[tuple[str, str]]:
    """The fields of a head, as they were sent."""
    lines = raw.decode("latin-1").rstrip("\r\n").split("\n")[1:]
    return [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]


def _shown(fields: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": shown_value(name.lower(), value)} for name, value in fields]


def _cookie(pair: str) -> dict[str, str]:
    name, equals, _ = pair.partition("=")
    # Without one, what stands there is the value.
    return {"name": name.strip() if equals else "", "value": HIDDEN}
