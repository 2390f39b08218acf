"""ScoreBoard: a service of its own, which keeps the best score of each name and tells them by HTTP.

    GET  /scores                    [["Ada", 12], ["Bob", 7]], highest first
    POST /scores   {"Ada": 13}      204: the higher one of each name's is kept

It lives in memory, and in the arena's own loop unless the arena is told of another one; nothing in the arena depends on
that, and all that the two share is HTTP.
"""

from __future__ import annotations

import json

from turbosock import HttpExchange
from turbosock.examples.arena.messages import Score, plain
from turbosock.examples.arena.rules import MAX_KEPT_SCORES, MAX_NAME_CHARS, MAX_POINTS, SHOWN_SCORES


class ScoreBoard:
    """The best scores; `answer` is a listener's handler."""

    __slots__ = ("_best",)

    def __init__(self) -> None:
        self._best: dict[str, int] = {}

    def table(self) -> list[Score]:
        """The best, highest first; of equal ones who was there before."""
        return sorted(self._best.items(), key=_points_of, reverse=True)[:SHOWN_SCORES]

    def note(self, name: str, points: int) -> None:
        """Somebody has so many points."""
        if points > self._best.get(name, 0):
            self._best[name] = points
        if len(self._best) > MAX_KEPT_SCORES:
            del self._best[min(self._best.items(), key=_points_of)[0]]

    def answer(self, exchange: HttpExchange) -> None:
        """Answer one request."""
        request = exchange.request
        if request.method in ("GET", "HEAD"):
            headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
            exchange.respond(200, headers, json.dumps(self.table()))
        elif request.method == "POST":
            scores = read_scores(request.content)
            if scores is None:
                exchange.respond(400, {"Content-Type": "text/plain"}, 'give points by name: {"Ada": 13}\n')
                return
            for name, points in scores:
                self.note(name, points)
            exchange.respond(204)
        else:
            exchange.respond(405, {"Allow": "GET, HEAD, POST"})


def read_scores(content: bytes | memoryview) -> list[Score] | None:
    """Names and points, from an object or a list of pairs; None where they are anything else."""
    try:
        said = json.loads(bytes(content))
    except (ValueError, RecursionError):
        return None
    if isinstance(said, dict):
        said = list(said.items())
    if not isinstance(said, list):
        return None
    scores: list[Score] = []
    for row in said:
        if not (isinstance(row, (list, tuple)) and len(row) == 2):
            return None
        name, points = row
        if not isinstance(name, str) or type(points) is not int or not 0 <= points <= MAX_POINTS:
            return None
        scores.append((plain(name, MAX_NAME_CHARS), points))
    return scores


def _points_of(score: Score) -> int:
    return score[1]
