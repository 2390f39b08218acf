"""Progress: one line of a terminal, written over in place; nothing where there is no terminal, or a dumb one.

Invariants: a line is shorter than the terminal, so that a carriage return covers it; it is redrawn ten times a second
at most, whatever the rate of updates.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, TextIO

from turbosock.client.quantity import bytes_text, left_text

REDRAW_INTERVAL_S: Final = 0.1
# Below this a rate says nothing, and a division by it may fail.
MIN_RATE_TIME_S: Final = 0.05
BAR_CELLS: Final = 30
# Carriage return, then erase to the end of the line (ECMA-48 EL).
_REWRITE: Final = "\r\x1b[K"


class StatusLine:
    """One line that is rewritten in place on a terminal; elsewhere every call does nothing.

    Args:
        stream: usually standard error.
        clock: seconds that only grow.
    """

    __slots__ = ("_clock", "_drawn", "_last_s", "_stream", "live")

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._last_s = -REDRAW_INTERVAL_S
        self._drawn = False
        self.live = stream.isatty() and os.environ.get("TERM") != "dumb"

    def is_due(self) -> bool:
        """Whether a redraw would be seen: on a terminal, and not sooner than the last one allows."""
        return self.live and self._clock() - self._last_s >= REDRAW_INTERVAL_S

    def draw(self, line: str) -> None:
        """Show `line` in place of the last one, cut to the terminal."""
        if not self.live:
            return
        self._last_s = self._clock()
        self._drawn = True
        self._stream.write(_REWRITE + line[: shutil.get_terminal_size().columns - 1])
        self._stream.flush()

    def keep(self) -> None:
        """Leave what is drawn, and go on below it."""
        if self._drawn:
            self._drawn = False
            self._stream.write("\n")
            self._stream.flush()

    def clear(self) -> None:
        """Take away what is drawn."""
        if self._drawn:
            self._drawn = False
            # What is drawn next is another thing, and shown at once.
            self._last_s = -REDRAW_INTERVAL_S
            self._stream.write(_REWRITE)
            self._stream.flush()


def transfer_line(done: int, total: int | None, elapsed_s: float) -> str:
    """How far a transfer is: a bar, the bytes, the rate and the time left, as far as they are known."""
    rate = done / elapsed_s if elapsed_s >= MIN_RATE_TIME_S else 0.0
    pace = f"  {bytes_text(rate)}/s" if rate else ""
    if total is None:
        return f"{bytes_text(done)}{pace}"
    # A body of no bytes is whole from the start.
    share = done / total if total else 1.0
    cells = int(share * BAR_CELLS)
    left = f"  {left_text((total - done) / rate)} left" if rate and done < total else ""
    bar = "#" * cells + "." * (BAR_CELLS - cells)
    return f"{int(share * 100):3}% [{bar}] {bytes_text(done)} of {bytes_text(total)}{pace}{left}"


class TransferBar:
    """Tells how far a transfer is: a function, or a bar on standard error, or nobody; for a with block.

    Args:
        progress: a function of bytes done and bytes in all (None where not known); True for the bar; None.
    """

    __slots__ = ("_call", "_line", "_start_s")

    def __init__(self, progress: Callable[[int, int | None], object] | bool | None) -> None:
        self._call = progress if callable(progress) else None
        # None: the process was started with its standard error closed.
        self._line = StatusLine(sys.stderr) if progress is True and sys.stderr is not None else None
        self._start_s = time.monotonic()

    def update(self, done: int, total: int | None) -> None:
        """So many bytes are there; what the function raises is raised."""
        if self._call is not None:
            self._call(done, total)
        elif self._line is not None and (done == total or self._line.is_due()):
            self._line.draw(transfer_line(done, total, time.monotonic() - self._start_s))

    def __enter__(self) -> TransferBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._line is not None:
            self._line.keep()
