"""The frames of HTTP/2 on the wire (RFC 9113 §4.1, §6): their kinds, flags and layout.

Every frame is a header of nine bytes (a length of 24 bits, kind, flags, a reserved bit, the stream's id of 31 bits) and
that many bytes of payload.
"""

from __future__ import annotations

import struct
from typing import Final

# What a client says first (RFC 9113 §3.4).
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

HEADER_BYTES: Final = 9
# Length as 8 and 16 bits, kind, flags, stream.
HEADER: Final = struct.Struct(">BHBBL")
# Frames of one length, whole: RST_STREAM and WINDOW_UPDATE; PING; GOAWAY without debug data; one setting.
WORD_FRAME: Final = struct.Struct(">BHBBLL")
PING_FRAME: Final = struct.Struct(">BHBBL8s")
GOAWAY_FRAME: Final = struct.Struct(">BHBBLLL")
SETTING: Final = struct.Struct(">HL")
WORD: Final = struct.Struct(">L")
GOAWAY_PAYLOAD: Final = struct.Struct(">LL")

# Kinds.
DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

KIND_NAMES: Final = (
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
)

# Flags; ACK is of SETTINGS and PING, the others of DATA, HEADERS and CONTINUATION.
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

# Payload of PRIORITY, and of the same fields in HEADERS.
PRIORITY_BYTES: Final = 5
PING_BYTES: Final = 8

MAX_STREAM_ID: Final = 2**31 - 1
# The largest flow-control window (RFC 9113 §6.9.1), and what a word's lower 31 bits are taken with.
MAX_WINDOW: Final = 2**31 - 1

# The payload that every peer takes (RFC 9113 §4.2), and the most that it may ask for.
DEFAULT_FRAME_BYTES: Final = 16_384
MAX_FRAME_BYTES: Final = 2**24 - 1
DEFAULT_WINDOW: Final = 65_535


def kind_name(kind: int) -> str:
    """What a frame of this kind is called."""
    return KIND_NAMES[kind] if kind < len(KIND_NAMES) else f"frame {kind:#x}"
