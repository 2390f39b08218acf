"""InThread: a function in a thread of its own, and what came of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

GUARD_S = 20.0


class InThread:
    """Runs `run` in a thread of its own, at once; `outcome()` is what it returned or raised."""

    def __init__(self, run: Callable[[], object]) -> None:
        self._outcome: list[object] = []
        self._run = run
        self._thread = threading.Thread(target=self._body)
        self._thread.start()

    def _body(self) -> None:
        try:
            self._outcome.append(self._run())
        except BaseException as error:
            self._outcome.append(error)

    def outcome(self) -> Any:
        """Wait for the end; an error is returned, not raised."""
        self._thread.join(GUARD_S)
        assert not self._thread.is_alive(), "the thread hangs"
        return self._outcome[0]
