from __future__ import annotations

import pytest

from support.websocket import frame, masked
from turbosock.protocol.websocket.frame import (
    BINARY,
    CLOSE,
    COMPRESSED,
    CONTINUATION,
    FIN,
    MAX_HEADER_BYTES,
    PING,
    PONG,
    READ_MASKED,
    READ_PLAIN,
    REFUSED,
    TEXT,
    WRITE_MASKED,
    WRITE_PLAIN,
    FrameHeader,
    header_size,
    write_header,
)

LENGTHS = [0, 1, 125, 126, 127, 255, 256, 65535, 65536, 1 << 32, (1 << 63) - 1]
DATA_OPCODES = (CONTINUATION, TEXT, BINARY)
CONTROL_OPCODES = (CLOSE, PING, PONG)


def read(data: bytes, *, is_masked: bool, compression: bool = False) -> tuple[int, FrameHeader]:
    """Read a header, which comes to the same however much of it is there, and wherever it lies."""
    whole = FrameHeader(is_masked, compression)
    size = whole.read(bytearray(data), 0, len(data))
    header = FrameHeader(is_masked, compression)
    for offset in (0, 3):
        buffer = bytearray(offset) + data
        for end in range(offset, len(buffer)):
            part = header.read(buffer, offset, end)
            assert part in (0, size)
            assert part != 0 or end - offset < len(data)
            if part == REFUSED:
                assert header.failure == whole.failure
    return size, whole


def header_bytes(first: int, length: int, key: int = -1) -> bytes:
    memory = bytearray(b"\xdb" * (MAX_HEADER_BYTES + 4))
    end = write_header(memory, 2, first, length, key)
    assert memory[:2] == b"\xdb\xdb" and memory[end:] == b"\xdb" * (len(memory) - end)
    return bytes(memory[2:end])


@pytest.mark.parametrize("key", [-1, 0, 0x37FA213D, 0xFFFFFFFF])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("first", [FIN | TEXT, BINARY, CONTINUATION, FIN | TEXT | COMPRESSED])
def test_header_written_is_read_back(first: int, length: int, key: int) -> None:
    data = header_bytes(first, length, key)
    assert len(data) == header_size(length, key >= 0)
    size, header = read(data, is_masked=key >= 0, compression=True)
    assert size == len(data)
    assert header.opcode == first & 0x0F
    assert header.fin is bool(first & FIN)
    assert header.compressed is bool(first & COMPRESSED)
    assert header.length == length
    assert key < 0 or header.key == key


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536])
@pytest.mark.parametrize("key", [None, b"\x01\x02\x03\x04"])
def test_header_written_is_that_of_a_frame_made_by_hand(length: int, key: bytes | None) -> None:
    made = frame(BINARY, bytes(length), key=key)
    assert made.startswith(header_bytes(FIN | BINARY, length, -1 if key is None else int.from_bytes(key, "big")))


@pytest.mark.parametrize("compression", [False, True])
@pytest.mark.parametrize("first", range(256))
def test_first_byte_is_accepted_exactly_where_the_rfc_defines_it(first: int, compression: bool) -> None:
    size, header = read(bytes([first, 0]), is_masked=False, compression=compression)
    opcode = first & 0x0F
    reserved = first & (0x30 if compression else 0x70)
    known = opcode in DATA_OPCODES or (opcode in CONTROL_OPCODES and first & 0x80)
    compressible = not first & 0x40 or opcode in (TEXT, BINARY)
    if known and not reserved and compressible:
        assert (size, header.failure) == (2, "")
    else:
        assert size == REFUSED
        assert header.failure and header.close_code == 1002


@pytest.mark.parametrize("is_masked", [False, True])
def test_frame_masked_by_the_wrong_side_is_refused(is_masked: bool) -> None:
    size, header = read(header_bytes(FIN | TEXT, 5, -1 if is_masked else 7), is_masked=is_masked)
    assert size == REFUSED
    assert "mask" in header.failure


@pytest.mark.parametrize("opcode", CONTROL_OPCODES)
@pytest.mark.parametrize("second", [126, 127])
def test_control_frame_longer_than_125_bytes_is_refused_before_its_length_is_there(opcode: int, second: int) -> None:
    size, header = read(bytes([FIN | opcode, second]), is_masked=False)
    assert size == REFUSED
    assert "125" in header.failure


@pytest.mark.parametrize("length", [0, 1, 125])
def test_length_in_two_bytes_that_needs_none_is_refused(length: int) -> None:
    size, header = read(bytes([FIN | BINARY, 126]) + length.to_bytes(2, "big"), is_masked=False)
    assert size == REFUSED
    assert "more than it needs" in header.failure


@pytest.mark.parametrize("length", [0, 125, 126, 65535])
def test_length_in_eight_bytes_that_needs_fewer_is_refused(length: int) -> None:
    size, header = read(bytes([FIN | BINARY, 127]) + length.to_bytes(8, "big"), is_masked=False)
    assert size == REFUSED
    assert "than it needs" in header.failure


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1])
def test_length_with_its_highest_bit_is_refused(length: int) -> None:
    size, header = read(bytes([FIN | BINARY, 127]) + length.to_bytes(8, "big"), is_masked=False)
    assert size == REFUSED
    assert "2**63" in header.failure


@pytest.mark.parametrize("n", range(126))
def test_small_frames_in_one_call_are_those_made_by_hand(n: int) -> None:
    payload = bytes(range(n))
    plain = bytearray(n + 5)
    WRITE_PLAIN[n](plain, 3, FIN | BINARY, n, payload)
    assert plain == bytes(3) + frame(BINARY, payload, key=None)
    assert READ_PLAIN[n](plain, 5) == (payload,)
    hidden = bytearray(n + 9)
    key = b"\x01\x02\x03\x04"
    WRITE_MASKED[n](hidden, 3, FIN | BINARY, n | 0x80, 0x01020304, masked(payload, key))
    assert hidden == bytes(3) + frame(BINARY, payload, key=key)
    assert READ_MASKED[n](hidden, 5) == (0x01020304, masked(payload, key))
