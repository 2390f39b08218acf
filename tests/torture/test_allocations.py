"""Every allocation of the main scenarios fails once: MemoryError, an error of ours, or success all the same.

Each scenario has an interpreter of its own, which must not crash; the next request works, and no place is lost.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.labelled_server import LabelledServer, labelled_server
from support.length import LONG
from support.switches import requires_default

TESTS = Path(__file__).parent.parent
PROGRAM = TESTS / "support" / "allocation_faults.py"
SECONDS = 60.0 if LONG else 8.0
# How many allocations fail one after the other; the last number leaves none for cleaning up either.
IN_A_ROW = (1, 2, 5, 1000) if LONG else (1,)
MODES = [
    pytest.param(
        mode,
        in_a_row,
        id=f"{mode}-{in_a_row}",
        marks=pytest.mark.xfail(
            mode == "loop" and in_a_row == 1000,
            reason="a Loop that has no memory for its own cleaning up may lose a place",
        ),
    )
    for mode in ("stream", "saea", "loop")
    for in_a_row in IN_A_ROW
]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("_testcapi") is None,
    reason="this interpreter was built without _testcapi, whose set_nomemory() makes allocations fail",
)


# Python 3.12 and 3.13 crash, in code that is all their own, some calls after a generator expression for which there was
# no memory. A first request makes such expressions.
INTERPRETER_SURVIVES = sys.version_info < (3, 12)
# Only a stream rents from a pool that notes who does.
looks_at_frames = requires_default(
    "diagnostics", why="where CPython has no memory for the caller's frame it says None, and leaves the error set"
)


@pytest.fixture(scope="module")
def server() -> Iterator[LabelledServer]:
    with labelled_server() as running:
        yield running


@pytest.mark.parametrize("scenario", ["get", pytest.param("stream", marks=looks_at_frames)])
@pytest.mark.parametrize("kept", ["fresh", "kept"])
@pytest.mark.parametrize(("mode", "in_a_row"), MODES)
def test_any_allocation_fails_the_next_request_works(
    server: LabelledServer, mode: str, kept: str, scenario: str, in_a_row: int
) -> None:
    if kept == "fresh" and not INTERPRETER_SURVIVES:
        pytest.skip("this interpreter itself crashes after it had no memory for a generator expression")
    path = os.pathsep.join((str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(
        [sys.executable, str(PROGRAM), mode, scenario, kept, str(server.port), str(in_a_row), str(SECONDS)],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=4 * SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"the interpreter crashed: {done.stderr[-4000:]}"
    assert done.stdout.splitlines()[-1:] == ["nothing"], done.stdout + done.stderr
