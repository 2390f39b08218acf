"""Work counted in lines of the library that are executed, which no other load on the machine changes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import turbosock

_PACKAGE = str(Path(turbosock.__file__).parent)


def count_steps(work: Callable[[], object]) -> int:
    """How many lines of turbosock `work` executes on this thread."""
    steps = 0

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal steps
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            return None
        steps += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(before)
    return steps
