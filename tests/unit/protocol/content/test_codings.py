from __future__ import annotations

import gzip
import struct
import zlib

import pytest

from support.content import (
    BROTLIS,
    DEFLATES,
    GZIPS,
    ZSTDS,
    Case,
    coding_of,
    cut,
    decode,
    decoder_of,
    encode,
    zstd_module,
)
from turbosock.errors import DecodingError
from turbosock.limits import MAX_CODED_MEMBERS, MAX_ZSTD_WINDOW_BYTES
from turbosock.protocol.content.deflate_coding import is_zlib_header

GZIP = pytest.mark.parametrize("case", GZIPS, ids=str)
ZSTD = pytest.mark.parametrize("case", ZSTDS, ids=str)
SKIPPABLE = b"\x53\x2a\x4d\x18" + struct.pack("<I", 5) + b"notes"


def member(data: bytes, flags: int, fields: bytes, header_crc: bool = False) -> bytes:
    """A gzip member with optional header fields (RFC 1952 §2.3.1)."""
    plain = gzip.compress(data, mtime=0)
    head = plain[:3] + bytes((flags,)) + plain[4:10] + fields
    if header_crc:
        head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    return head + plain[10:]


@GZIP
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_gzip_header_with_every_optional_field_is_read(case: Case, size: int) -> None:
    for flags, fields, crc in (
        (0x01, b"", False),
        (0x08, b"name\0", False),
        (0x10, b"comment\0", False),
        (0x04, b"\x05\0extra", False),
        (0x1F, b"\x05\0extraname\0comment\0", True),
    ):
        assert decode(decoder_of(case), cut(member(b"body", flags, fields, crc), size)) == (b"body", None), flags


@GZIP
@pytest.mark.parametrize("flags", [0x20, 0x40, 0x80])
def test_gzip_header_with_a_reserved_flag_is_refused_by_every_library(case: Case, flags: int) -> None:
    assert decode(decoder_of(case), [member(b"body", flags, b"")]).code == "decoding"


@GZIP
def test_gzip_header_with_another_method_or_a_wrong_check_is_refused(case: Case) -> None:
    plain = gzip.compress(b"body")
    assert decode(decoder_of(case), [plain[:2] + b"\x07" + plain[3:]]).code == "decoding"
    checked = bytearray(member(b"body", 0x1F, b"\0\0n\0c\0", header_crc=True))
    checked[10 + 6] ^= 1
    assert decode(decoder_of(case), [bytes(checked)]).code == "decoding"


@GZIP
def test_gzip_with_more_members_than_the_limit_is_refused(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turbosock.protocol.content.coding.MAX_CODED_MEMBERS", 3)
    one = gzip.compress(b"x")
    assert decode(decoder_of(case), [one * 3]) == (b"xxx", None)
    outcome = decode(decoder_of(case), [one * 4])
    assert (outcome.data, outcome.code) == (b"xxx", "bomb")
    assert "MAX_CODED_MEMBERS" in str(outcome.error)
    assert MAX_CODED_MEMBERS > 1000


@pytest.mark.parametrize("level", range(10))
@pytest.mark.parametrize("case", DEFLATES[:2], ids=str)
def test_deflate_of_both_kinds_and_all_windows_is_told_by_its_first_bytes(case: Case, level: int) -> None:
    for window in range(9, 16):
        encoder = zlib.compressobj(level, wbits=-window if case.raw else window)
        data = encoder.compress(b"abc" * 100) + encoder.flush()
        assert is_zlib_header(data[:2]) is not case.raw
        assert decode(decoder_of(case), cut(data, 1)) == (b"abc" * 100, None)


@pytest.mark.parametrize("case", DEFLATES[::2], ids=str)
def test_deflate_that_wants_a_dictionary_is_refused(case: Case) -> None:
    encoder = zlib.compressobj(zdict=b"hello world")
    data = encoder.compress(b"hello world") + encoder.flush()
    for size in (1, 1000):
        assert decode(decoder_of(case), cut(data, size)).code == "decoding"


@pytest.mark.parametrize("case", BROTLIS, ids=str)
def test_br_after_an_empty_piece_is_not_begun(case: Case) -> None:
    coding = coding_of(case)
    assert coding.complete
    assert coding.decode(memoryview(b"\x3b")) == b""
    assert not coding.complete


@ZSTD
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_zstd_skippable_frames_decode_to_nothing(case: Case, size: int) -> None:
    data = SKIPPABLE + encode(case, b"one") + SKIPPABLE * 2 + encode(case, b"two") + SKIPPABLE
    assert decode(decoder_of(case), cut(data, size)) == (b"onetwo", None)
    assert decode(decoder_of(case), cut(SKIPPABLE, size)) == (b"", None)
    assert decode(decoder_of(case), cut(SKIPPABLE[:-1], size)).code == "truncated"


@ZSTD
def test_zstd_window_of_eight_mebibytes_passes_and_a_larger_one_is_refused(case: Case) -> None:
    zstd = zstd_module()
    key = zstd.CompressionParameter
    log = MAX_ZSTD_WINDOW_BYTES.bit_length() - 1
    # Without a content size the frame states its window; with one it would be no larger than the content.
    for window_log, code in ((log, ""), (log + 1, "decoding")):
        encoder = zstd.ZstdCompressor(options={key.window_log: window_log, key.content_size_flag: 0})
        data = encoder.compress(b"abc") + encoder.flush()
        assert decode(decoder_of(case), [data]).code == code


@ZSTD
@pytest.mark.parametrize("size", [1, 10**6])
def test_zstd_with_a_wrong_checksum_is_refused(case: Case, size: int) -> None:
    zstd = zstd_module()
    data = bytearray(zstd.compress(b"abc" * 99, options={zstd.CompressionParameter.checksum_flag: 1}))
    assert decode(decoder_of(case), cut(bytes(data), size)) == (b"abc" * 99, None)
    data[-1] ^= 1
    assert decode(decoder_of(case), cut(bytes(data), size)).code == "decoding"


@pytest.mark.parametrize("case", [*GZIPS, *ZSTDS], ids=str)
def test_coding_that_does_not_begin_as_named_says_so(case: Case) -> None:
    coding = coding_of(case)
    with pytest.raises(DecodingError, match=f"does not begin as {case.coding} does"):
        coding.decode(memoryview(b"{}"))
