"""What servers of a crowd (see crowd.py) have in common: the crowd's process, and what their own work has cost."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SPARE_DESCRIPTORS = 200
SCRIPT = Path(__file__).resolve().parent / "crowd.py"
DEADLINE_S = 120.0


def allow_descriptors(count: int) -> None:
    """Let this process and its children have so many, as far as that can be asked for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + SPARE_DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + SPARE_DESCRIPTORS), hard))


def other_core(core: int) -> int:
    """A core that is not this one, if there is one."""
    others = [each for each in os.sched_getaffinity(os.getppid()) if each != core]
    return others[0] if others else core


class CrowdProcess:
    """A crowd, on a core of its own."""

    def __init__(self, core: int, port: int, *words: object) -> None:
        command = [sys.executable, os.fspath(SCRIPT), str(port), *map(str, words)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if core >= 0:
            os.sched_setaffinity(self._process.pid, {other_core(core)})

    def end(self) -> dict[str, int]:
        """What it says of itself, when it has ended."""
        said, _ = self._process.communicate(timeout=DEADLINE_S)
        told: dict[str, int] = json.loads(said.splitlines()[-1])
        return told

    def kill(self) -> None:
        """For who has failed."""
        self._process.kill()
        self._process.communicate()


@dataclass(slots=True)
class Cost:
    """What went by, from a command to the next one.

    Attributes:
        messages: of the crowd, without commands.
        seconds, cpu_s: of the clock, and of this process.
    """

    messages: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0


@dataclass(slots=True)
class Tally:
    """Counts messages by the phases that the crowd goes through.

    Attributes:
        count: messages of the present phase.
        phase: what was begun last.
        phases: by name, those that are over.
        over: whether the crowd has said its last.
    """

    count: int = 0
    phases: dict[str, Cost] = field(default_factory=dict)
    over: bool = False
    phase: str = ""
    _begun: tuple[float, float] = (0.0, 0.0)

    def obey(self, command: bytes) -> None:
        """Take a command."""
        word = bytes(command).decode().strip()
        now = (time.perf_counter(), time.process_time())
        if word == "over":
            self.over = True
        elif word == "end":
            seconds, cpu_s = now[0] - self._begun[0], now[1] - self._begun[1]
            self.phases[self.phase] = Cost(self.count, seconds, cpu_s)
        else:
            self.phase = word
            self.count = 0
            self._begun = now

    def report(self, told: dict[str, int]) -> dict[str, Any]:
        """What was measured, with what the crowd sent."""
        return {
            name: {"messages": cost.messages, "seconds": cost.seconds, "cpu_s": cost.cpu_s, "sent": told[name]}
            for name, cost in self.phases.items()
        }
