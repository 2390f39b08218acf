"""What `soak.py` asks for, and when: a few requests drawn at random, at a steady rate."""

from __future__ import annotations

import time
from random import Random

from soak_server import body_of

LENGTHS = (0, 1, 100, 5_000, 60_000, 300_000)
LABELS = 3
POSTED = 4_000


class Wanted:
    """The requests that are made: few enough that everything which is remembered of them is remembered soon."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        self._gets = [
            (f"{url}/{label}/{length}", body_of(str(label), length))
            for url in urls
            for label in range(LABELS)
            for length in LENGTHS
        ]
        self._posts = [(f"{url}/echo", body_of(f"posted {label}", POSTED)) for url in urls for label in range(LABELS)]

    def all(self) -> list[tuple[str, str, bytes]]:
        """Each of them: a method, a URL and the body that has to come back."""
        return [*(("GET", *get) for get in self._gets), *(("POST", *post) for post in self._posts)]

    def draw(self, random: Random) -> tuple[str, str, bytes]:
        """One of them."""
        if random.random() < 0.2:
            return ("POST", *random.choice(self._posts))
        return ("GET", *random.choice(self._gets))


class Paced:
    """When the next of so many requests a second is due."""

    def __init__(self, rate: float, end: float) -> None:
        self._step = 1 / rate
        self._due = time.monotonic()
        self.end = end

    def left(self) -> float:
        """Seconds until the next one is due: 0 where it is."""
        return max(0.0, self._due - time.monotonic())

    def take(self) -> None:
        """One was begun."""
        self._due += self._step

    @property
    def over(self) -> bool:
        """Whether the phase has ended."""
        return time.monotonic() >= self.end
