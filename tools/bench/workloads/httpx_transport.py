"""A GET of 100 bytes by httpx2, one after the other: over turbosock, and as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from task import BODY_BYTES, Contestant, Run, Task, repeated
from workloads.http1_sequential import empty

if TYPE_CHECKING:
    import httpx2

PATH = "/100"


def over_turbosock(task: Task) -> Run:
    """A Client with TurbosockTransport"""
    import httpx2

    from turbosock.integrations.httpx2 import TurbosockTransport

    return gets(httpx2.Client(transport=TurbosockTransport()), task)


def alone(task: Task) -> Run:
    """A Client as it is"""
    import httpx2

    return gets(httpx2.Client(), task)


def gets(client: httpx2.Client, task: Task) -> Run:
    """A run of `get` and `content` on `client`."""
    url = task.url(PATH)
    return repeated(lambda: len(client.get(url).content), BODY_BYTES)


CONTESTANTS: dict[str, Contestant] = {"turbosock under httpx2": over_turbosock, "httpx2": alone, "empty": empty}
