"""100 MB of body in memory: how much of it there is at most, and the largest piece that is asked for at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable

import libraries
from task import Task
from workloads.gzip_download import measured

PATH = "/big"
SMALL_PATH = "/fixed"


def report(step: Callable[[str], int], task: Task) -> dict[str, float]:
    """Seconds and the peak of a run, and the largest allocation of another one."""
    import memray

    answer = measured(lambda: step(task.url(PATH)), lambda: step(task.url(SMALL_PATH)))
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "trace")
        with memray.Tracker(path):
            step(task.url(PATH))
        # An arena of the interpreter's small objects is mapped by itself; what malloc() maps is malloc's here. None at
        # all, where the pools have everything.
        records = memray.FileReader(path).get_allocation_records()
        sizes = (record.size for record in records if record.allocator != memray.AllocatorType.MMAP)
        largest = max(sizes, default=0)
    return {**answer, "largest": largest}


def content(task: Task) -> dict[str, float]:
    """Client.get().content"""
    client = libraries.turbosock_client(task)
    return report(lambda url: len(client.get(url).content), task)


def lent(task: Task, name: str) -> dict[str, float]:
    """Client.stream() and what it lends"""
    client = libraries.turbosock_client(task)

    def step(url: str) -> int:
        with client.stream("GET", url) as response:
            return len(getattr(response, name)())

    return report(step, task)


def requests_content(task: Task) -> dict[str, float]:
    """requests' content"""
    import requests

    session = requests.Session()
    return report(lambda url: len(session.get(url).content), task)


REPORTS = {
    "turbosock content": content,
    "turbosock segments": lambda task: lent(task, "segments"),
    "turbosock view": lambda task: lent(task, "view"),
    "requests": requests_content,
}
