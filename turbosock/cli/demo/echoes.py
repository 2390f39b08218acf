"""EchoesLeg: one WebSocket whose messages come back: sent and received one by one in a thread, and in a Loop."""

from __future__ import annotations

import time
from typing import Final

from turbosock import limits
from turbosock.cli.demo.leg import BODY, CONFIG, Figure, Outcome, Stage
from turbosock.client.client import Client
from turbosock.client.events import EventKind
from turbosock.errors import ProtocolError, StatusError
from turbosock.loop import Loop

# What the demo's server is asked for a WebSocket by.
QUERY: Final = "?echoes"
# Messages between two looks at the clock.
LOOK_MESSAGES: Final = 100


class EchoesLeg:
    """Messages there and back per second over one WebSocket, each of them BODY."""

    title = "one WebSocket, echoed"
    timed = True

    def run(self, stage: Stage) -> Outcome:
        """See `Leg`."""
        url = f"ws{stage.url.removeprefix('http')}{QUERY}"
        try:
            figures = (
                Figure("messages there and back", f"{self._blocking(stage, url, stage.seconds / 2):,.0f}/s"),
                Figure("the same in a Loop", f"{self._ticked(url, stage.seconds / 2):,.0f}/s"),
            )
        except StatusError as error:
            raise ProtocolError(f"a WebSocket was expected: {error}") from error
        return Outcome(figures, ("A message is sent when the one before it has come back.",))

    def _blocking(self, stage: Stage, url: str, seconds: float) -> float:
        with Client(CONFIG) as client, client.websocket(url) as ws:
            start_s = time.monotonic()
            count = 0
            while True:
                for _ in range(LOOK_MESSAGES):
                    ws.send(BODY)
                    _check(ws.recv_view(CONFIG.timeouts.read_s))
                count += LOOK_MESSAGES
                elapsed_s = time.monotonic() - start_s
                if stage.line.is_due():
                    stage.line.draw(f"{self.title}: {elapsed_s:.1f} of {2 * seconds:.1f} s, {count:,} messages")
                if elapsed_s >= seconds:
                    return count / elapsed_s

    def _ticked(self, url: str, seconds: float) -> float:
        with Loop(CONFIG) as loop:
            ws = loop.websocket(url)
            start_s = time.monotonic()
            count = 0
            while (elapsed_s := time.monotonic() - start_s) < seconds or not count:
                loop.poll(limits.UPLOAD_LOOK_S)
                for event in loop.events:
                    if event.kind is EventKind.CLOSED:
                        raise event.error or ProtocolError("the WebSocket was closed, which was not expected")
                    if event.kind is EventKind.MESSAGE:
                        _check(event.data)
                        count += 1
                    ws.send(BODY)
                loop.flush()
            return count / elapsed_s


def _check(data: memoryview | bytes | str) -> None:
    if data != BODY:
        raise ProtocolError(f"a message of {len(data)} came back, another one of {len(BODY)} bytes was expected")
