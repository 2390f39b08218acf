"""Many threads, few connections: each asks again as soon as it was answered; who gets how much?"""

from __future__ import annotations

import threading
import time

import libraries
from task import BODY_BYTES, Task
from workloads.http1_sequential import PATH

CONNECTIONS = 8


def report(task: Task) -> dict[str, object]:
    """Requests of each of `in_flight` threads in `seconds`, and how many connections there were."""
    import turbosock

    pool = turbosock.PoolConfig(max_connections=CONNECTIONS, max_connections_per_origin=CONNECTIONS)
    client, url = libraries.turbosock_client(task, pool=pool), task.url(PATH)
    counts = [0] * task.in_flight
    failures: list[BaseException] = []
    begin, end = threading.Barrier(task.in_flight + 1), threading.Event()

    def work(number: int) -> None:
        try:
            client.get(url)
            begin.wait(30)
            done = 0
            while not end.is_set():
                if len(client.get(url).content) != BODY_BYTES:
                    raise RuntimeError("a wrong body")
                done += 1
            counts[number] = done
        except BaseException as error:
            failures.append(error)
            begin.abort()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(task.in_flight)]
    for thread in threads:
        thread.start()
    try:
        begin.wait(30)
    except threading.BrokenBarrierError:
        end.set()
    start = time.perf_counter()
    end.wait(task.seconds)
    end.set()
    seconds = time.perf_counter() - start
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    connections = client.stats().open
    client.close()
    return {"counts": counts, "seconds": seconds, "connections": connections}


REPORTS = {"turbosock": report}
