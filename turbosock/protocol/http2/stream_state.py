"""The life of a stream as a table: (state, what was sent or received) -> (state, or what is wrong) (RFC 9113 §5.1).

The reserved states are missing: pushes are refused, so nothing is ever reserved. A stream that is CLOSED is known to
the engine no more; what still comes for it is judged there by whether we had reset it.

A number of 0 or above is the next state. A negative one is an error of the stream (`~code`: its RST_STREAM carries the
code) or, below CONNECTION_ERROR, of the whole connection. What we would do wrong ourselves is MISUSE.
"""

from __future__ import annotations

from typing import Final

from turbosock.protocol.http2.error_codes import PROTOCOL_ERROR, STREAM_CLOSED

# States.
IDLE: Final = 0
OPEN: Final = 1
HALF_CLOSED_LOCAL: Final = 2
HALF_CLOSED_REMOTE: Final = 3
CLOSED: Final = 4

STATE_NAMES: Final = ("IDLE", "OPEN", "HALF_CLOSED_LOCAL", "HALF_CLOSED_REMOTE", "CLOSED")

# Inputs. HEADERS open a stream or carry interim heads and trailers; END is the flag END_STREAM of HEADERS or DATA, and
# an input of its own after that of its frame.
SEND_HEADERS: Final = 0
SEND_DATA: Final = 1
SEND_END: Final = 2
SEND_RESET: Final = 3
SEND_WINDOW_UPDATE: Final = 4
RECEIVE_HEADERS: Final = 5
RECEIVE_DATA: Final = 6
RECEIVE_END: Final = 7
RECEIVE_RESET: Final = 8
RECEIVE_WINDOW_UPDATE: Final = 9

INPUT_NAMES: Final = (
    "SEND_HEADERS",
    "SEND_DATA",
    "SEND_END",
    "SEND_RESET",
    "SEND_WINDOW_UPDATE",
    "RECEIVE_HEADERS",
    "RECEIVE_DATA",
    "RECEIVE_END",
    "RECEIVE_RESET",
    "RECEIVE_WINDOW_UPDATE",
)

CONNECTION_ERROR: Final = -1000
MISUSE: Final = -2000

_STREAM_CLOSED: Final = ~STREAM_CLOSED
_CONNECTION_PROTOCOL: Final = CONNECTION_ERROR - PROTOCOL_ERROR
_CONNECTION_STREAM_CLOSED: Final = CONNECTION_ERROR - STREAM_CLOSED

# Rows by state, columns by input, in the order of the constants.
TABLE: Final[tuple[tuple[int, ...], ...]] = (
    # IDLE: HEADERS alone open it; anything else that the peer sends breaks the connection.
    (
        OPEN,
        MISUSE,
        MISUSE,
        MISUSE,
        MISUSE,
        OPEN,
        _CONNECTION_PROTOCOL,
        _CONNECTION_PROTOCOL,
        _CONNECTION_PROTOCOL,
        _CONNECTION_PROTOCOL,
    ),
    # OPEN
    (OPEN, OPEN, HALF_CLOSED_LOCAL, CLOSED, OPEN, OPEN, OPEN, HALF_CLOSED_REMOTE, CLOSED, OPEN),
    # HALF_CLOSED_LOCAL: we have sent all; the peer goes on.
    (
        MISUSE,
        MISUSE,
        MISUSE,
        CLOSED,
        HALF_CLOSED_LOCAL,
        HALF_CLOSED_LOCAL,
        HALF_CLOSED_LOCAL,
        CLOSED,
        CLOSED,
        HALF_CLOSED_LOCAL,
    ),
    # HALF_CLOSED_REMOTE: the peer has sent all; we go on.
    (
        HALF_CLOSED_REMOTE,
        HALF_CLOSED_REMOTE,
        CLOSED,
        CLOSED,
        HALF_CLOSED_REMOTE,
        _STREAM_CLOSED,
        _STREAM_CLOSED,
        _STREAM_CLOSED,
        CLOSED,
        HALF_CLOSED_REMOTE,
    ),
    # CLOSED
    (
        MISUSE,
        MISUSE,
        MISUSE,
        CLOSED,
        CLOSED,
        _CONNECTION_STREAM_CLOSED,
        _STREAM_CLOSED,
        _STREAM_CLOSED,
        CLOSED,
        CLOSED,
    ),
)


def column(given: int) -> tuple[int, ...]:
    """The outcome of one input by state, so that a hot path takes its step with one index."""
    return tuple(row[given] for row in TABLE)
