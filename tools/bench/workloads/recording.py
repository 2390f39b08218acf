"""One request after the other, with what moves recorded for a cassette and without; the answer has 100 bytes.

The cassette itself is written after a test, and waited for by none of its requests: it is not part of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from task import Contestant, Run, Task
from workloads.http1_sequential import empty, get_contents, read_streams, turbosock_get, turbosock_stream

if TYPE_CHECKING:
    import turbosock


def recorded_client() -> turbosock.Client:
    """A Client with its defaults, and a Recorder."""
    import turbosock
    from turbosock.testing import Recorder

    return turbosock.Client(connector=Recorder("cassette.json", mode="record"))


def recorded_get(task: Task) -> Run:
    """Client.get().content, recorded"""
    return get_contents(recorded_client(), task)


def recorded_stream(task: Task) -> Run:
    """Client.stream() and readinto(), recorded"""
    return read_streams(recorded_client(), task)


CONTESTANTS: dict[str, Contestant] = {
    "turbosock get": turbosock_get,
    "turbosock get, recorded": recorded_get,
    "turbosock stream": turbosock_stream,
    "turbosock stream, recorded": recorded_stream,
    "empty": empty,
}
