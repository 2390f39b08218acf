"""The child side of `run.py --instructions`: `counted.py WORKLOAD...`, under callgrind.

Everything is imported once. Then each workload is run twice, each time in a fork of its own, where it is made anew and
run shortly or at length: what the two forks were counted differs by the operations that the longer one makes more.
Each fork prints a line of JSON: the id of its process, by which callgrind names its count, the workload, operations.

Nothing is left to chance: time moves by the same step whenever it is asked for, so that nothing depends on how slow the
machine is; numpy is not there, whether or not it is installed.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import json
import os
import sys
import time

STEP_NS = 10_000
time.monotonic_ns = itertools.count(1_000_000_000, STEP_NS).__next__
sys.modules["numpy"] = None  # type: ignore[assignment]  # what the import system takes for a missing module


def main() -> int:
    """Run the workloads of the command line; 1 where one of them failed."""
    # Now that the clock is there, which modules take when they are imported.
    hot = importlib.import_module("hot").HOT
    gc.collect()
    # What was imported is no fork's to look through.
    gc.freeze()
    for name in sys.argv[1:]:
        for count in (hot[name].count // 10, hot[name].count):
            pid = os.fork()
            if not pid:
                hot[name].make()(count)
                print(json.dumps([os.getpid(), name, count]), flush=True)
                os._exit(0)
            if os.waitpid(pid, 0)[1]:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
