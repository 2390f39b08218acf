"""WebSocketScript: the mock's side of a WebSocket: steps one after the other, or a function that replies.

Invariant: a message that no step expects ends the WebSocket with 1011, and is the script's fault; so is a step that was
not taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from turbosock.errors import InvalidOption
from turbosock.testing.answer import Closes, Expects, Reply, Sends, Step, Waits

if TYPE_CHECKING:
    from turbosock.connection.websocket_connection import WebSocketConnection
    from turbosock.testing.virtual_clock import VirtualClock

_UNEXPECTED: Final = 1011


class WebSocketScript:
    """What each WebSocket of one route goes through.

    Args:
        steps: Sends, Expects, Waits and Closes; or one function, which is given each message and returns its reply,
            or None.

    Raises:
        InvalidOption: it is neither.
    """

    def __init__(self, steps: Sequence[Step | Reply]) -> None:
        self._reply: Reply | None = None
        self._steps: list[Step] = []
        for step in steps:
            if isinstance(step, (Sends, Expects, Waits, Closes)):
                self._steps.append(step)
            elif callable(step) and len(steps) == 1:
                self._reply = step
            else:
                raise InvalidOption(f"steps: {step!r} is none; give Sends, Expects, Waits and Closes, or one function")

    def begin(self, connection: WebSocketConnection, clock: VirtualClock, turn: Callable[[], object]) -> RunningScript:
        """The script of a WebSocket that was just opened.

        Args:
            connection: the mock's side of it.
            clock: tells the time of its waits.
            turn: called when something was sent outside the turns of the server.
        """
        return RunningScript(deque(self._steps), self._reply, connection, clock, turn)


class RunningScript:
    """How far one WebSocket has come.

    Attributes:
        received: the messages that came.
    """

    def __init__(
        self,
        steps: deque[Step],
        reply: Reply | None,
        connection: WebSocketConnection,
        clock: VirtualClock,
        turn: Callable[[], object],
    ) -> None:
        self._steps = steps
        self._reply = reply
        self._connection = connection
        self._clock = clock
        self._turn = turn
        self._waits = False
        self._fault = ""
        self.received: list[bytes | str] = []

    @property
    def fault(self) -> str:
        """What went otherwise than it is written, or ""."""
        if self._steps and not self._fault:
            return f"it has not come to {self._steps[0]!r}"
        return self._fault

    def go_on(self) -> None:
        """Take the steps that can be taken."""
        steps = self._steps
        while steps and not self._waits:
            step = steps[0]
            if isinstance(step, Expects):
                return
            steps.popleft()
            if isinstance(step, Sends):
                self._connection.send(step.data)
            elif isinstance(step, Waits):
                self._waits = True
                self._clock.after(step.seconds, self._waited)
            else:
                self._connection.close(step.code, step.reason)
                return

    def _waited(self) -> None:
        self._waits = False
        self.go_on()
        self._turn()

    def on_message(self, message: bytes | str) -> None:
        """A message came."""
        self.received.append(message)
        if self._reply is not None:
            reply = self._reply(message)
            if reply is not None:
                self._connection.send(reply)
            return
        step = self._steps[0] if self._steps else None
        if isinstance(step, Expects) and step.data == message:
            self._steps.popleft()
            self.go_on()
            return
        expected = f"where {step.data!r} is expected" if isinstance(step, Expects) else "where none is expected"
        self._fail(f"{message!r} came {expected}")

    def _fail(self, words: str) -> None:
        self._fault = words
        self._steps.clear()
        self._connection.close(_UNEXPECTED, "unexpected message")
