"""NestedSession: TLS whose records go through another carrier, a TLS session with a proxy mostly: TLS inside TLS.

The engine reads from and writes to memory; here its records are moved between that memory and the carrier. It is mixed
into each engine's own session, whose steps it surrounds with this moving.

Invariants: one record of the peer is fetched at a time and not a byte beyond it, so that nothing waits in the engine's
memory that `pending()` and `hides()` do not tell of, and `unwrap()` leaves what follows in the carrier; a send returns
a count only when the carrier has taken every byte of its records; what the engine has to say by itself (alerts, key
updates) goes out before the next read.
"""

from __future__ import annotations

from typing import Final

from turbosock import limits
from turbosock.errors import ReadError, TurbosockError, WriteError
from turbosock.tls import ktls
from turbosock.tls.carrier import Carrier
from turbosock.tls.failures import CLOSED, handshake_failure
from turbosock.tls.provider import DONE, WANTS_READ, ReadableBuffer, TlsInfo, TlsSession, WritableBuffer, refuse

_HEADER_BYTES: Final = 5
# RFC 5246 §6.2.3: what a record may have beyond its plaintext; RFC 8446 allows less.
_MAX_RECORD_BYTES: Final = _HEADER_BYTES + limits.TLS_RECORD_BYTES + 2048
# RFC 8446 §5.1.
_RECORD_TYPES: Final = frozenset((20, 21, 22, 23))
_NOTHING: Final = memoryview(b"")


class Passage:
    """Where a nested session is with its carrier.

    Attributes:
        carrier: what the records go over.
        out: what of the engine's records is on its way.
        room: the record that is being fetched.
        fetched, due: how much of it is here, and where its known part ends.
        taken: what a send took from its caller, while its records are on their way.
        ended: the carrier has come to its end.
        broken: the carrier takes no more.
        shaken: the engine's handshake is over, and its last bytes may still be on their way.
    """

    __slots__ = ("broken", "carrier", "due", "ended", "fetched", "out", "room", "shaken", "taken")

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.out = _NOTHING
        self.room = memoryview(bytearray(_MAX_RECORD_BYTES))
        self.fetched = 0
        self.due = _HEADER_BYTES
        self.taken = 0
        self.ended = False
        self.broken = False
        self.shaken = False


class NestedSession(TlsSession):
    """The part of a nested session that is the same for both engines."""

    __slots__ = ()

    nested = True

    _passage: Passage

    def _feed_engine(self, records: memoryview) -> None:
        """Put bytes of the peer into the engine's memory."""
        raise AssertionError("each engine has its own memory")

    def _end_engine(self) -> None:
        """Tell the engine that no more bytes will come."""
        raise AssertionError("each engine has its own memory")

    def _drain_engine(self) -> bytes:
        """Take all that the engine has to say; often nothing."""
        raise AssertionError("each engine has its own memory")

    def handshake(self) -> int:
        try:
            return self._shake_hands()
        except (ReadError, WriteError) as error:
            raise handshake_failure(CLOSED, self.host) from error

    def _shake_hands(self) -> int:
        passage = self._passage
        while not passage.shaken:
            try:
                wanted = super().handshake()  # type: ignore[safe-super]  # the engine's session comes next
            except TurbosockError:
                self._try_to_flush()
                raise
            passage.shaken = wanted == DONE
            code = self._flush()
            if code != DONE:
                return code
            if wanted == WANTS_READ:
                code = self._fetch()
                if code < 0:
                    return code
        return self._flush()

    def recv_into(self, view: WritableBuffer, count: int) -> int:
        while True:
            try:
                received = super().recv_into(view, count)  # type: ignore[safe-super]  # as above
            except TurbosockError:
                self._try_to_flush()
                raise
            if received != WANTS_READ:
                return received
            # What the engine answers by itself need not have gone for the next record to be worth a look.
            self._try_to_flush()
            code = self._fetch()
            if code < 0:
                return code

    def send(self, data: ReadableBuffer) -> int:
        passage = self._passage
        if self._write is refuse:
            refuse()
        if not passage.taken:
            code = self._flush()
            if code != DONE:
                return code
            sent = super().send(data)  # type: ignore[safe-super]  # as above
            if sent < 0:
                return sent
            passage.taken = sent
            self._unsent = data if len(data) == sent else memoryview(data)[:sent]
        else:
            self._same_bytes(data)
        code = self._flush()
        if code != DONE:
            return code
        sent = passage.taken
        passage.taken = 0
        self._unsent = None
        return sent

    def hides(self) -> bool:
        carrier = self._passage.carrier
        return carrier.pending() > 0 or carrier.hides()

    def close_notify(self) -> int:
        if self._passage.taken:
            return DONE
        super().close_notify()  # type: ignore[safe-super]  # as above
        code = self._flush()
        return code if code != DONE else self._passage.carrier.close_notify()

    def unwrap(self) -> int:
        while True:
            wanted = super().unwrap()  # type: ignore[safe-super]  # as above
            code = self._flush()
            if code != DONE:
                return code
            if wanted != WANTS_READ:
                return wanted
            code = self._fetch()
            if code < 0:
                return code

    def forget_tickets(self) -> None:
        super().forget_tickets()
        self._passage.carrier.forget_tickets()

    def close(self) -> None:
        # The carrier first: it may still keep its session for another time.
        self._passage.carrier.close()
        super().close()

    def info(self) -> TlsInfo:
        # What the kernel has of this socket is the carrier's.
        return super().info()._replace(ktls=ktls.INACTIVE if self._context.config.ktls else ktls.OFF)

    def _flush(self) -> int:
        """Give the carrier what the engine has said: DONE, or what the carrier waits for."""
        passage = self._passage
        while True:
            if not passage.out:
                passage.out = memoryview(self._drain_engine())
                if not passage.out:
                    return DONE
            try:
                sent = passage.carrier.send(passage.out)
            except TurbosockError:
                passage.broken = True
                self._fail_sending()
                raise
            if sent < 0:
                return sent
            passage.out = passage.out[sent:]

    def _fetch(self) -> int:
        """Give the engine a whole record of the peer, or the end: DONE, or what the carrier waits for."""
        passage = self._passage
        if passage.ended:
            # The engine was told, and asks all the same: it is not to ask for ever.
            return WANTS_READ
        while passage.fetched < passage.due:
            try:
                count = passage.carrier.recv_into(passage.room[passage.fetched :], passage.due - passage.fetched)
            except TurbosockError:
                self._fail()
                raise
            if count < 0:
                return count
            if count == 0:
                passage.ended = True
                self._feed_engine(passage.room[: passage.fetched])
                passage.fetched = 0
                self._end_engine()
                return DONE
            passage.fetched += count
            if passage.fetched == _HEADER_BYTES:
                due = _HEADER_BYTES + int.from_bytes(passage.room[3:5], "big")
                if passage.room[0] in _RECORD_TYPES and due <= _MAX_RECORD_BYTES:
                    passage.due = due
                # Else it begins no record, and the engine says so without waiting for the rest.
        self._feed_engine(passage.room[: passage.due])
        passage.fetched = 0
        passage.due = _HEADER_BYTES
        return DONE

    def _try_to_flush(self) -> None:
        """Send what the engine says by itself, an alert perhaps, if there is room now."""
        if self._passage.broken:
            return
        try:
            self._flush()
        except TurbosockError:
            # The error that led here is the one to tell; or the next read tells of it.
            return
