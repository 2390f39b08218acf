"""The life of a connection's exchanges as tables, one for each side: may it carry another (RFC 9112 §9)?

One exchange at a time: a server that is sent several requests in a row (pipelining) takes the next when it is IDLE.
A connection is reusable in IDLE alone, and comes back there only when the request was sent whole, the response was
taken whole, and neither side said that this exchange is the last. Bytes that nobody asked for end it.

Two things differ from a bare table: `end_after_this()` remembers that the exchange is the last, which turns the next
IDLE into MUST_CLOSE, and an event that a state does not allow raises: ProtocolError where the peer caused the event,
StateError where we did. Either way the state stays as it was.
"""

from __future__ import annotations

from typing import ClassVar, Final

from turbosock.errors import ProtocolError, StateError

# States of either side.
IDLE: Final = 0
MUST_CLOSE: Final = 1
UPGRADED: Final = 2
CLOSED: Final = 3
# Client: the request is being sent; it was sent; the final head came after that; the final head came before that.
SENDING: Final = 4
WAITING: Final = 5
RECEIVING: Final = 6
ANSWERED_EARLY: Final = 7
# Server: the request's body is coming; the request is whole; the response began before that, after that; the response
# was sent before the request's body ended.
REQUEST_COMING: Final = 8
REQUEST_TAKEN: Final = 9
ANSWERING_EARLY: Final = 10
ANSWERING: Final = 11
DRAINING: Final = 12

STATE_NAMES: Final = (
    "IDLE",
    "MUST_CLOSE",
    "UPGRADED",
    "CLOSED",
    "SENDING",
    "WAITING",
    "RECEIVING",
    "ANSWERED_EARLY",
    "REQUEST_COMING",
    "REQUEST_TAKEN",
    "ANSWERING_EARLY",
    "ANSWERING",
    "DRAINING",
    "BROKEN",
)

# Events of either side: the request began, ended; an interim head; the final head; the response ended; the protocol
# changed (101, or 2xx to CONNECT); bytes that no exchange expects; the peer closed its half; we closed.
REQUEST_STARTED: Final = 0
REQUEST_DONE: Final = 1
INTERIM_HEAD: Final = 2
FINAL_HEAD: Final = 3
RESPONSE_DONE: Final = 4
SWITCHED: Final = 5
LEFTOVER: Final = 6
PEER_CLOSED: Final = 7
CLOSE: Final = 8

EVENT_NAMES: Final = (
    "REQUEST_STARTED",
    "REQUEST_DONE",
    "INTERIM_HEAD",
    "FINAL_HEAD",
    "RESPONSE_DONE",
    "SWITCHED",
    "LEFTOVER",
    "PEER_CLOSED",
    "CLOSE",
)

CLIENT_TABLE: Final[dict[tuple[int, int], int]] = {
    (IDLE, REQUEST_STARTED): SENDING,
    (IDLE, LEFTOVER): MUST_CLOSE,
    (IDLE, PEER_CLOSED): CLOSED,
    (IDLE, CLOSE): CLOSED,
    (SENDING, REQUEST_DONE): WAITING,
    (SENDING, INTERIM_HEAD): SENDING,
    (SENDING, FINAL_HEAD): ANSWERED_EARLY,
    (SENDING, PEER_CLOSED): CLOSED,
    (SENDING, CLOSE): CLOSED,
    (WAITING, INTERIM_HEAD): WAITING,
    (WAITING, FINAL_HEAD): RECEIVING,
    (WAITING, SWITCHED): UPGRADED,
    (WAITING, PEER_CLOSED): CLOSED,
    (WAITING, CLOSE): CLOSED,
    (RECEIVING, RESPONSE_DONE): IDLE,
    (RECEIVING, PEER_CLOSED): CLOSED,
    (RECEIVING, CLOSE): CLOSED,
    # The server answered without having read the request. Whatever it does with the rest, the two sides may now
    # disagree on where the next request begins (Go's CVE-2024-24791), so that this connection has no next request.
    (ANSWERED_EARLY, REQUEST_DONE): ANSWERED_EARLY,
    (ANSWERED_EARLY, RESPONSE_DONE): MUST_CLOSE,
    (ANSWERED_EARLY, PEER_CLOSED): CLOSED,
    (ANSWERED_EARLY, CLOSE): CLOSED,
    (MUST_CLOSE, REQUEST_DONE): MUST_CLOSE,
    (MUST_CLOSE, LEFTOVER): MUST_CLOSE,
    (MUST_CLOSE, PEER_CLOSED): CLOSED,
    (MUST_CLOSE, CLOSE): CLOSED,
    (UPGRADED, PEER_CLOSED): CLOSED,
    (UPGRADED, CLOSE): CLOSED,
    (CLOSED, PEER_CLOSED): CLOSED,
    (CLOSED, CLOSE): CLOSED,
}

SERVER_TABLE: Final[dict[tuple[int, int], int]] = {
    (IDLE, REQUEST_STARTED): REQUEST_COMING,
    (IDLE, PEER_CLOSED): CLOSED,
    (IDLE, CLOSE): CLOSED,
    (REQUEST_COMING, REQUEST_DONE): REQUEST_TAKEN,
    (REQUEST_COMING, INTERIM_HEAD): REQUEST_COMING,
    (REQUEST_COMING, FINAL_HEAD): ANSWERING_EARLY,
    (REQUEST_COMING, PEER_CLOSED): CLOSED,
    (REQUEST_COMING, CLOSE): CLOSED,
    (REQUEST_TAKEN, INTERIM_HEAD): REQUEST_TAKEN,
    (REQUEST_TAKEN, FINAL_HEAD): ANSWERING,
    (REQUEST_TAKEN, SWITCHED): UPGRADED,
    # A client may close its sending half after its request and still read the answer.
    (REQUEST_TAKEN, PEER_CLOSED): REQUEST_TAKEN,
    (REQUEST_TAKEN, CLOSE): CLOSED,
    (ANSWERING_EARLY, REQUEST_DONE): ANSWERING,
    (ANSWERING_EARLY, RESPONSE_DONE): DRAINING,
    (ANSWERING_EARLY, PEER_CLOSED): CLOSED,
    (ANSWERING_EARLY, CLOSE): CLOSED,
    (ANSWERING, RESPONSE_DONE): IDLE,
    (ANSWERING, PEER_CLOSED): ANSWERING,
    (ANSWERING, CLOSE): CLOSED,
    (DRAINING, REQUEST_DONE): IDLE,
    (DRAINING, PEER_CLOSED): CLOSED,
    (DRAINING, CLOSE): CLOSED,
    (MUST_CLOSE, PEER_CLOSED): CLOSED,
    (MUST_CLOSE, CLOSE): CLOSED,
    (UPGRADED, PEER_CLOSED): CLOSED,
    (UPGRADED, CLOSE): CLOSED,
    (CLOSED, PEER_CLOSED): CLOSED,
    (CLOSED, CLOSE): CLOSED,
}

# Not in the tables: where `column()` leads from a state that does not allow its event. There is no way out.
BROKEN: Final = 13

SERVER_PEER_EVENTS: Final = frozenset((REQUEST_STARTED, LEFTOVER, PEER_CLOSED))


def column(table: dict[tuple[int, int], int], event: int) -> tuple[int, ...]:
    """The next state for `event` by present state, so that a hot path takes its step with one index and no call.

    A state that does not allow the event leads to BROKEN, which is never IDLE again: the connection is not reused.
    """
    return tuple(table.get((state, event), BROKEN) for state in range(len(STATE_NAMES)))


class ExchangeState:
    """The state of one connection; a side is a subclass with its table.

    Attributes:
        state: one of the constants above.
        last: whether the present exchange is the connection's last.
    """

    __slots__ = ("last", "state")

    table: ClassVar[dict[tuple[int, int], int]]
    peer_events: ClassVar[frozenset[int]]

    def __init__(self) -> None:
        self.state: int = IDLE
        self.last = False

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another exchange now."""
        return self.state == IDLE and not self.last

    def end_after_this(self) -> None:
        """Remember that the connection carries no further exchange: a head of either side did not keep it alive."""
        self.last = True
        if self.state == IDLE:
            self.state = MUST_CLOSE

    def on(self, event: int) -> int:
        """Take one event and return the new state.

        Raises:
            ProtocolError: the peer caused an event that the state does not allow.
            StateError: we did.
        """
        state = self.table.get((self.state, event))
        if state is None:
            return self._refuse(event)
        if event == PEER_CLOSED:
            self.last = True
        if state == IDLE and self.last:
            state = MUST_CLOSE
        self.state = state
        return state

    def _refuse(self, event: int) -> int:
        what = f"{EVENT_NAMES[event]} while the connection is {STATE_NAMES[self.state]}"
        if event in self.peer_events:
            raise ProtocolError(f"the peer sent a message out of turn: {what}", code="out_of_turn")
        raise StateError(f"an HTTP/1 exchange was driven out of order: {what}")


class ServerExchangeState(ExchangeState):
    """The server's side: requests are the peer's, responses ours."""

    __slots__ = ()

    table = SERVER_TABLE
    peer_events = SERVER_PEER_EVENTS
