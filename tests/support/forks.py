"""Forks: what a child does, and a lock that no thread of the child can release."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest

from support.in_thread import InThread

GUARD_S = 20

NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def in_child(run: Callable[[], object]) -> None:
    """Run in the child of a fork, which has to end well: without an error, and before a signal ends it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(GUARD_S)
            run()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child says why on stderr"


@contextmanager
def held_elsewhere(*locks: AbstractContextManager[object]) -> Iterator[None]:
    """Another thread holds these locks, and only in the parent will it ever release them."""
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)
            held.set()
            release.wait(GUARD_S)

    holder = InThread(hold)
    assert held.wait(GUARD_S)
    try:
        yield
    finally:
        release.set()
        assert holder.outcome() is None
