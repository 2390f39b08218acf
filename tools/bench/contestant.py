"""The child side: run one contestant and print one line of JSON.

Run by run.py as `python contestant.py TASK`, TASK being the JSON of a `Task`. The line holds "missing" with a module's
name when the contestant's library is not there, and otherwise what was measured.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import sys
import time

from task import Run, Task


def measure_time(task: Task, run: Run) -> dict[str, float]:
    """Requests, seconds and processor seconds of one run of about `task.seconds`, after a warm-up."""
    count, seconds = 1, 0.0
    # The warm-up doubles until it takes a tenth of the time, and so tells how many requests fill the time.
    while task.count == 0 and seconds < task.seconds / 10:
        start = time.perf_counter()
        timed = run(count)
        if timed is not None:
            break
        seconds = time.perf_counter() - start
        if seconds < task.seconds / 10:
            count *= 2
    if task.count:
        count = task.count
    elif seconds:
        count = max(1, int(count * task.seconds / seconds))
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    timed = run(count)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    if timed is not None:
        count, seconds = timed.count, timed.seconds
    return {
        "count": count,
        "seconds": seconds,
        "user_s": after.ru_utime - before.ru_utime,
        "system_s": after.ru_stime - before.ru_stime,
    }


def counted(task: Task, run: Run) -> dict[str, object]:
    """What is counted of a run."""
    # Only here: it is turbosock's, and who is timed against it has no part of it in the process.
    import work

    warm_up = max(work.WARM_UP, 2 * task.in_flight)
    if task.measure == "allocations":
        return work.allocations(run, task.count, warm_up)
    if task.measure == "places":
        return work.places(run, task.count, warm_up)
    return work.growth(run, task.count)


def main() -> None:
    """Run the task of the command line."""
    task = Task(**json.loads(sys.argv[1]))
    if task.core >= 0:
        os.sched_setaffinity(0, {task.core})
    module = importlib.import_module(f"workloads.{task.workload}")
    try:
        if task.measure == "report":
            print(json.dumps(module.REPORTS[task.contestant](task)))
            return
        run = module.CONTESTANTS[task.contestant](task)
    except ImportError as error:
        print(json.dumps({"missing": error.name or str(error)}))
        return
    if task.measure == "time":
        answer: dict[str, object] = {**measure_time(task, run)}
    elif task.measure == "calls":
        run(task.count)
        answer = {}
    else:
        answer = counted(task, run)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    # What a library does at its end (threads joined, sockets closed) is not measured and may take seconds.
    os._exit(0)
