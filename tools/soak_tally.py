"""What became of the requests of one phase of `soak.py`: counts, and how long they took."""

from __future__ import annotations

import collections
import threading
from array import array
from dataclasses import dataclass, field
from random import Random

from turbosock import NetworkError, ProtocolError, TlsError

MAX_SAMPLE = 4096

# How a connection that the server broke, or closed at the wrong moment, may end a request.
EXPECTED = (NetworkError, ProtocolError, TlsError)


class Times:
    """How long requests took: of many a fair sample, in memory that does not grow."""

    def __init__(self) -> None:
        self._sample = array("d", bytes(8 * MAX_SAMPLE))
        self._random = Random(1)
        self._count = 0
        self.most = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        place = self._count if self._count < MAX_SAMPLE else self._random.randrange(self._count + 1)
        self._count += 1
        self.most = max(self.most, seconds)
        if place < MAX_SAMPLE:
            self._sample[place] = seconds

    def quantile(self, share: float) -> float:
        """What so large a share took no longer than."""
        kept = sorted(self._sample[: min(self._count, MAX_SAMPLE)])
        return kept[int(len(kept) * share)] if kept else 0.0


@dataclass(slots=True)
class Tally:
    """What became of the requests of one phase; guarded by its lock where threads share it."""

    begun: int = 0
    good: int = 0
    failed: int = 0
    wrong: int = 0
    unexpected: collections.Counter[str] = field(default_factory=collections.Counter)
    times: Times = field(default_factory=Times)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def end(self, seconds: float, error: BaseException | None, right: bool) -> None:
        """One request is over."""
        with self.lock:
            self.times.add(seconds)
            if error is not None:
                self.failed += 1
                if not isinstance(error, EXPECTED):
                    self.unexpected[f"{type(error).__name__}: {error}"] += 1
            elif right:
                self.good += 1
            else:
                self.wrong += 1

    def begin(self) -> None:
        """One request is begun."""
        with self.lock:
            self.begun += 1
