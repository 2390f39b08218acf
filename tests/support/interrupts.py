"""KeyboardInterrupt at the Nth place in turbosock where the interpreter looks for signals, raised by a trace function.

Those places are: where a function begins, where a loop turns, and when a call has returned, whose result is lost.
What comes then counts as raised by the call. A trace function can only raise at the instruction behind it: where that
one has another handler, as behind a call in a `return` inside a `with`, no signal can do that, and it is left out.
Between other instructions nothing can come: the one that takes the lock of a `with` is followed by its block.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import turbosock

PACKAGE = str(Path(turbosock.__file__).parent)
# Behind these the interpreter looks; and where a JUMP_BACKWARD leads, if it came from there.
LOOKING = ("RESUME", "CALL", "CALL_FUNCTION_EX", "CALL_KW")


@contextlib.contextmanager
def guarded(hang_s: int) -> Iterator[None]:
    """A hang, for so long, on a lock that nobody holds any more for one, is a failure."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(hang_s)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@functools.cache
def signal_points(code: CodeType) -> frozenset[int]:
    """The offsets of the instructions before which a signal may be noticed."""
    points = set()
    behind = -1
    for instruction in dis.get_instructions(code):
        if instruction.opname == "CACHE":
            continue
        if behind >= 0 and _handler(code, behind) == _handler(code, instruction.offset):
            points.add(instruction.offset)
        behind = instruction.offset if instruction.opname in LOOKING else -1
    return frozenset(points)


@functools.cache
def backward_jumps(code: CodeType) -> frozenset[int]:
    """The offsets of the jumps in which a signal may be noticed."""
    return frozenset(
        instruction.offset
        for instruction in dis.get_instructions(code)
        if instruction.opname == "JUMP_BACKWARD"
        and _handler(code, instruction.offset) == _handler(code, instruction.argval)
    )


@functools.cache
def _handlers(code: CodeType) -> tuple[tuple[int, int, int], ...]:
    """(begin, end, handler) of the instructions that something catches for, the inner ones last."""
    table = dis._parse_exception_table(code)  # type: ignore[attr-defined]  # there is no public way to it
    return tuple((entry.start, entry.end, entry.target) for entry in table)


def _handler(code: CodeType, offset: int) -> int:
    """Where an exception at this instruction goes; -1: out of the function."""
    return next((target for begin, end, target in _handlers(code) if begin <= offset < end), -1)


class Interrupter:
    """Counts the places that turbosock's frames come to, and interrupts one of them.

    Attributes:
        where: what was interrupted, or None where the call was over before.
        count: the places so far.
    """

    def __init__(self) -> None:
        self.where: str | None = None
        self.count = 0
        self._target = 0
        # The identity of the frame whose last instruction was a jump that looks.
        self._jumped = 0

    def run(self, call: Callable[[], object], target: int) -> None:
        """Call, and raise KeyboardInterrupt at place number `target`, counted from 1; 0 for none."""
        self.where = None
        self.count = 0
        self._target = target
        self._jumped = 0
        before = sys.gettrace()
        # Python 3.12 traces instructions if any frame had asked for it when tracing began.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(self._trace)
        try:
            call()
        finally:
            sys.settrace(before)

    def failure(self, call: Callable[[], object], target: int, hang_s: int) -> str | None:
        """Call, interrupted at `target`: what is wrong with how it ended; None where the caller saw the interrupt."""
        try:
            with guarded(hang_s):
                self.run(call, target)
        except KeyboardInterrupt:
            return None
        except Exception as error:
            return f"becomes {type(error).__name__}: {error}"
        return "goes nowhere" if self.where is not None else None

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        # What is raised in a finalizer goes nowhere.
        if not code.co_filename.startswith(PACKAGE) or code.co_name == "__del__":
            return None
        # First: CPython 3.13 heeds f_trace_opcodes only where there is an f_trace, which it sets itself when this call
        # returns. A function would be traced by instructions from its second call on.
        frame.f_trace = self._trace_instruction
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._trace_instruction

    def _trace_instruction(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event != "opcode":
            return self._trace_instruction
        code = frame.f_code
        jumped = self._jumped == id(frame)
        self._jumped = id(frame) if frame.f_lasti in backward_jumps(code) else 0
        if jumped or frame.f_lasti in signal_points(code):
            self.count += 1
            if self.count == self._target:
                file = code.co_filename[len(PACKAGE) + 1 :]
                self.where = f"{file}:{frame.f_lineno} in {code.co_name}"
                raise KeyboardInterrupt
        return self._trace_instruction
