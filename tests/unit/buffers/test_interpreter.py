"""The facts about the interpreter that pools rest on."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import deque

from turbosock.buffers import interpreter


def test_reuse_is_safe_on_an_interpreter_with_a_global_lock() -> None:
    probe = getattr(sys, "_is_gil_enabled", None)
    assert (probe is None or probe()) == interpreter.REUSE_IS_SAFE


def test_unshared_reference_count_is_that_of_one_local_and_any_other_holder_adds_one() -> None:
    idle = deque((object(),))
    candidate = idle.popleft()
    assert sys.getrefcount(candidate) == interpreter.UNSHARED_REFERENCES
    held = candidate
    assert sys.getrefcount(candidate) == interpreter.UNSHARED_REFERENCES + 1
    del held


def test_free_threaded_interpreter_reuses_nothing() -> None:
    program = (
        "import sys; sys._is_gil_enabled = lambda: False\n"
        "from turbosock.buffers import BufferPool, ObjectPool\n"
        "buffers = BufferPool(); buffers.rent(10).release(); buffers.rent(10)\n"
        "objects = ObjectPool(object, repr); objects.give_back(objects.rent()); objects.rent()\n"
        "print(buffers.stats().missed, objects.stats().made)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["2", "2"]


def test_attribute_counter_without_a_call_loses_nothing_between_threads() -> None:
    class Counter:
        __slots__ = ("count",)

        def __init__(self) -> None:
            self.count = 0.0

    counter = Counter()
    interval = sys.getswitchinterval()

    def work() -> None:
        for _ in range(20_000):
            counter.count += 1.0

    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert counter.count == 80_000
