"""Leg: one part of the demo, run on its own and told in a few rows of the table.

A leg raises TurbosockError when a request fails or an answer is wrong: figures of a run that went wrong are not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from turbosock.client.progress import StatusLine
from turbosock.config import Config, Timeouts

# Every answer of the demo's server: as long as the answers that the benchmarks are about.
BODY = bytes(range(0x20, 0x20 + 64)) + b"0123456789abcdefghijklmnopqrstuvwxyz"
# Longer than the body, so that an answer which is too long shows.
BUFFER_BYTES = 2 * len(BODY)

# On loopback an answer that takes this long will not come; the demo promises to end in 20 s even then.
# Its server is on this machine: a proxy of the environment would not find it, or would be what is measured.
CONFIG = Config(timeouts=Timeouts.of(4.0), trust_env=False)


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: what was measured, and the value as text."""

    what: str
    value: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a leg found.

    Attributes:
        figures: the rows of the table.
        notes: what a reader must know to understand them.
    """

    figures: Sequence[Figure]
    notes: Sequence[str] = field(default=())


@dataclass(frozen=True, slots=True)
class Stage:
    """What a leg is given.

    Attributes:
        url: answers 200 with BODY.
        secure_url: the same over https.
        ca_pem: who vouches for that.
        seconds: how long a leg that measures a rate goes on.
        line: shows how far it is.
    """

    url: str
    secure_url: str
    ca_pem: bytes
    seconds: float
    line: StatusLine


class Leg(Protocol):
    """A part of the demo."""

    @property
    def title(self) -> str:
        """What it is called in the table."""

    @property
    def timed(self) -> bool:
        """Whether it measures a rate, and so takes a share of the time that was given."""

    def run(self, stage: Stage) -> Outcome:
        """Do the work.

        Raises:
            TurbosockError: a request failed, or its answer was wrong.
        """
