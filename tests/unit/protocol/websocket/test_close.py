from __future__ import annotations

import pytest

from turbosock.errors import InvalidOption
from turbosock.protocol.websocket.close import (
    CLOSE_CODE_NAMES,
    INVALID_DATA,
    MAX_REASON_BYTES,
    NO_STATUS,
    PROTOCOL_ERROR,
    ClosePayload,
    close_payload,
    may_travel,
    read_close,
    shortened,
)

TRAVELLING = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}


def test_codes_that_travel_are_those_of_the_registry_and_the_two_free_ranges() -> None:
    assert {code for code in range(65536) if may_travel(code)} == TRAVELLING


@pytest.mark.parametrize(
    "code", [0, 999, 1000, 1004, 1005, 1006, 1007, 1014, 1015, 1016, 2999, 3000, 4999, 5000, 65535]
)
def test_close_frame_with_a_code_is_read_or_refused_as_the_rfc_has_it(code: int) -> None:
    said = read_close(code.to_bytes(2, "big") + "grüße".encode())
    if code in TRAVELLING:
        assert said == ClosePayload(code, "grüße", True)
    else:
        assert not said.valid
        assert said.code == PROTOCOL_ERROR
        assert str(code) in said.reason


def test_close_frame_without_a_code_says_so() -> None:
    assert read_close(b"") == ClosePayload(NO_STATUS, "", True)


def test_close_frame_with_half_a_code_is_refused() -> None:
    assert read_close(b"\x03")[::2] == (PROTOCOL_ERROR, False)


@pytest.mark.parametrize("reason", [b"\xff", b"ok \xed\xa0\x80", b"\xe2\x82"])
def test_close_frame_whose_reason_is_not_utf8_is_refused(reason: bytes) -> None:
    assert read_close(b"\x03\xe8" + reason)[::2] == (INVALID_DATA, False)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "x" * 123), (4999, "é" * 61), (NO_STATUS, "")])
def test_close_payload_is_read_back(code: int, reason: str) -> None:
    assert read_close(close_payload(code, reason)) == ClosePayload(code, reason, True)


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 1016, 2999, 5000, -1, 1000.0, "1000", None, True])
def test_close_payload_of_a_code_that_must_not_travel_is_refused(code: object) -> None:
    with pytest.raises(InvalidOption, match="code="):
        close_payload(code)  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, "x" * 124), (1000, "é" * 62), (1000, "\ud800"), (NO_STATUS, "why"), (1000, b"bytes")]
)
def test_close_payload_of_a_reason_that_cannot_be_sent_is_refused(code: int, reason: object) -> None:
    with pytest.raises(InvalidOption, match="reason"):
        close_payload(code, reason)  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize("reason", ["", "short", "x" * 123, "x" * 124, "é" * 100, "x" + "日" * 100, "\ud800" * 200])
def test_reason_shortened_fits_and_is_a_beginning_of_the_whole(reason: str) -> None:
    short = shortened(reason)
    close_payload(1011, short)
    assert reason.encode("utf-8", "replace").decode().startswith(short)
    assert len(short.encode()) > MAX_REASON_BYTES - 4 or short == reason


def test_names_are_of_codes_that_exist() -> None:
    assert all(1000 <= code <= 1015 or 3000 <= code <= 3999 for code in CLOSE_CODE_NAMES)
