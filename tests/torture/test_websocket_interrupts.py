"""KeyboardInterrupt at every place of what a WebSocket does where the interpreter looks for signals.

Wherever it comes: the caller sees it; what is received afterwards is a message that was sent, in order, or an error;
no turn is lost, so that closing does not hang; the socket is closed, and its memory is back.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from random import Random

import pytest

from support.interrupts import Interrupter, guarded
from support.length import short_or_long
from support.scripted_server import ScriptedServer, scripted
from support.seeds import seeds
from support.websocket_server import accept, echo
from turbosock import Client, Config, Timeouts, TransportMode, TurbosockError, WebSocket

# A WebSocket that was interrupted in its making is closed by the collector, which says so.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:a WebSocket to .* was dropped:ResourceWarning"),
]

TIMEOUTS = Timeouts(connect_s=1, read_s=1, write_s=1, pool_s=1, total_s=2)
SAMPLE = short_or_long(25, 10_000)
HANG_S = 5
LONG = bytes(range(256)) * 400


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with scripted((accept(), echo)) as running:
        yield running


class Subject:
    """A WebSocket that is interrupted, and made anew each time."""

    def __init__(self, server: ScriptedServer, mode: TransportMode) -> None:
        self.url = f"ws://{server.host}:{server.port}/"
        self.client = Client(Config(transport=mode, timeouts=TIMEOUTS))
        self.ws: WebSocket | None = None
        self.number = 0
        self.unanswered: list[bytes] = []

    def prepare(self, opened: bool) -> None:
        self.ws = self.client.websocket(self.url) if opened else None
        self.unanswered = []

    def message(self, size: int = 0) -> bytes:
        self.number += 1
        message = b"%d" % self.number + LONG[:size]
        self.unanswered.append(message)
        return message

    def open(self) -> None:
        self.ws = self.client.websocket(self.url)

    def exchange(self) -> None:
        assert self.ws is not None
        self.ws.send(self.message())
        self.took(self.ws.recv(timeout=1))

    def exchange_long(self) -> None:
        assert self.ws is not None
        self.ws.send(self.message(100_000))
        view = self.ws.recv_view(timeout=1)
        self.took(bytes(view))

    def ping(self) -> None:
        assert self.ws is not None
        self.ws.send(self.message())
        self.ws.ping(timeout=1)
        self.took(self.ws.recv(timeout=1))

    def close(self) -> None:
        assert self.ws is not None
        self.ws.close(timeout=1)

    def took(self, message: bytes | str) -> None:
        # A receive that was interrupted may have had one.
        assert message in self.unanswered, "a message that nobody sent"
        del self.unanswered[: self.unanswered.index(message) + 1]

    def check(self) -> None:
        """After an interrupt: what is left works or says that it does not; then all is given back."""
        ws = self.ws
        if ws is not None:
            with contextlib.suppress(TurbosockError):
                self.exchange()
                self.exchange()
            ws.close(timeout=1)
            assert ws.closed and ws._duplex.transport.fd < 0, "the socket is open"
            assert not ws._receiving and not ws._sending, "a turn is lost"
        self.ws = None
        del ws
        gc.collect()
        stats = self.client.stats()
        assert stats.open == stats.idle, f"a place is lost: {stats}"


def interrupt(subject: Subject, scenario: Callable[[], None], opened: bool, seed: int) -> int:
    """Interrupt the scenario at places drawn from all those it has; how many that were."""
    interrupter = Interrupter()
    subject.prepare(opened)
    interrupter.run(scenario, 0)
    subject.check()
    places = range(1, interrupter.count + 1)
    failures: dict[str, list[str]] = {}
    for target in sorted(Random(seed).sample(places, min(SAMPLE, len(places)))):
        subject.prepare(opened)
        what = interrupter.failure(scenario, target, HANG_S)
        try:
            with guarded(HANG_S):
                subject.check()
        except Exception as error:
            what = f"{what or ''} and afterwards {type(error).__name__}: {error}"
        if what is not None:
            failures.setdefault(what, []).append(f"{interrupter.where} ({target})")
    assert not failures, "\n".join(f"{what}: {', '.join(where)}" for what, where in failures.items())
    return len(places)


@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("mode", TransportMode)
@pytest.mark.parametrize("name", ["open", "exchange", "exchange_long", "ping", "close"])
def test_websocket_interrupted_anywhere_hangs_nobody_and_mixes_nothing(
    server: ScriptedServer, name: str, mode: TransportMode, seed: int
) -> None:
    subject = Subject(server, mode)
    with subject.client:
        assert interrupt(subject, getattr(subject, name), name != "open", seed) > 20
