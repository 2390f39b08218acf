"""What `next` of a receiver returns: what it came to in the bytes that it has.

Where readers of framed messages return the same (`protocol/framing/framing.py`), the numbers are the same.
"""

from __future__ import annotations

from typing import Final

# More bytes are needed; a whole message came; a Ping, a Pong; the peer's Close.
NEED_BYTES: Final = 0
MESSAGE: Final = 1
PING: Final = 2
PONG: Final = 3
CLOSE: Final = 4
# Memory is to be lent for the present message; a step was long enough, and more is there.
NEED_MEMORY: Final = 5
AGAIN: Final = 6
# The peer broke the rules, or a bound; after that, and after CLOSE, whatever comes is dropped.
FAILED: Final = 7
ENDED: Final = 8

# Inside a receiver, between the steps of `next`: the frame goes on, or another one.
GO_ON: Final = -1
