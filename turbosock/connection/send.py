"""Send: what became of something that was to be sent without waiting.

Sending is all or nothing for each call: OK, it was taken whole and leaves in its turn; FULL, nothing of it was taken,
because too much waits for this peer already, and a callback or an event follows when there is room; CLOSED, the
connection is gone.
"""

from __future__ import annotations

import enum


class Send(enum.Enum):
    """The answer of every `send()` that does not wait; see the module."""

    OK = "ok"
    FULL = "full"
    CLOSED = "closed"
