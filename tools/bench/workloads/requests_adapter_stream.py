"""100 MB by requests, in pieces of 64 KiB: over turbosock, and as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libraries
from task import BIG_BYTES, Contestant, Run, Task, repeated

if TYPE_CHECKING:
    import requests

PATH = "/big"
PIECE_BYTES = 65_536


def over_turbosock(task: Task) -> Run:
    """A Session with TurbosockAdapter mounted"""
    return streams(libraries.requests_session_over_turbosock(task), task)


def alone(task: Task) -> Run:
    """A Session as it is"""
    return streams(libraries.requests_session(task), task)


def streams(session: requests.Session, task: Task) -> Run:
    """A run of `iter_content` on `session`."""
    url = task.url(PATH)

    def step() -> int:
        done = 0
        with session.get(url, stream=True) as response:
            for piece in response.iter_content(PIECE_BYTES):
                done += len(piece)
        return done

    return repeated(step, BIG_BYTES)


CONTESTANTS: dict[str, Contestant] = {"turbosock under requests": over_turbosock, "requests": alone}
