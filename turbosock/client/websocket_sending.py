"""WebSocketSending: messages to the peer, by any number of threads, each message whole.

A message of up to 125 bytes is an object with its header, one call of the writer and one system call. A longer one is
written into a ring that is lent for that; what a piece cannot hold is masked and sent piece by piece, in one frame: a
long message is never in memory twice.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.client.websocket_base import WebSocketBase
from turbosock.errors import InvalidOption, NetworkError, TlsError, TurbosockError, WebSocketClosed, WriteTimeout
from turbosock.protocol.websocket.frame import BINARY, FIN, MAX_CONTROL_BYTES, MAX_HEADER_BYTES, TEXT
from turbosock.protocol.websocket.state import OPEN

if TYPE_CHECKING:
    from turbosock.protocol.websocket.writer import Payload

_get_ident = threading.get_ident

_WHOLE_TEXT: Final = FIN | TEXT
_WHOLE_BINARY: Final = FIN | BINARY
_PIECE_BYTES: Final = limits.WEBSOCKET_PIECE_BYTES
# What a receive ring holds beside a header.
_SHORT_BYTES: Final = limits.RECEIVE_RING_BYTES - MAX_HEADER_BYTES


class WebSocketSending(WebSocketBase):
    """See the module."""

    __slots__ = ()

    # One function, because a short message's whole cost is a few of these microseconds.
    def send(self, data: bytes | bytearray | memoryview | str, timeout: float | None = None) -> None:
        """Send one message: a text for a str, a binary one for bytes or any other buffer.

        Args:
            data: not looked at any more when this returns.
            timeout: seconds for all of it; None: `Timeouts.total_s`. In any case the peer has to take something each
                `Timeouts.write_s`.

        Raises:
            WebSocketClosed: it has ended, or is being closed.
            WriteTimeout: the time is over; a message that was begun ends the WebSocket.
            InvalidOption: it is no message.
            ClientClosed: its client was closed.
        """
        payload: Payload
        first = _WHOLE_BINARY
        if type(data) is bytes:
            payload = data
        elif type(data) is str:
            payload = _encoded(data)
            first = _WHOLE_TEXT
        else:
            payload, first = _checked(data)
        sending = self._sending
        me = _get_ident()
        if sending:
            self._check_reentry(sending, me, "send()")
        try:
            if sending.setdefault(0, me) != me:
                self._await_turn(sending, me, self._end_ns(timeout, self._send_ns), _no_turn)
            if self._state.state != OPEN or self._mute:
                raise self._ended()
            if self._compresses or timeout is not None or self._unsent is not None or len(payload) > _SHORT_BYTES:
                self._send_long(first, payload, self._end_ns(timeout, self._send_ns))
            elif len(payload) <= MAX_CONTROL_BYTES and type(payload) is bytes:
                frame = self._writer.small(first, payload)
                if self._duplex.send(frame, self._send_ns) != len(frame):
                    raise self._cut()
            else:
                rings = self._client.rings
                try:
                    ring = rings.take()
                except IndexError:
                    ring = rings.rent()
                if ring.origin is not self._origin:
                    ring.belongs_to(self._origin)
                memory = ring.root
                end = self._writer.write(memory, 0, first, payload, ring)
                if self._duplex.send(memory[:end], self._send_ns) != end:
                    raise self._cut()
                # After an error it is not given back: an engine may still read from it.
                rings.keep(ring)
            self._sent += 1.0
        except TurbosockError as error:
            raise self._send_failed(error) from error.__cause__
        except BaseException:
            self._tear()
            raise
        finally:
            try:
                if sending[0] == me:
                    del sending[0]
            except KeyError:
                # It was never taken.
                pass
            if self._parked_sending or self._over or self._endpoint.due:
                self._left_sending()

    def _send_long(self, first: int, payload: Payload, end_ns: int) -> None:
        """Send a message that takes more than one step; in one's turn."""
        duplex = self._duplex
        if self._unsent is not None and not self._send_unsent(end_ns):
            raise _no_turn()
        writer = self._writer
        if self._compresses:
            payload = writer.encode(first & 0x0F, payload)
            first = writer.first
        n = len(payload)
        rings = self._client.rings if n <= _SHORT_BYTES else self._client.long_rings
        ring = rings.rent()
        if ring.origin is not self._origin:
            ring.belongs_to(self._origin)
        memory = ring.root
        if n + MAX_HEADER_BYTES <= _PIECE_BYTES:
            end = writer.write(memory, 0, first, payload, ring)
            if duplex.send(memory[:end], max(1, end_ns - self._client.now_ns())) != end:
                raise self._cut()
        else:
            view = memoryview(payload)
            at = writer.begin(memory, 0, first, n)
            done = 0
            while done < n:
                step = min(_PIECE_BYTES - at, n - done)
                end = writer.fill(memory, at, view[done : done + step])
                if duplex.send(memory[:end], max(1, end_ns - self._client.now_ns())) != end:
                    raise self._cut()
                done += step
                at = 0
        rings.keep(ring)

    def _cut(self) -> WriteTimeout:
        """The error of a message that the peer did not take in time, which ends the WebSocket."""
        self._tear()
        return WriteTimeout(
            "the peer did not take a message in time, and the WebSocket was ended in the middle of it; raise write_s, "
            "total_s or timeout, or send less"
        )

    def _send_failed(self, error: TurbosockError) -> TurbosockError:
        """What a send raises that met `error`."""
        if isinstance(error, (NetworkError, TlsError)) and not isinstance(error, WebSocketClosed):
            # What the peer said before it went may still be received.
            self._mute = True
            endpoint = self._endpoint
            if endpoint.cause is None:
                endpoint.cause = error
            failure = self._ended()
            failure.__cause__ = error
            return failure
        return error


def _no_turn() -> WriteTimeout:
    return WriteTimeout("what was being sent before took all of the time; nothing of this message was sent: try again")


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidOption("data: holds half of a surrogate pair, which UTF-8 cannot say; remove it") from None


def _checked(data: object) -> tuple[Payload, int]:
    """A payload other than bytes and str, and the first byte of its frame."""
    if isinstance(data, str):
        return _encoded(data), _WHOLE_TEXT
    try:
        view = memoryview(data)  # type: ignore[arg-type]  # the except clause answers for it
        return view if view.format == "B" and view.ndim == 1 and view.c_contiguous else view.cast("B"), _WHOLE_BINARY
    except TypeError:
        raise InvalidOption(
            f"data: a {type(data).__name__} was given; give bytes, a contiguous buffer of them, or a str"
        ) from None
