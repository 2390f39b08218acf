"""Close codes and the payload of Close frames: RFC 6455 §5.5.1, §7.4, and the registry that it set up at IANA.

1005, 1006 and 1015 say what happened to an endpoint and never travel; what is not assigned below 3000 must not travel
either. 3000 to 3999 are for libraries and frameworks, 4000 to 4999 for applications.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from turbosock.errors import InvalidOption

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
UNSUPPORTED_DATA: Final = 1003
NO_STATUS: Final = 1005
ABNORMAL: Final = 1006
INVALID_DATA: Final = 1007
POLICY_VIOLATION: Final = 1008
TOO_BIG: Final = 1009
MANDATORY_EXTENSION: Final = 1010
INTERNAL_ERROR: Final = 1011
SERVICE_RESTART: Final = 1012
TRY_AGAIN_LATER: Final = 1013
BAD_GATEWAY: Final = 1014
TLS_HANDSHAKE: Final = 1015

CLOSE_CODE_NAMES: Final = {
    NORMAL: "normal closure",
    GOING_AWAY: "going away",
    PROTOCOL_ERROR: "protocol error",
    UNSUPPORTED_DATA: "unsupported data",
    NO_STATUS: "no status received",
    ABNORMAL: "abnormal closure",
    INVALID_DATA: "invalid payload data",
    POLICY_VIOLATION: "policy violation",
    TOO_BIG: "message too big",
    MANDATORY_EXTENSION: "mandatory extension",
    INTERNAL_ERROR: "internal error",
    SERVICE_RESTART: "service restart",
    TRY_AGAIN_LATER: "try again later",
    BAD_GATEWAY: "bad gateway",
    TLS_HANDSHAKE: "TLS handshake failure",
    3000: "unauthorized",
    3003: "forbidden",
    3008: "timeout",
}

# A control frame has 125 bytes, and the code takes two of them.
MAX_REASON_BYTES: Final = 123

_SENDABLE: Final = frozenset(CLOSE_CODE_NAMES) - {NO_STATUS, ABNORMAL, TLS_HANDSHAKE}


def may_travel(code: int) -> bool:
    """Whether a Close frame may carry `code` (RFC 6455 §7.4.2)."""
    return code in _SENDABLE or 3000 <= code <= 4999


class ClosePayload(NamedTuple):
    """What a Close frame says.

    Attributes:
        code: its code, or NO_STATUS without one; where the payload is refused, the code to refuse it with.
        reason: its reason, or why it is refused.
        valid: whether it is not refused.
    """

    code: int
    reason: str
    valid: bool


def read_close(payload: bytes) -> ClosePayload:
    """Read the payload of a peer's Close frame, at most 125 bytes."""
    if not payload:
        return ClosePayload(NO_STATUS, "", True)
    if len(payload) == 1:
        return ClosePayload(PROTOCOL_ERROR, "a Close frame has half a close code", False)
    code = payload[0] << 8 | payload[1]
    if not may_travel(code):
        return ClosePayload(PROTOCOL_ERROR, f"a Close frame has the close code {code}, which no peer may send", False)
    try:
        return ClosePayload(code, payload[2:].decode(), True)
    except UnicodeDecodeError:
        return ClosePayload(INVALID_DATA, "the reason in a Close frame is not UTF-8", False)


def close_payload(code: int = NO_STATUS, reason: str = "") -> bytes:
    """The payload of our Close frame; empty for NO_STATUS.

    Raises:
        InvalidOption: the code may not be sent, or the reason has more than 123 bytes in UTF-8 or cannot be encoded.
    """
    if type(code) is not int or (code != NO_STATUS and not may_travel(code)):
        raise InvalidOption(f"code={code!r}: give 1000 to 1003, 1007 to 1014, or 3000 to 4999")
    if not isinstance(reason, str):
        raise InvalidOption(f"reason={reason!r}: give a str")
    if code == NO_STATUS:
        if reason:
            raise InvalidOption("reason without code: a Close frame has a reason behind a code only; give both")
        return b""
    try:
        text = reason.encode()
    except UnicodeEncodeError:
        raise InvalidOption("reason: holds half of a surrogate pair, which UTF-8 cannot say; remove it") from None
    if len(text) > MAX_REASON_BYTES:
        raise InvalidOption(f"reason: has {len(text)} bytes in UTF-8; give at most {MAX_REASON_BYTES}")
    return code.to_bytes(2, "big") + text


def shortened(reason: str) -> str:
    """As much of `reason` as a Close frame has room for, cut between characters; what is no text is replaced."""
    text = reason.encode("utf-8", "replace")
    return text[:MAX_REASON_BYTES].decode("utf-8", "ignore")
