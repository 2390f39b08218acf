"""Eight threads that share what the library lets them share: one Client, one pool; pycurl has a handle a thread."""

from __future__ import annotations

import threading

from task import Contestant, Run, Task, repeated
from workloads import http1_sequential as sequential


def spread(runs: list[Run]) -> Run:
    """A run that gives every thread one of `runs` and an equal part of the requests."""

    def run(count: int) -> None:
        failed: list[BaseException] = []

        def work(part: Run) -> None:
            try:
                part(-(-count // len(runs)))
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(part,)) for part in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]

    return run


def own(contestant: Contestant) -> Contestant:
    """Each thread has a connection or a handle of its own."""
    return lambda task: spread([contestant(task) for _ in range(task.in_flight)])


def turbosock_get(task: Task) -> Run:
    """All threads on one Client."""
    return spread([sequential.turbosock_get(task)] * task.in_flight)


def urllib3_request(task: Task) -> Run:
    """All threads on one PoolManager that keeps a connection for each."""
    import urllib3

    manager, url = urllib3.PoolManager(maxsize=task.in_flight, block=True), task.url(sequential.PATH)

    def step() -> int:
        return len(manager.request("GET", url).data)

    return spread([repeated(step)] * task.in_flight)


def requests_get(task: Task) -> Run:
    """All threads on one Session that keeps a connection for each."""
    import requests
    import requests.adapters

    session, url = requests.Session(), task.url(sequential.PATH)
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=task.in_flight))

    def step() -> int:
        return len(session.get(url).content)

    return spread([repeated(step)] * task.in_flight)


CONTESTANTS: dict[str, Contestant] = {
    "bare": own(sequential.bare),
    "turbosock get": turbosock_get,
    "pycurl": own(sequential.pycurl_perform),
    "urllib3": urllib3_request,
    "requests": requests_get,
}
