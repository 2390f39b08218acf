"""FakeTerminal: a text stream that says it is a terminal and keeps what is written to it."""

from __future__ import annotations

import io


class FakeTerminal(io.StringIO):
    """Everything written is in `getvalue()`, control sequences included."""

    def isatty(self) -> bool:
        return True
