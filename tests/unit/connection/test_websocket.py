"""What a side of a WebSocket owes its peer, step by step: answers to control frames, the closing handshake, the end."""

from __future__ import annotations

import pytest

from support.websocket import frame, masked
from turbosock.buffers import BufferPool, RingBuffer
from turbosock.connection.websocket import DUE_BYTES, WebSocketEndpoint
from turbosock.errors import InvalidOption, Origin, ReadError, WebSocketClosed
from turbosock.protocol.websocket import outcomes
from turbosock.protocol.websocket.close import NO_STATUS
from turbosock.protocol.websocket.deflate import DeflateAgreement, DeflateOptions
from turbosock.protocol.websocket.frame import BINARY, CLOSE, COMPRESSED, FIN, PING, PONG, TEXT
from turbosock.protocol.websocket.handshake import Agreement
from turbosock.protocol.websocket.mask_keys import MaskKeys

KEY = b"\x01\x02\x03\x04"
PLAIN = Agreement(None, None)


class Side:
    """An endpoint, driven as an owner does: what the peer's bytes bring, and what is then sent."""

    def __init__(self, is_client: bool = True, agreement: Agreement = PLAIN, **options: int) -> None:
        keys = MaskKeys(lambda n: KEY[::-1] * (n // 4)) if is_client else None
        self.key = None if is_client else KEY
        self.endpoint = WebSocketEndpoint(is_client, agreement, keys, DeflateOptions(), **options)
        self.ring = RingBuffer(1024)
        self.memory = memoryview(bytearray(DUE_BYTES))
        self.buffers = BufferPool()
        self.now_ns = 1_000_000
        self.messages: list[bytes] = []

    def peer(self, opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
        """A frame of the peer's."""
        return frame(opcode, payload, fin=fin, key=self.key, rsv=rsv)

    def receive(self, data: bytes) -> bool:
        """Take what came; whether anything may follow."""
        receiver = self.endpoint.receiver
        while True:
            room = receiver.room(self.ring)
            n = min(len(room), len(data))
            room[:n] = data[:n]
            data = data[n:]
            self.ring.advance(n)
            while (code := receiver.next(self.ring)) != outcomes.NEED_BYTES:
                if code == outcomes.MESSAGE:
                    self.messages.append(receiver.tobytes())
                elif code == outcomes.NEED_MEMORY:
                    self.endpoint.lend(self.buffers)
                elif code != outcomes.AGAIN and not self.endpoint.take(code, self.now_ns):
                    return False
            if not data:
                return True

    def sent(self) -> list[tuple[int, bytes]]:
        """The frames that are due, which then have left."""
        assert self.endpoint.due
        end = self.endpoint.write_due(self.memory, 0, self.now_ns)
        self.endpoint.due_left()
        assert not self.endpoint.due
        wire = bytes(self.memory[:end])
        frames = []
        while wire:
            n = wire[1] & 0x7F
            start = 2
            if self.key is None:
                assert wire[1] & 0x80, "a client masks"
                assert wire[2:6] == KEY
                start = 6
            payload = wire[start : start + n]
            frames.append((wire[0] & 0x0F, masked(payload, KEY) if self.key is None else payload))
            wire = wire[start + n :]
        return frames

    def error(self) -> WebSocketClosed:
        return self.endpoint.closed_error()


SIDES = pytest.mark.parametrize("is_client", [True, False], ids=["client", "server"])


@SIDES
def test_ping_makes_a_pong_with_its_payload_due(is_client: bool) -> None:
    side = Side(is_client)
    assert side.receive(side.peer(PING, b"are you there?"))
    assert side.sent() == [(PONG, b"are you there?")]


def test_pings_that_come_together_are_answered_by_one_pong_for_the_last() -> None:
    side = Side()
    assert side.receive(b"".join(side.peer(PING, b"%d" % n) for n in range(1000)))
    assert side.sent() == [(PONG, b"999")]


def test_pings_are_counted_anew_once_their_pong_has_left() -> None:
    side = Side()
    for _ in range(3):
        assert side.receive(side.peer(PING) * 900)
        assert side.sent() == [(PONG, b"")]


def test_pings_whose_pong_cannot_leave_fail_the_connection() -> None:
    side = Side()
    assert not side.receive(side.peer(PING) * 1001)
    assert side.sent()[-1][1][:2] == (1008).to_bytes(2, "big")
    assert side.error().origin is Origin.LIMIT


@SIDES
def test_pong_measures_the_ping_that_it_answers(is_client: bool) -> None:
    side = Side(is_client)
    ping = side.endpoint.ping()
    assert side.endpoint.ping() is ping, "one at a time"
    assert side.sent() == [(PING, ping.payload)]
    side.now_ns += 250
    assert side.receive(side.peer(PONG, b"another") + side.peer(PONG))
    assert ping.latency_ns == -1
    assert side.receive(side.peer(PONG, ping.payload))
    assert ping.latency_ns == side.endpoint.latency_ns == 250
    assert side.endpoint.pinged is None
    assert side.endpoint.ping().payload != ping.payload


def test_pong_that_comes_before_its_ping_left_measures_nothing() -> None:
    side = Side()
    ping = side.endpoint.ping()
    assert side.receive(side.peer(PONG, ping.payload))
    assert ping.latency_ns == -1


@SIDES
@pytest.mark.parametrize(
    ("payload", "code"), [(b"", NO_STATUS), (b"\x03\xe8", 1000), (b"\x0f\xa0bye", 4000)], ids=["bare", "1000", "4000"]
)
def test_close_of_the_peer_is_answered_with_its_code(is_client: bool, payload: bytes, code: int) -> None:
    side = Side(is_client)
    assert not side.receive(side.peer(CLOSE, payload) + b"whatever")
    assert side.endpoint.done and not side.endpoint.may_send
    assert side.sent() == [(CLOSE, payload[:2])]
    error = side.error()
    assert (error.close_code, error.close_reason, error.clean) == (code, payload[2:].decode(), True)
    assert error.origin is Origin.REMOTE
    assert str(code) in str(error)


def test_pong_leaves_before_the_close_that_came_behind_its_ping() -> None:
    side = Side()
    assert not side.receive(side.peer(PING, b"x") + side.peer(CLOSE, b"\x03\xe8"))
    assert side.sent() == [(PONG, b"x"), (CLOSE, b"\x03\xe8")]


def test_close_of_ours_waits_for_the_peers_and_lets_messages_come() -> None:
    side = Side()
    assert side.endpoint.close(4001, "enough")
    assert side.sent() == [(CLOSE, b"\x0f\xa1enough")]
    assert not side.endpoint.may_send and not side.endpoint.done
    assert side.error().close_code == 4001
    assert side.receive(side.peer(BINARY, b"late") + side.peer(PING, b"late"))
    assert side.messages == [b"late"]
    assert not side.endpoint.due, "nothing is said behind a Close"
    assert not side.endpoint.close(), "once"
    assert not side.receive(side.peer(CLOSE, b"\x0f\xa1"))
    assert side.endpoint.done and not side.endpoint.due
    error = side.error()
    assert (error.close_code, error.clean, error.origin) == (4001, True, Origin.LOCAL)


@pytest.mark.parametrize(
    ("code", "reason"), [(1005, "why"), (1006, ""), (999, ""), (1000, "x" * 124), ("1000", ""), (1000, b"")]
)
def test_close_with_what_cannot_be_said_is_refused_and_changes_nothing(code: int, reason: str) -> None:
    side = Side()
    with pytest.raises(InvalidOption, match=r"code|reason"):
        side.endpoint.close(code, reason)
    assert side.endpoint.may_send and not side.endpoint.due


@SIDES
@pytest.mark.parametrize(
    ("opcode", "payload", "rsv", "code", "origin"),
    [
        (3, b"", 0, 1002, Origin.PROTOCOL),
        (BINARY, b"", 4, 1002, Origin.PROTOCOL),
        (0, b"", 0, 1002, Origin.PROTOCOL),
        (CLOSE, b"\x03", 0, 1002, Origin.PROTOCOL),
        (CLOSE, b"\x03\xed", 0, 1002, Origin.PROTOCOL),
        (CLOSE, b"\x03\xe8\xff", 0, 1007, Origin.PROTOCOL),
        (TEXT, b"\xff", 0, 1007, Origin.PROTOCOL),
        (BINARY, bytes(101), 0, 1009, Origin.LIMIT),
    ],
    ids=["opcode", "reserved bit", "stray", "half a code", "code", "reason", "text", "too big"],
)
def test_broken_rule_makes_the_close_due_that_says_so(
    is_client: bool, opcode: int, payload: bytes, rsv: int, code: int, origin: Origin
) -> None:
    side = Side(is_client, max_message=100)
    assert not side.receive(side.peer(opcode, payload, rsv=rsv))
    [(sent, said)] = side.sent()
    assert (sent, int.from_bytes(said[:2], "big")) == (CLOSE, code)
    error = side.error()
    assert error.close_code == code and error.origin is origin and not error.clean
    assert error.close_reason == said[2:].decode() != ""
    assert side.endpoint.done
    side.endpoint.lost()
    assert side.error().close_code == code, "its own end changes nothing"


def test_failure_after_our_close_sends_no_second_one() -> None:
    side = Side()
    side.endpoint.close()
    side.sent()
    assert not side.receive(side.peer(3))
    assert not side.endpoint.due and side.endpoint.done
    assert side.error().origin is Origin.PROTOCOL


def test_failure_of_ours_names_whose_it_is() -> None:
    side = Side()
    side.endpoint.fail(1011, "no pong came", Origin.TIMEOUT)
    assert side.sent() == [(CLOSE, b"\x03\xf3no pong came")]
    assert side.error().origin is Origin.TIMEOUT
    side.endpoint.fail(1002, "more")
    assert side.error().close_reason == "no pong came"


def test_reason_of_a_failure_is_cut_to_what_a_close_holds() -> None:
    side = Side()
    side.endpoint.fail(1002, "é" * 100)
    [(_, said)] = side.sent()
    assert said[2:].decode() == "é" * 61


def test_end_of_the_transport_without_a_close_is_told_with_its_cause() -> None:
    side = Side()
    cause = ReadError("reading failed: the peer reset the connection")
    side.endpoint.ping()
    side.endpoint.lost(cause)
    side.endpoint.lost(None)
    error = side.error()
    assert (error.close_code, error.clean, error.origin) == (1006, False, Origin.REMOTE)
    assert side.endpoint.cause is cause and "reset" in str(error)
    assert not side.endpoint.due
    quiet = Side()
    quiet.endpoint.lost()
    assert "without a word" in str(quiet.error())


def test_end_of_the_transport_after_our_close_says_that_nobody_answered() -> None:
    side = Side()
    side.endpoint.close()
    side.endpoint.lost()
    assert side.error().close_code == 1006 and "did not answer" in str(side.error())


def test_transport_that_we_end_is_our_doing() -> None:
    side = Side()
    side.endpoint.dropped()
    side.endpoint.dropped()
    assert side.error().origin is Origin.LOCAL and side.error().close_code == 1006


def test_long_message_is_put_together_in_memory_of_the_pool() -> None:
    side = Side()
    long = bytes(range(256)) * 400
    assert side.receive(side.peer(BINARY, long) + side.peer(BINARY, long[:2000]))
    assert side.messages == [long, long[:2000]]
    assert side.buffers.stats().outstanding == 1
    side.endpoint.release()
    side.endpoint.release()
    assert side.buffers.stats().outstanding == 0


def test_compression_that_was_agreed_is_used_both_ways() -> None:
    agreement = Agreement("chat", DeflateAgreement(False, False, 12, 12))
    client, server = Side(True, agreement), Side(False, agreement)
    assert client.endpoint.subprotocol == "chat"
    text = b"to be compressed " * 20
    for sender, receiver in ((client, server), (server, client)):
        writer = sender.endpoint.writer
        payload = writer.encode(TEXT, text)
        assert writer.first == FIN | COMPRESSED | TEXT and len(payload) < 100
        end = writer.write(sender.memory, 0, writer.first, payload)
        assert receiver.receive(bytes(sender.memory[:end]))
        assert receiver.messages == [text]


def test_deflate_options_without_an_agreement_compress_nothing() -> None:
    side = Side()
    side.endpoint.writer.encode(TEXT, b"x" * 1000)
    assert side.endpoint.writer.first == FIN | TEXT
    assert not side.receive(side.peer(TEXT, b"", rsv=4))


def test_due_frames_at_their_longest_fit_due_bytes() -> None:
    side = Side()
    side.receive(side.peer(PING, bytes(125)))
    side.endpoint.ping()
    side.memory = memoryview(bytearray(DUE_BYTES))
    assert side.endpoint.write_due(side.memory, 0, 1) == 131 + 14
    side.receive(side.peer(PING, bytes(125)))
    side.endpoint.fail(1002, "x" * 200)
    assert side.endpoint.write_due(side.memory, 0, 1) == 131 + 131
