"""ScoreKeeper: what the arena knows of its scoreboard, which is asked by HTTP from inside the tick.

A request of a Loop does not wait: it begins in one tick, and its answer is an event of a later one. So a scoreboard
that is slow, broken or gone costs the game nothing but its table.
"""

from __future__ import annotations

from turbosock import Exchange, Loop
from turbosock.examples.arena.messages import Score
from turbosock.examples.arena.rules import MAX_SCORES_BYTES, SCORES_TIMEOUT_S, SHOWN_SCORES
from turbosock.examples.arena.scoreboard import read_scores


class ScoreKeeper:
    """Tells the scoreboard what was reached, and asks it for the best; see the module.

    Args:
        loop: whose events hold the answers.
        url: of the scoreboard.

    Attributes:
        table: the best, highest first; None: the scoreboard does not answer, or has not yet.
        failures: requests that came to nothing.
    """

    __slots__ = ("_asks", "_buffer", "_loop", "_tells", "_url", "failures", "table")

    def __init__(self, loop: Loop, url: str) -> None:
        self._loop = loop
        self._url = url
        self._buffer = bytearray(MAX_SCORES_BYTES)
        self._asks: Exchange | None = None
        self._tells: Exchange | None = None
        self.table: list[Score] | None = None
        self.failures = 0

    @property
    def may_tell(self) -> bool:
        """Whether the last report has arrived, so that the next one may be made."""
        return self._tells is None

    def tell(self, points: dict[str, int]) -> None:
        """Report points by name; when `may_tell`."""
        self._tells = self._loop.post(self._url, json=points, timeout=SCORES_TIMEOUT_S)

    def ask(self) -> None:
        """Ask for the table, unless the last answer is still awaited."""
        if self._asks is None:
            self._asks = self._loop.request("GET", self._url, into=self._buffer, timeout=SCORES_TIMEOUT_S)

    def take(self, exchange: Exchange) -> bool:
        """A RESPONSE or ERROR of the loop; whether the table is another one now."""
        if exchange is self._tells:
            self._tells = None
            self.failures += not exchange.ok
            return False
        if exchange is not self._asks:
            return False
        self._asks = None
        table = None
        # An answer longer than the buffer is an error, like one that never came.
        if exchange.ok:
            table = read_scores(memoryview(self._buffer)[: exchange.nbytes])
        if table is None:
            self.failures += 1
        else:
            del table[SHOWN_SCORES:]
        changed = table != self.table
        self.table = table
        return changed
