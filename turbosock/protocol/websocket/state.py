"""The life of a WebSocket connection as a table: who has said Close, and what may still be said (RFC 6455 §5.5.1, §7).

A closing handshake is two Close frames. Who sends the first waits for the other; who receives it answers with its own.
After both the server ends the transport, and the client waits for that, for a while. A connection that *fails*, by the
peer's fault or by ours, sends its one Close and waits for nothing.

An event that a state does not allow raises, ProtocolError where the peer caused it and StateError where we did, and the
state stays as it was.
"""

from __future__ import annotations

from typing import Final

from turbosock.errors import ProtocolError, StateError
from turbosock.protocol.websocket.close import ABNORMAL, NO_STATUS

# States: messages go both ways; our Close was sent; the peer's has come; both, or the connection failed: nothing is
# read or said any more, and the transport is to be ended; the transport is ended.
OPEN: Final = 0
CLOSE_SENT: Final = 1
CLOSE_RECEIVED: Final = 2
FINISHED: Final = 3
CLOSED: Final = 4

STATE_NAMES: Final = ("OPEN", "CLOSE_SENT", "CLOSE_RECEIVED", "FINISHED", "CLOSED")

# Events. Ours: a frame of a message, a Ping or Pong, a Close. The peer's: the same three. Then: the connection fails;
# the peer ended the transport; we did.
SEND_DATA: Final = 0
SEND_CONTROL: Final = 1
SEND_CLOSE: Final = 2
DATA: Final = 3
CONTROL: Final = 4
CLOSE_FRAME: Final = 5
FAIL: Final = 6
PEER_CLOSED: Final = 7
CLOSE: Final = 8

EVENT_NAMES: Final = (
    "SEND_DATA",
    "SEND_CONTROL",
    "SEND_CLOSE",
    "DATA",
    "CONTROL",
    "CLOSE_FRAME",
    "FAIL",
    "PEER_CLOSED",
    "CLOSE",
)

PEER_EVENTS: Final = frozenset((DATA, CONTROL, CLOSE_FRAME, PEER_CLOSED))

TABLE: Final[dict[tuple[int, int], int]] = {
    (OPEN, SEND_DATA): OPEN,
    (OPEN, SEND_CONTROL): OPEN,
    (OPEN, SEND_CLOSE): CLOSE_SENT,
    (OPEN, DATA): OPEN,
    (OPEN, CONTROL): OPEN,
    (OPEN, CLOSE_FRAME): CLOSE_RECEIVED,
    (OPEN, FAIL): FINISHED,
    (OPEN, PEER_CLOSED): CLOSED,
    (OPEN, CLOSE): CLOSED,
    # What the peer sent before our Close reached it.
    (CLOSE_SENT, DATA): CLOSE_SENT,
    (CLOSE_SENT, CONTROL): CLOSE_SENT,
    (CLOSE_SENT, CLOSE_FRAME): FINISHED,
    (CLOSE_SENT, FAIL): FINISHED,
    (CLOSE_SENT, PEER_CLOSED): CLOSED,
    (CLOSE_SENT, CLOSE): CLOSED,
    # A message whose first frames were sent may be sent to its end before the Close.
    (CLOSE_RECEIVED, SEND_DATA): CLOSE_RECEIVED,
    (CLOSE_RECEIVED, SEND_CLOSE): FINISHED,
    (CLOSE_RECEIVED, FAIL): FINISHED,
    (CLOSE_RECEIVED, PEER_CLOSED): CLOSED,
    (CLOSE_RECEIVED, CLOSE): CLOSED,
    (FINISHED, FAIL): FINISHED,
    (FINISHED, PEER_CLOSED): CLOSED,
    (FINISHED, CLOSE): CLOSED,
    (CLOSED, PEER_CLOSED): CLOSED,
    (CLOSED, CLOSE): CLOSED,
}


class ConnectionState:
    """The state of one connection, and how it ended.

    Attributes:
        state: one of the constants above.
        sent_code: the code of the Close that we sent, NO_STATUS for one without, or 0.
        received_code: the code of the peer's Close, NO_STATUS for one without, or 0.
        received_reason: the reason in it.
        failed: whether the connection failed.
        failure: why, or "".
    """

    __slots__ = ("failed", "failure", "received_code", "received_reason", "sent_code", "state")

    def __init__(self) -> None:
        self.state: int = OPEN
        self.sent_code = 0
        self.received_code = 0
        self.received_reason = ""
        self.failed = False
        self.failure = ""

    def __repr__(self) -> str:
        return f"<ConnectionState {STATE_NAMES[self.state]} sent={self.sent_code} received={self.received_code}>"

    @property
    def clean(self) -> bool:
        """Whether both have said Close, and nothing failed (RFC 6455 §7.1.4)."""
        return self.sent_code > 0 and self.received_code > 0 and not self.failed

    @property
    def close_code(self) -> int:
        """The code of the connection's end (RFC 6455 §7.1.5): the peer's; else ours if it failed; else ABNORMAL."""
        if self.received_code:
            return self.received_code
        return self.sent_code if self.failed and self.sent_code else ABNORMAL

    @property
    def close_reason(self) -> str:
        """The peer's reason, or why the connection failed, or ""."""
        return self.received_reason if self.received_code else self.failure

    def on(self, event: int) -> int:
        """Take one event and return the new state.

        Raises:
            ProtocolError: the peer caused an event that the state does not allow.
            StateError: we did.
        """
        state = TABLE.get((self.state, event))
        if state is None:
            return self._refuse(event)
        self.state = state
        return state

    def send_close(self, code: int = NO_STATUS) -> int:
        """Take that our Close with this code is being sent; see `on`."""
        state = self.on(SEND_CLOSE)
        self.sent_code = code
        return state

    def receive_close(self, code: int, reason: str) -> int:
        """Take the peer's Close; see `on`."""
        state = self.on(CLOSE_FRAME)
        self.received_code = code
        self.received_reason = reason
        return state

    def fail(self, code: int, reason: str) -> bool:
        """Take that the connection fails; see `on`.

        Returns:
            Whether a Close with this code is to be sent: none was before, and the peer still reads.
        """
        sends = self.state in (OPEN, CLOSE_RECEIVED)
        self.on(FAIL)
        if not self.failed:
            self.failed = True
            self.failure = reason
        if sends:
            self.sent_code = code
        return sends

    def _refuse(self, event: int) -> int:
        what = f"{EVENT_NAMES[event]} while the connection is {STATE_NAMES[self.state]}"
        if event in PEER_EVENTS:
            raise ProtocolError(f"the peer spoke out of turn: {what}", code="out_of_turn")
        raise StateError(f"a WebSocket was driven out of order: {what}")
