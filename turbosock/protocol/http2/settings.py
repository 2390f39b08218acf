"""SETTINGS of HTTP/2 (RFC 9113 §6.5, RFC 8441 §3): what one side tells the other about itself.

Invariant: every value is one that the RFC allows. Unknown settings are ignored.
"""

from __future__ import annotations

from typing import Final

from turbosock.errors import Http2Error
from turbosock.protocol.http2.error_codes import FLOW_CONTROL_ERROR, PROTOCOL_ERROR
from turbosock.protocol.http2.frames import DEFAULT_FRAME_BYTES, DEFAULT_WINDOW, MAX_FRAME_BYTES, MAX_WINDOW, SETTING

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6
ENABLE_CONNECT_PROTOCOL: Final = 0x8

# No limit was told.
UNLIMITED: Final = 2**32 - 1


class Settings:
    """The settings of one side, at first the RFC's defaults.

    Attributes:
        header_table_size: bytes of the HPACK table that this side's decoder keeps.
        enable_push: whether this side takes pushes.
        max_concurrent_streams: that the other side may have open; UNLIMITED: it did not say.
        initial_window_size: the flow-control window of a new stream towards this side.
        max_frame_size: payload bytes that this side takes in one frame.
        max_header_list_size: of a message's fields, as a piece of advice.
        enable_connect_protocol: whether this side, a server, takes extended CONNECT (RFC 8441).
    """

    __slots__ = (
        "enable_connect_protocol",
        "enable_push",
        "header_table_size",
        "initial_window_size",
        "max_concurrent_streams",
        "max_frame_size",
        "max_header_list_size",
    )

    def __init__(self) -> None:
        self.header_table_size = 4096
        self.enable_push = True
        self.max_concurrent_streams = UNLIMITED
        self.initial_window_size = DEFAULT_WINDOW
        self.max_frame_size = DEFAULT_FRAME_BYTES
        self.max_header_list_size = UNLIMITED
        self.enable_connect_protocol = False

    def set(self, identifier: int, value: int) -> None:
        """Take one setting.

        Raises:
            Http2Error: the value is not allowed; the connection is over.
        """
        if identifier == HEADER_TABLE_SIZE:
            self.header_table_size = value
        elif identifier == ENABLE_PUSH:
            if value > 1:
                raise Http2Error(f"SETTINGS_ENABLE_PUSH is {value}, neither 0 nor 1", PROTOCOL_ERROR)
            self.enable_push = value == 1
        elif identifier == MAX_CONCURRENT_STREAMS:
            self.max_concurrent_streams = value
        elif identifier == INITIAL_WINDOW_SIZE:
            if value > MAX_WINDOW:
                raise Http2Error(f"SETTINGS_INITIAL_WINDOW_SIZE is {value}, above 2^31-1", FLOW_CONTROL_ERROR)
            self.initial_window_size = value
        elif identifier == MAX_FRAME_SIZE:
            if not DEFAULT_FRAME_BYTES <= value <= MAX_FRAME_BYTES:
                raise Http2Error(f"SETTINGS_MAX_FRAME_SIZE is {value}, not 2^14 to 2^24-1", PROTOCOL_ERROR)
            self.max_frame_size = value
        elif identifier == MAX_HEADER_LIST_SIZE:
            self.max_header_list_size = value
        elif identifier == ENABLE_CONNECT_PROTOCOL:
            if value > 1 or (self.enable_connect_protocol and not value):
                raise Http2Error(f"SETTINGS_ENABLE_CONNECT_PROTOCOL is {value}, which it cannot be", PROTOCOL_ERROR)
            self.enable_connect_protocol = value == 1

    def payload(self) -> bytes:
        """The settings that differ from the defaults, as a SETTINGS frame carries them."""
        default = Settings()
        pairs = (
            (HEADER_TABLE_SIZE, self.header_table_size, default.header_table_size),
            (ENABLE_PUSH, int(self.enable_push), int(default.enable_push)),
            (MAX_CONCURRENT_STREAMS, self.max_concurrent_streams, default.max_concurrent_streams),
            (INITIAL_WINDOW_SIZE, self.initial_window_size, default.initial_window_size),
            (MAX_FRAME_SIZE, self.max_frame_size, default.max_frame_size),
            (MAX_HEADER_LIST_SIZE, self.max_header_list_size, default.max_header_list_size),
            (ENABLE_CONNECT_PROTOCOL, int(self.enable_connect_protocol), 0),
        )
        return b"".join([SETTING.pack(identifier, value) for identifier, value, usual in pairs if value != usual])
