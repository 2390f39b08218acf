"""An arena with bots that turns in real time, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from turbosock import Config, Loop
from turbosock.examples.arena.bot import Swarm
from turbosock.examples.arena.server import Arena

WAIT_S = 60.0


class RunningArena:
    """Runs for the length of a with block, or until `stop()`.

    Args:
        bots: how many play.
        options: of the Arena.

    Attributes:
        url: of the page.
        bots_play: whether the bots see and do anything; clear it, and they keep the keys down that they have.
    """

    def __init__(self, bots: int = 0, **options: Any) -> None:
        self._bots = bots
        self._options = options
        self._wanted: list[Callable[[Arena], object]] = []
        self._stop = threading.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arena")
        self.url = ""
        self.bots_play = True

    def _run(self) -> None:
        config = Config(trust_env=False)
        with Loop(config) as loop, Arena(loop, ("127.0.0.1", 0), seed=4, **self._options) as arena, Loop(config) as own:
            swarm = Swarm(own, arena.inside_url, self._bots, seed=4)
            self.url = arena.url
            self._started.set()
            while not self._stop.is_set():
                arena.turn()
                if self.bots_play:
                    swarm.turn()
                while self._wanted:
                    self._wanted.pop()(arena)

    def ask(self, what: Callable[[Arena], Any]) -> Any:
        """What a function of the arena returns, called in its thread between two turns."""
        answers: list[Any] = []
        answered = threading.Event()

        def answer(arena: Arena) -> None:
            answers.append(what(arena))
            answered.set()

        self._wanted.append(answer)
        assert answered.wait(WAIT_S)
        return answers[0]

    def stop(self) -> None:
        """End soon, from any thread."""
        self._stop.set()

    def __enter__(self) -> RunningArena:
        self._thread.start()
        assert self._started.wait(WAIT_S)
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
