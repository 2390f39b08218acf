"""llhttp's own messages, in its strict modes: what it accepts and refuses, and what it reads, against ours.

A message whose last CRLF the vector file has lost gets it back where the expected log reaches beyond its bytes. llhttp
leaves Host to its caller; we demand it (RFC 9112 §3.2), so that each HTTP/1.1 request without one is first shown to
be refused for that, and then compared with a Host put in. Every other difference is named in one of the tables below,
with its reason; a name that no longer differs fails.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from support.http1 import Message, Reader, read, read_every_way
from support.vectors import load_cases, require
from turbosock.protocol.http1.head import RequestHead, ResponseHead

STRICT_MODES = ("request", "response", "request-finish", "response-finish")

# llhttp stops after these, but they are no faults of the message: data after a last message, and a change of protocol.
DATA_AFTER_LAST = 5
CHANGE_OF_PROTOCOL = 22

EMPTY_LINE = "RFC 9112 §2.2 lets a server skip empty lines before a request; before a response they are stray bytes"
NOT_HTTP_1 = "RFC 9112 §2.3: neither RTSP, nor ICE, nor HTTP before 1.0 is HTTP/1"
CODING = "RFC 9112 §6.1: a coding that is not understood is refused, not read until close or past"

# What llhttp accepts and we refuse, after how many whole messages, and why.
REFUSED: dict[str, tuple[int, str]] = {
    "response/connection.md | HTTP 304 with Content-Length": (1, EMPTY_LINE),
    "response/connection.md | HTTP 100 first, then 400": (1, EMPTY_LINE),
    "response/pipelining.md | Should parse multiple events": (1, EMPTY_LINE),
    "response/sample.md | Response starting with CRLF": (0, EMPTY_LINE),
    "response/sample.md | RTSP response": (0, NOT_HTTP_1),
    "response/sample.md | ICE response": (0, NOT_HTTP_1),
    "response/sample.md | HTTP version 0.9": (0, NOT_HTTP_1),
    "request/method.md | SOURCE request with ICE": (0, NOT_HTTP_1),
    "request/method.md | OPTIONS request with RTSP": (0, NOT_HTTP_1),
    "request/method.md | ANNOUNCE request with RTSP": (0, NOT_HTTP_1),
    "request/sample.md | No HTTP version": (0, NOT_HTTP_1),
    "response/transfer-encoding.md | `chunked` before other transfer-encoding": (0, CODING),
    "response/transfer-encoding.md | multiple transfer-encoding where chunked is not the last one": (0, CODING),
    "response/transfer-encoding.md | `chunkedchunked` transfer-encoding does not enable chunked enconding": (0, CODING),
    "request/transfer-encoding.md | POST with `chunked` as last transfer-encoding": (0, CODING),
    "request/transfer-encoding.md | POST with `chunked` as last transfer-encoding (multiple headers)": (0, CODING),
    "request/method.md | CONNECT with body": (0, "RFC 9110 §9.3.6: a CONNECT request has no content"),
    "request/method.md | M-SEARCH request": (0, "RFC 9112 §3.2.4: '*' is the target of OPTIONS alone"),
    "request/uri.md | `host:port` and basic auth": (0, "RFC 9110 §4.2.4: user information is treated as an error"),
}

METHOD = "RFC 9110 §9.1: any token is a method; which are allowed is for the server's application"

# What llhttp refuses and we accept, and why.
ACCEPTED: dict[str, str] = {
    "request/invalid.md | HTTP protocol and ANNOUNCE method": METHOD,
    "request/invalid.md | Invalid method": METHOD,
}

# What llhttp is told by its caller's callback, which a request's bytes do not say: "no body follows".
CALLBACK: dict[str, str] = {
    "request/content-length.md | Content-Length reset when no body is received": "RFC 9112 §6.3: a length has a body",
}

WITHOUT_HOST: frozenset[str] = frozenset(
    (
        "request/connection.md | Emitting part of body and pausing",
        "request/connection.md | Multiple tokens with folding and LWS",
        "request/connection.md | Restarting when keep-alive is explicitly",
        "request/connection.md | Sample",
        "request/connection.md | Setting a flag and pausing",
        "request/connection.md | Setting flag",
        "request/connection.md | Setting flag on `close`",
        "request/connection.md | Setting flag on `close` followed by tab",
        "request/content-length.md | Content-Length reset when no body is received",
        "request/content-length.md | Spaces in `Content-Length` (surrounding)",
        "request/content-length.md | Tabs in `Content-Length` (surrounding)",
        "request/content-length.md | `Content-Length` with follow-up headers",
        "request/content-length.md | `Content-Length` with zeroes",
        "request/finish.md | It should be safe to finish after GET request",
        "request/method.md | REPORT request",
        "request/pausing.md | on_chunk_complete",
        "request/pausing.md | on_chunk_extension_name",
        "request/pausing.md | on_chunk_extension_value",
        "request/pausing.md | on_chunk_header",
        "request/pausing.md | on_header_field_complete",
        "request/pausing.md | on_header_value_complete",
        "request/pausing.md | on_headers_complete",
        "request/pausing.md | on_message_begin",
        "request/pausing.md | on_message_complete",
        "request/pausing.md | on_method_complete",
        "request/pausing.md | on_protocol_complete",
        "request/pausing.md | on_url_complete",
        "request/pausing.md | on_version_complete",
        "request/pipelining.md | Should parse multiple events",
        "request/sample.md | 255 ASCII in header value",
        "request/sample.md | DUMBPACK",
        "request/sample.md | Extended Characters",
        "request/sample.md | No headers and no body",
        "request/sample.md | One header and no body",
        "request/sample.md | Prefix newline",
        "request/sample.md | Request starting with CRLF",
        "request/sample.md | Request with method starting with `H`",
        "request/sample.md | Simple request",
        "request/transfer-encoding.md | Chunk extensions",
        "request/transfer-encoding.md | Chunk extensions quoting",
        "request/transfer-encoding.md | POST with `Transfer-Encoding: chunked`",
        "request/transfer-encoding.md | Parse chunks with lowercase size",
        "request/transfer-encoding.md | Parse chunks with uppercase size",
        "request/transfer-encoding.md | Parsing and setting flag",
        "request/transfer-encoding.md | Trailing headers",
        "request/transfer-encoding.md | Two chunks and triple zero prefixed end chunk",
        "request/uri.md | Fragment in URI",
        "request/uri.md | Host terminated by a query string",
        "request/uri.md | Query URL with question mark",
        "request/uri.md | Query URL with vertical bar character",
        "request/uri.md | Quotes in URI",
        "request/uri.md | `host:port` terminated by a query string",
        "request/uri.md | `host:port` terminated by a space",
    )
)


@dataclass
class Expected:
    """What llhttp's log says of one message."""

    spans: dict[str, bytes] = field(default_factory=dict)
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    has_head: bool = False
    complete: bool = False


@dataclass
class Vector:
    """One strict case: its bytes, as they were, and what is expected."""

    name: str
    is_request: bool
    method: str
    data: bytes
    messages: list[Expected]
    error_code: int | None

    @property
    def is_fault(self) -> bool:
        return self.error_code not in (None, DATA_AFTER_LAST, CHANGE_OF_PROTOCOL)


def vector_of(case: dict[str, Any]) -> Vector:
    log: list[str] = case["log"]
    data = base64.b64decode(case["input_b64"])
    reach = max(
        (int(at) + int(size or 0) for at, size in re.findall(r"off=(\d+)(?: len=(\d+))?", "\n".join(log))), default=0
    )
    if reach > len(data) + 2:
        data = data.decode("latin-1").encode("utf-8")
    error_code = case["error"]["code"] if case["error"] else None
    vector = Vector(
        f"{case['file']} | {case['name']}",
        case["mode"].startswith("request"),
        "HEAD" if any("skip body" in line for line in log) else "GET",
        data,
        messages_of(log, data),
        error_code,
    )
    if reach > len(data) or (vector.is_fault and reach == len(data)):
        vector.data += b"\r\n"
    if vector.is_fault and b"\r\n\r\n" not in vector.data:
        vector.data += b"\r\n\r\n"
    return vector


def messages_of(log: list[str], data: bytes) -> list[Expected]:
    messages: list[Expected] = []
    for line in log:
        if line.endswith("message begin"):
            messages.append(Expected())
            continue
        if not messages:
            continue
        message = messages[-1]
        span = re.match(r"off=(\d+) len=(\d+) span\[(\w+)\]", line)
        if span:
            at, size, kind = int(span[1]), int(span[2]), span[3]
            text = data[at : at + size]
            fields = message.trailers if message.has_head else message.fields
            if kind == "body":
                message.body += text
            elif kind == "header_field":
                fields.append((text, b""))
            elif kind == "header_value":
                fields[-1] = (fields[-1][0], text.strip(b" \t"))
            else:
                message.spans[kind] = text
        elif "headers complete" in line:
            message.has_head = True
            status = re.search(r"status=(\d+)", line)
            if status:
                message.spans["code"] = status[1].encode()
        elif "message complete" in line:
            message.complete = True
    return [message for message in messages if message.has_head]


VECTORS = [vector_of(case) for case in load_cases("llhttp.json") if case["mode"] in STRICT_MODES]

each_vector = pytest.mark.parametrize("vector", VECTORS or [None], ids=lambda v: v.name if v else "missing")


def with_host(vector: Vector) -> bytes:
    """The bytes, with a Host in every HTTP/1.1 request that has none."""
    if not vector.is_request:
        return vector.data
    return re.sub(
        rb"(?m)^([A-Z-]+ [^ \r\n]+ HTTP/1\.1\r\n)(?!(?:[^\r\n]+\r\n)*(?i:host):)",
        rb"\1Host: vector.test\r\n",
        vector.data,
    )


def check_message(got: Message, expected: Expected) -> None:
    head = got.head
    spans = expected.spans
    assert head.version == int(spans["version"].replace(b".", b""))
    added = (b"Host", b"vector.test")
    assert [pair for pair in head.headers.raw if pair != added] == expected.fields
    if isinstance(head, ResponseHead):
        assert head.status_code == int(spans["code"])
        assert head.reason.strip().encode("latin-1") == spans.get("status", b"").strip()
    else:
        assert head.method.encode() == spans["method"]
        assert head.target == spans["url"]
    assert bytes(got.body) == expected.body
    assert list(got.trailers.raw if got.trailers else ()) == expected.trailers
    assert got.complete == expected.complete


def check_last(reader: Reader, vector: Vector) -> None:
    head = reader.messages[-1].head
    if vector.error_code == DATA_AFTER_LAST:
        assert not head.keep_alive
        assert reader.leftover > 0
    if vector.error_code == CHANGE_OF_PROTOCOL:
        assert head.upgrade or (isinstance(head, RequestHead) and head.method == "CONNECT")


@each_vector
def test_llhttp_message_fed_every_way_is_read_as_llhttp_does(vector: Vector | None) -> None:
    require("llhttp.json")
    assert vector is not None
    reader = read_every_way(None if vector.is_request else vector.method, with_host(vector))
    if vector.name in REFUSED:
        assert not vector.is_fault
        whole, _reason = REFUSED[vector.name]
        assert reader.error is not None
        assert len(reader.messages) == whole
    elif vector.name in ACCEPTED:
        assert vector.is_fault
        assert reader.error is None
        assert reader.messages[-1].complete
        return
    elif vector.name in CALLBACK:
        assert not reader.messages[-1].complete
        return
    elif vector.is_fault:
        assert reader.error is not None
    else:
        assert reader.error is None
        assert len(reader.messages) == len(vector.messages)
        if reader.messages:
            check_last(reader, vector)
    for got, expected in zip(reader.messages, vector.messages, strict=False):
        check_message(got, expected)


def test_llhttp_requests_without_host_are_those_named_and_refused_for_it() -> None:
    require("llhttp.json")
    refused = set()
    for vector in VECTORS:
        if vector.is_request and not vector.is_fault and vector.name not in REFUSED:
            reader = read(None, [vector.data])
            if reader.error is not None:
                assert reader.error.code == "bad_host"
                refused.add(vector.name)
    assert refused == WITHOUT_HOST


def test_llhttp_deviations_name_existing_cases() -> None:
    require("llhttp.json")
    names = {vector.name for vector in VECTORS}
    assert names >= {*REFUSED, *ACCEPTED, *CALLBACK, *WITHOUT_HOST}
