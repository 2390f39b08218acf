"""caller_line() names the line that called into the package."""

from __future__ import annotations

import os

from turbosock.buffers import caller
from turbosock.buffers.objects import ObjectPool


def test_caller_line_names_the_file_and_line_of_its_caller() -> None:
    place = caller.caller_line()
    line = test_caller_line_names_the_file_and_line_of_its_caller.__code__.co_firstlineno + 1
    assert place == f"{__file__}:{line}"
    assert os.path.basename(__file__) == "test_caller.py"


def test_caller_line_passes_over_the_package_itself() -> None:
    places: list[str] = []
    pool = ObjectPool(lambda: places.append(caller.caller_line()), lambda _: None)
    # The function that makes is this file's, so the nearest outside frame is its line.
    pool.rent()
    line = test_caller_line_passes_over_the_package_itself.__code__.co_firstlineno + 2
    assert places == [f"{__file__}:{line}"]
