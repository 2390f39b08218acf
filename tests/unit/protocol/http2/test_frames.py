"""Frames on the wire: http2-frame-test-case whole, taken apart, put together, and judged by an engine of each side."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from support import http2, vectors
from support.http2 import UPLOAD, Frame, Side, frames_in
from turbosock.protocol.http2 import frames
from turbosock.protocol.http2.frames import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    kind_name,
)

VECTORS = "http2_frames.json"
CASES = vectors.load_cases(VECTORS)
GOOD = [pytest.param(case, id=case["file"]) for case in CASES if case["error"] is None]
BAD = [pytest.param(case, id=case["file"]) for case in CASES if case["error"] is not None]


def payload_of(kind: int, flags: int, fields: dict[str, Any]) -> bytes:
    """The payload of a frame by what its vector says of it."""
    if kind == SETTINGS:
        return b"".join([frames.SETTING.pack(*pair) for pair in fields["settings"]])
    if kind == PING:
        return str(fields["opaque_data"]).encode()
    if kind == GOAWAY:
        debug = str(fields["additional_debug_data"]).encode()
        return frames.GOAWAY_PAYLOAD.pack(fields["last_stream_id"], fields["error_code"]) + debug
    if kind == RST_STREAM:
        return frames.WORD.pack(fields["error_code"])
    if kind == WINDOW_UPDATE:
        return frames.WORD.pack(fields["window_size_increment"])
    payload = b""
    if flags & PADDED and kind in (DATA, HEADERS, PUSH_PROMISE):
        payload += bytes([fields["padding_length"]])
    if kind == PRIORITY or (kind == HEADERS and flags & WITH_PRIORITY):
        payload += struct.pack(">LB", fields["exclusive"] << 31 | fields["stream_dependency"], fields["weight"] - 1)
    if kind == PUSH_PROMISE:
        payload += frames.WORD.pack(fields["promised_stream_id"])
    payload += str(fields.get("header_block_fragment") or fields.get("data") or "").encode()
    return payload + str(fields.get("padding") or "").encode()


def test_vectors_are_there() -> None:
    vectors.require(VECTORS)
    assert len(CASES) == 34


@pytest.mark.parametrize("case", GOOD)
def test_good_vector_is_taken_apart_and_put_together_again(case: dict[str, Any]) -> None:
    wire = bytes.fromhex(case["wire"])
    said = case["frame"]
    payload = payload_of(said["type"], said["flags"], said["frame_payload"])
    expected = Frame(said["type"], said["flags"], said["stream_identifier"], payload)
    assert frames_in(wire) == [expected]
    assert len(payload) == said["length"]
    assert http2.frame(*expected) == wire
    length = said["length"]
    assert frames.HEADER.pack(length >> 16, length & 0xFFFF, *expected[:3]) + payload == wire


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
def test_bad_vector_is_refused_with_its_code_by_each_side(client: bool, case: dict[str, Any]) -> None:
    side = Side(client=client)
    if client:
        side.request(UPLOAD, end=False)
        side.feed(http2.headers(1))
    else:
        side.feed(http2.headers(1, UPLOAD))
    side.take()
    sent = side.feed(bytes.fromhex(case["wire"]))
    (last,) = sent
    assert last.kind == (GOAWAY if side.error is not None else RST_STREAM)
    assert last.code in case["error"]


def test_layouts_are_as_long_as_the_rfc_says() -> None:
    assert frames.HEADER.size == frames.HEADER_BYTES == 9
    sizes = (frames.WORD_FRAME.size, frames.PING_FRAME.size, frames.GOAWAY_FRAME.size)
    assert [size - 9 for size in sizes] == [4, 8, 8]
    assert frames.SETTING.size == 6


def test_kinds_have_their_names_and_others_their_numbers() -> None:
    assert [kind_name(kind) for kind in (DATA, HEADERS, CONTINUATION, 0xFA)] == [
        "DATA",
        "HEADERS",
        "CONTINUATION",
        "frame 0xfa",
    ]
