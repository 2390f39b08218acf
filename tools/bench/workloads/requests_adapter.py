"""A GET of 100 bytes by requests, one after the other: over turbosock, and as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libraries
from task import BODY_BYTES, Contestant, Run, Task, repeated
from workloads.http1_sequential import empty

if TYPE_CHECKING:
    import requests

PATH = "/100"


def over_turbosock(task: Task) -> Run:
    """A Session with TurbosockAdapter mounted"""
    return gets(libraries.requests_session_over_turbosock(task), task)


def alone(task: Task) -> Run:
    """A Session as it is"""
    return gets(libraries.requests_session(task), task)


def gets(session: requests.Session, task: Task) -> Run:
    """A run of `get` and `content` on `session`."""
    url = task.url(PATH)
    return repeated(lambda: len(session.get(url).content), BODY_BYTES)


CONTESTANTS: dict[str, Contestant] = {"turbosock under requests": over_turbosock, "requests": alone, "empty": empty}
