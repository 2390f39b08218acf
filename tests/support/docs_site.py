"""The server that the documentation talks to, and the world that its tick loops step.

`DocsSite` runs the program that docs/how-to/site.md tells its reader to run, in a process of its own, on a free port
and another Unix socket: so a reader who has started it sees what the pages print.

Left to others: reading the other pages and running their snippets (`tests/docs/test_snippets.py`).
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parents[2]
SITE_PAGE = ROOT / "docs" / "how-to" / "site.md"
SOCKET_PATH = "/tmp/app.sock"
ADDRESS = '("127.0.0.1", 8080)'
GUARD_S = 20.0


def site_program() -> str:
    """The program on the page: its first block."""
    found = re.search(r"^```python\n(.*?)^```$", SITE_PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{SITE_PAGE} has no program"
    return found[1]


class DocsSite:
    """Serves the pages' examples for the length of a with block.

    Args:
        directory: an empty one, for the program and its Unix socket.

    Attributes:
        authority: "127.0.0.1:PORT".
        socket_path: where it also listens on a Unix socket.
    """

    def __init__(self, directory: Path) -> None:
        self.authority = ""
        self.socket_path = directory / "app.sock"
        self._program = directory / "site.py"

    def __enter__(self) -> DocsSite:
        code = site_program()
        for shown, actual in ((ADDRESS, '("127.0.0.1", 0)'), (SOCKET_PATH, str(self.socket_path))):
            assert shown in code, f"{SITE_PAGE} does not listen on {shown}"
            code = code.replace(shown, actual)
        self._program.write_text(code)
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, str(self._program)], stdout=subprocess.PIPE, text=True, env=environment
        )
        try:
            self.authority = self._read_authority()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        with self._process:
            self._process.wait(GUARD_S)

    def _read_authority(self) -> str:
        output = self._process.stdout
        assert output is not None, "it was asked for"
        assert select.select([output], [], [], GUARD_S)[0], f"the site says nothing within {GUARD_S} s"
        line = output.readline()
        found = re.fullmatch(r"listening on http://(127\.0\.0\.1:\d+)\n", line)
        assert found is not None, f"the site did not start: {line!r}"
        return found[1]


class World:
    """A simulation that a page's loop steps: `running` until the page clears it, or until its visitor was answered.

    Args:
        visit: asks the page's own listener for something; run in a thread of its own, from the first step on.
    """

    def __init__(self, visit: Callable[[], None] | None) -> None:
        self.running = True
        self.steps = 0
        self._ends_at_s = time.monotonic() + GUARD_S
        self._visited = threading.Event()
        self._failures: list[Exception] = []
        self._visit = visit

    def step(self) -> None:
        """One step of the simulation."""
        self.steps += 1
        assert time.monotonic() < self._ends_at_s, f"the loop still runs after {GUARD_S} s"
        if self._visit is None:
            return
        if self.steps == 1:
            threading.Thread(target=self._run_visit, name="visitor").start()
        if self._visited.is_set():
            self.running = False
            assert not self._failures, self._failures

    def _run_visit(self) -> None:
        assert self._visit is not None, "a thread is started for a visit alone"
        try:
            self._visit()
        except Exception as error:
            self._failures.append(error)
        self._visited.set()
