"""Which line of a program called into this package, for messages about lent memory.

Only diagnostics ask: walking the frames costs a microsecond.
"""

from __future__ import annotations

import os
import sys

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def caller_line() -> str:
    """Return "file:line" of the nearest calling frame outside this package."""
    frame = sys._getframe(1)
    while os.path.abspath(frame.f_code.co_filename).startswith(_PACKAGE) and frame.f_back is not None:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
