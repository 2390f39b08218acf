"""Interrupt: ctrl-C for commands with a Loop, told between two turns.

An interrupt that is raised inside a turn ends the connection whose step it met, and its peer is told nothing. So the
first one is noted here, for the command to end in good order; a second one is raised wherever it comes.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class Interrupt:
    """Notes ctrl-C for the length of a with block, and raises it as KeyboardInterrupt at its end.

    Attributes:
        asked: whether it came.
    """

    __slots__ = ("_installed", "asked")

    def __init__(self) -> None:
        self.asked = False
        self._installed = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self._remove()

    def _remove(self) -> None:
        if self._installed:
            self._installed = False
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def __enter__(self) -> Interrupt:
        # Who has another handler, or ignores it, knows why; and only the main thread may choose one.
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            self._installed = True
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()
        if self.asked and kind is None:
            raise KeyboardInterrupt
