"""Forty threads on one shared HTTP/2 connection, each request for a path of its own, each answer held against it.

An answer names its path, the connection that it went by and the version of HTTP that it was asked in: nothing that
came to the wrong thread passes for right. A request that fails is counted and the next one is made.
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import libraries
from task import Task

# Its answer: the path, the connection's number, the version.
PATH = "/own/"
VERSION = b"HTTP/2.0"
# A thread whose requests keep failing ends: the connection is beyond repair, and each may take a timeout.
MAX_ERRORS = 25

# Gets a path, returns the body.
Fetch = Callable[[str], bytes]


@dataclass(slots=True)
class Found:
    """What one thread's requests came to.

    Attributes:
        good: answers to what was asked.
        mixed: answers to something else.
        errors: requests that raised; `first` is what.
        connections: by which ones the answers came.
    """

    good: int = 0
    mixed: int = 0
    errors: int = 0
    first: str = ""
    connections: set[bytes] = field(default_factory=set)


def ask(fetch: Fetch, number: int, count: int) -> Found:
    """What becomes of one thread's requests."""
    found = Found()
    for turn in range(count):
        path = f"{PATH}{number:02}/{turn:06}"
        try:
            body = fetch(path)
        except Exception as error:
            found.errors += 1
            found.first = found.first or f"{type(error).__name__}: {error}"
            if found.errors == MAX_ERRORS:
                break
            continue
        said, _, rest = body.partition(b" ")
        connection, _, version = rest.partition(b" ")
        if said == path.encode() and version == VERSION:
            found.good += 1
            found.connections.add(connection)
        else:
            found.mixed += 1
    return found


def report(fetches: list[Fetch], count: int) -> dict[str, object]:
    """`count` requests by one thread for each of `fetches`: what came of them, and the time that they took."""
    each = [Found() for _ in fetches]

    def work(number: int) -> None:
        each[number] = ask(fetches[number], number, -(-count // len(fetches)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(fetches))]
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    asked = -(-count // len(fetches)) * len(fetches)
    return {
        "asked": asked,
        "good": sum(found.good for found in each),
        "mixed": sum(found.mixed for found in each),
        "errors": sum(found.errors for found in each),
        "first": next((found.first for found in each if found.first), ""),
        "connections": len(set().union(*[found.connections for found in each])),
        "seconds": seconds,
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }


def shared(fetch: Fetch, task: Task) -> dict[str, object]:
    """All threads by one client, whose connection is there before they begin."""
    fetch(f"{PATH}warm-up")
    return report([fetch] * task.in_flight, task.count)


def turbosock_get(task: Task) -> dict[str, object]:
    """All threads on one Client, whose pool has one connection."""
    client = libraries.turbosock_client(task, pool=libraries.one_connection(), http_versions=libraries.HTTP2_ALONE)
    get, origin = client.get, task.url("")
    return shared(lambda path: get(origin + path).content, task)


def httpx2_get(task: Task) -> dict[str, object]:
    """All threads on one Client, whose pool has one connection."""
    client, origin = libraries.httpx2_client(task), task.url("")
    return shared(lambda path: client.get(origin + path).content, task)


def pycurl_perform(task: Task) -> dict[str, object]:
    """Each thread with a handle and so a connection of its own: libcurl cannot share one between threads."""

    def own() -> Fetch:
        import pycurl

        handle, parts, origin = libraries.curl_http2(task, f"{PATH}warm-up"), list[bytes](), task.url("")
        handle.setopt(pycurl.WRITEFUNCTION, parts.append)

        def fetch(path: str) -> bytes:
            parts.clear()
            handle.setopt(pycurl.URL, origin + path)
            handle.perform()
            return b"".join(parts)

        fetch(f"{PATH}warm-up")
        libraries.check_curl_http2(handle)
        return fetch

    return report([own() for _ in range(task.in_flight)], task.count)


REPORTS = {"turbosock get": turbosock_get, "pycurl, own connections": pycurl_perform, "httpx2": httpx2_get}
