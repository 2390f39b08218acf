"""Screen: lines that are drawn over in place on a terminal.

Invariants: a line is shorter than the terminal is wide and there are fewer of them than it is high, so that going up
by as many leads to the first one again; but for the last drawing, which nothing covers. Elsewhere than on a terminal
nothing is drawn.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import Final, TextIO

from turbosock.cli.top.report import Line

# ECMA-48: so many lines up, erase to the end of the line, erase what is below; SGR.
_UP: Final = "\x1b[{}F"
_END_OF_LINE: Final = "\x1b[K"
_BELOW: Final = "\x1b[J"
_STYLES: Final = {"title": "\x1b[1m", "bad": "\x1b[31m"}
_PLAIN: Final = "\x1b[0m"


class Screen:
    """Draws lines over the last ones.

    Args:
        stream: usually standard output.

    Attributes:
        live: whether it is a terminal that understands.
    """

    __slots__ = ("_colours", "_drawn", "_stream", "live")

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = 0
        self.live = stream.isatty() and os.environ.get("TERM") != "dumb"
        # https://no-color.org: present and not empty, whatever it says.
        self._colours = self.live and not os.environ.get("NO_COLOR")

    def draw(self, lines: Sequence[Line], *, last: bool = False) -> None:
        """Show these in place of the last ones; where nothing is live, below them.

        Args:
            lines: shown as far as there is room.
            last: whether none follow: then all are shown, and the terminal scrolls.
        """
        if not self.live:
            self._stream.write("".join(f"{line.text}\n" for line in lines))
            self._stream.flush()
            return
        columns, rows = shutil.get_terminal_size()
        shown = lines if last else lines[: rows - 1]
        parts = [_UP.format(self._drawn)] if self._drawn else []
        parts += [f"{self._styled(line, columns - 1)}{_END_OF_LINE}\n" for line in shown]
        self._drawn = len(shown)
        self._stream.write("".join(parts) + _BELOW)
        self._stream.flush()

    def _styled(self, line: Line, width: int) -> str:
        text = line.text[:width]
        return f"{_STYLES[line.style]}{text}{_PLAIN}" if line.style and self._colours else text
