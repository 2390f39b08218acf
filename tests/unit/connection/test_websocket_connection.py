"""WebSockets of a Loop, at the server: what comes, what goes, and how they end."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from support.loop_peer import MODE_NAMES, MODES
from support.websocket import cuts, frame
from support.websocket_loop import WebSocketStage, frames
from turbosock import DeadlineError, EventKind, InvalidOption, Send, StateError, WebSocketClosed
from turbosock.errors import Origin
from turbosock.limits import MAX_UNANSWERED_PINGS
from turbosock.protocol.websocket.deflate import DeflateOptions

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


class Taker:
    """Takes all the memory there is."""

    ring_bytes: float = 0
    untaken = 0
    held = False

    def on_room(self) -> None:
        """It is never held."""


def close_frame(code: int, reason: str = "") -> bytes:
    return frame(8, code.to_bytes(2, "big") + reason.encode())


@pytest.mark.parametrize(("poller", "zero_alloc"), MODES, ids=MODE_NAMES)
def test_messages_of_every_size_and_kind_come_and_go_as_they_are(tmp_path: Path, poller: str, zero_alloc: bool) -> None:
    sizes = (0, 1, 125, 126, 400, 500, 5000, 70_000, 300_000)
    with WebSocketStage(tmp_path / "s", config={"poller": poller, "zero_alloc": zero_alloc}) as stage:
        client, connection = stage.client()
        for size in sizes:
            binary = bytes(i & 255 for i in range(size))
            text = "aé" * (size // 3)
            got: list[bytes | str] = []
            data = frame(2, binary) + frame(1, text.encode())
            while data:
                sent = client.fill(data)
                data = data[sent:]
                got += stage.messages(2)
            got += stage.messages()
            assert got == [binary, text]
            for message, first in ((binary, BINARY), (text, TEXT), (bytearray(binary), BINARY)):
                assert connection.send(message) is Send.OK
                data = b""
                while len(data) < len(message):
                    stage.turn(1)
                    data += client.take()
                stage.turn()
                data += client.take()
                assert frames(data) == [(first, message.encode() if isinstance(message, str) else bytes(message))]
        assert stage.loop.stats().messages.lent_bytes == 0


def test_stream_that_comes_in_any_pieces_gives_the_same_messages(tmp_path: Path) -> None:
    stream = (
        frame(1, b"text \xc3\xa9")
        + frame(9, b"ping")
        + frame(2, b"a" * 130)
        + frame(2, b"one ", fin=False)
        + frame(9, b"")
        + frame(0, b"two ", fin=False)
        + frame(0, b"three")
    )
    for number, pieces in enumerate(cuts(stream)):
        with WebSocketStage(tmp_path / f"s{number}") as stage:
            client, _ = stage.client()
            got: list[bytes | str] = []
            pongs = []
            for piece in pieces:
                client.send(piece)
                got += stage.messages(1)
                stage.loop.flush()
                pongs += frames(client.take())
            assert got == ["text é", b"a" * 130, b"one two three"]
            assert pongs[-1] == (PONG, b"") and all(first == PONG for first, _ in pongs)


def test_small_message_is_owned_and_a_larger_one_is_lent(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, _ = stage.client()
        client.send(frame(2, b"small") + frame(2, b"large" * 200) + frame(1, b"text"))
        stage.loop.poll()
        kinds = [type(event.data) for event in stage.loop.events]

        assert kinds == [bytes, memoryview, str]


def test_message_that_is_retained_outlives_its_event(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, _ = stage.client()
        client.send(frame(2, b"large" * 2000))
        stage.loop.poll()
        (event,) = stage.loop.events
        kept = event.retain()  # type: ignore[attr-defined]  # of a connection
        client.send(frame(2, b"other" * 2000))
        stage.turn()

        assert bytes(kept.data) == b"large" * 2000
        kept.release()


def test_long_text_in_pieces_does_not_disturb_what_comes_behind_it(tmp_path: Path) -> None:
    text = "ü" * 50_000
    stream = frame(1, text.encode(), fin=False) + frame(0, b"!") + frame(2, b"behind" * 100)
    with WebSocketStage(tmp_path / "s") as stage:
        client, _ = stage.client()
        got: list[bytes | str] = []
        while stream:
            stream = stream[client.fill(stream) :]
            got += stage.messages(1)
        got += stage.messages()

        assert got == [text + "!", b"behind" * 100]
        assert stage.loop.stats().messages.lent_bytes == 0


# Control frames


def test_ping_is_answered_with_its_payload(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, _ = stage.client()
        client.send(frame(9, b"are you there?"))

        assert stage.sent(client) == [(PONG, b"are you there?")]


def test_pings_that_come_together_are_answered_in_order(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, _ = stage.client()
        client.send(b"".join(frame(9, b"%d" % i) for i in range(20)))

        assert stage.sent(client) == [(PONG, b"%d" % i) for i in range(20)]


def test_ping_flood_of_one_that_does_not_read_costs_no_memory_and_ends_with_1008(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", max_unsent=4 * 1024 * 1024) as stage:
        client, connection = stage.client()
        # What the socket has no room for.
        while connection.unsent < 100_000:
            connection.send(bytes(100_000))
            stage.turn(1)
        before = connection.unsent
        most = 0
        for _ in range(2 * MAX_UNANSWERED_PINGS // 50):
            client.fill(b"".join(frame(9, b"x" * 100) for _ in range(50)))
            stage.turn(1)
            most = max(most, connection.unsent)

        assert most <= before + 400
        assert not connection.open and connection.failed


def test_ping_of_ours_is_measured(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, connection = stage.client()
        connection.ping()
        ((first, payload),) = stage.sent(client)
        assert first == PING and connection.latency_s is None
        stage.clock.advance(ns=25_000_000)
        client.send(frame(10, payload))
        stage.turn()

        assert connection.latency_s == pytest.approx(0.025)


def test_peer_is_asked_for_a_sign_of_life_and_given_up_without_one(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", ping_interval_s=20.0, ping_timeout_s=5.0) as stage:
        client, connection = stage.client()
        stage.clock.advance(ns=20_000_000_001)
        assert [first for first, _ in stage.sent(client)] == [PING]
        stage.clock.advance(ns=4_900_000_000)
        assert stage.turn() == []
        stage.clock.advance(ns=200_000_000)

        assert stage.turn() == [(EventKind.CLOSED, 1006, "")]
        (error,) = stage.errors
        assert isinstance(error, WebSocketClosed) and isinstance(error.__cause__, DeadlineError)
        assert stage.listener.stats().timeouts == 1
        assert connection.close_code == 1006


def test_peer_that_answers_is_asked_again_and_again(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", ping_interval_s=20.0, ping_timeout_s=5.0, idle_timeout_s=30.0) as stage:
        client, connection = stage.client()
        for _ in range(5):
            stage.clock.advance(ns=20_000_000_001)
            ((first, payload),) = stage.sent(client)
            assert first == PING
            client.send(frame(10, payload))
            assert stage.turn() == []

        assert connection.open and connection.latency_s == 0.0


def test_peer_that_sends_something_else_than_its_pong_is_not_given_up(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", ping_interval_s=20.0, ping_timeout_s=5.0) as stage:
        client, connection = stage.client()
        stage.clock.advance(ns=20_000_000_001)
        stage.turn()
        client.send(frame(2, b"still sending", fin=False))
        stage.turn()
        stage.clock.advance(ns=5_100_000_000)

        assert stage.turn() == [] and connection.open


@pytest.mark.parametrize("size", [0, 5])
def test_pong_in_two_pieces_is_no_message_that_takes_too_long(tmp_path: Path, size: int) -> None:
    pong = frame(10, b"x" * size)
    with WebSocketStage(tmp_path / "s", message_timeout_s=30, idle_timeout_s=None) as stage:
        client, _ = stage.client()
        client.send(pong[:1])
        stage.turn()
        for _ in range(4):
            stage.clock.advance(ns=20_000_000_000)
            # The end of one and the beginning of the next.
            client.send(pong[1:] + pong[:1])
            stage.turn()
        client.send(pong[1:])
        stage.turn()
        stage.clock.advance(ns=40_000_000_000)
        assert stage.turn() == []
        # A message has its time all the same, whatever comes between its pieces.
        client.send(frame(2, b"abc", fin=False))
        stage.turn()
        stage.clock.advance(ns=20_000_000_000)
        client.send(pong)
        assert stage.turn() == []
        stage.clock.advance(ns=10_100_000_000)
        assert [each[0] for each in stage.turn()] == [EventKind.CLOSED]


def test_paused_connection_is_not_given_up_for_a_pong_that_nobody_reads(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", ping_interval_s=20.0, ping_timeout_s=5.0, idle_timeout_s=None) as stage:
        client, connection = stage.client()
        connection.pause()
        stage.clock.advance(ns=20_000_000_001)
        ((_, payload),) = stage.sent(client)
        client.send(frame(10, payload))
        for _ in range(4):
            stage.clock.advance(ns=5_100_000_000)
            assert stage.turn() == []
        connection.resume()
        stage.turn()

        assert connection.open and connection.latency_s is not None


# The end


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_close_of_the_peer_is_answered_with_its_code(tmp_path: Path, code: int) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, connection = stage.client()
        connection.send(b"before")
        client.send(close_frame(code, "so long"))
        sent = stage.sent(client)
        client.close()

        assert sent == [(BINARY, b"before"), (CLOSE, code.to_bytes(2, "big"))]
        stage.turn()
        assert stage.seen == [(EventKind.CLOSED, code, "so long")]
        assert stage.errors == [None]
        assert connection.send(b"after") is Send.CLOSED


def test_close_without_a_code_is_answered_without_one(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, _ = stage.client()
        client.send(frame(8))

        assert stage.sent(client) == [(CLOSE, b"")]
        client.close()
        assert stage.turn() == [(EventKind.CLOSED, 1005, "")]


def test_our_close_follows_what_waits_and_ends_with_the_answer(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, connection = stage.client()
        connection.send("last")
        connection.close(4000, "game over")
        assert connection.send(b"more") is Send.CLOSED
        assert stage.sent(client) == [(TEXT, b"last"), (CLOSE, (4000).to_bytes(2, "big") + b"game over")]
        client.send(frame(2, b"under way") + frame(9, b"?") + close_frame(4000))
        stage.turn()
        assert client.at_end()
        client.close()
        stage.turn()

        assert stage.seen == [(EventKind.CLOSED, 4000, "")]
        assert stage.errors == [None]


@pytest.mark.parametrize("again", [False, True])
def test_close_of_a_paused_connection_reads_the_answer(tmp_path: Path, again: bool) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, connection = stage.client()
        connection.pause()
        client.send(frame(2, b"unread" * 1000))
        stage.turn()
        connection.close()
        if again:
            connection.pause()
        stage.turn()
        client.send(close_frame(1000))
        stage.turn()
        client.close()
        stage.turn()

        assert stage.seen == [(EventKind.CLOSED, 1000, "")]


def test_peer_that_never_closes_is_given_up(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", close_timeout_s=3.0) as stage:
        client, connection = stage.client()
        connection.close()
        for _ in range(4):
            stage.clock.advance(ns=700_000_000)
            client.send(frame(2, b"not yet"))
            assert stage.turn() == []
        stage.clock.advance(ns=700_000_000)

        assert stage.turn() == [(EventKind.CLOSED, 1006, "")]
        (error,) = stage.errors
        assert isinstance(error, WebSocketClosed) and error.origin is Origin.LOCAL and "did not answer" in str(error)
        assert stage.listener.stats().timeouts == stage.loop.stats().messages.timeouts == 1


def test_second_close_and_one_after_the_end_do_nothing(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, connection = stage.client()
        connection.close(1001)
        connection.close(1000)
        assert stage.sent(client) == [(CLOSE, (1001).to_bytes(2, "big"))]
        connection.abort()
        connection.close()
        stage.turn()

        assert [each[0] for each in stage.seen] == [EventKind.CLOSED]


@pytest.mark.parametrize(("code", "reason"), [(999, ""), (1005, "why"), (1006, ""), (5000, ""), (1000, "x" * 124)])
def test_close_with_what_cannot_be_said_is_refused(tmp_path: Path, code: int, reason: str) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        _, connection = stage.client()

        with pytest.raises(InvalidOption):
            connection.close(code, reason)
        assert connection.open


def test_end_without_a_word_is_1006_and_says_so(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, _ = stage.client()
        client.send(frame(2, b"half", fin=False))
        stage.turn()
        client.close()

        assert stage.turn() == [(EventKind.CLOSED, 1006, "")]
        (error,) = stage.errors
        assert isinstance(error, WebSocketClosed) and error.origin is Origin.REMOTE


def test_abort_ends_at_once_without_a_close(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, connection = stage.client()
        connection.send(b"never sent")
        connection.abort()

        assert stage.turn() == [(EventKind.CLOSED, 1006, "")]
        assert client.take() == b"" and client.at_end()


def test_half_open_peer_that_takes_nothing_is_given_up(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", write_timeout_s=5.0) as stage:
        _, connection = stage.client()
        while connection.send(bytes(200_000)) is Send.OK:
            stage.turn(1)
        stage.clock.advance(ns=5_100_000_000)

        assert stage.turn()[-1] == (EventKind.CLOSED, 1006, "")
        assert stage.listener.stats().timeouts == 1


BAD = {
    "a frame that is not masked": (frame(2, b"x", key=None), 1002),
    "a reserved bit": (frame(2, b"x", rsv=4), 1002),
    "a reserved opcode": (frame(3, b"x"), 1002),
    "a reserved control opcode": (frame(11, b"x"), 1002),
    "a fragment of a control frame": (frame(9, b"x", fin=False), 1002),
    "a long control frame": (frame(9, b"x" * 126), 1002),
    "a continuation of nothing": (frame(0, b"x"), 1002),
    "a message inside a message": (frame(2, b"x", fin=False) + frame(2, b"y"), 1002),
    "half a close code": (frame(8, b"x"), 1002),
    "a close code that must not travel": (close_frame(1006), 1002),
    "a close reason that is no text": (frame(8, b"\x03\xe8\xff"), 1007),
    "text that is not UTF-8": (frame(1, b"\xff"), 1007),
    "half a character": (frame(1, b"\xc3", fin=False) + frame(0, b""), 1007),
    "long text that is not UTF-8": (frame(1, b"a" * 5000 + b"\xff" * 2), 1007),
    "a message that is too large": (frame(2, b"x" * 10_001), 1009),
    "a message that announces too much": (frame(2, b"")[:1] + b"\xff" + (2**62).to_bytes(8, "big") + b"keys", 1009),
    "pieces that are too large together": (frame(2, b"x" * 6000, fin=False) + frame(0, b"x" * 6000), 1009),
    "a length in too many bytes": (b"\x82\xfe\x00\x05keys12345", 1002),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_frame_is_answered_with_its_code_and_one_closed_event(tmp_path: Path, what: str) -> None:
    data, code = BAD[what]
    with WebSocketStage(tmp_path / "s", max_message=10_000) as stage:
        client, connection = stage.client()
        client.send(frame(2, b"before") + data + frame(2, b"after"))
        sent = stage.sent(client)
        assert client.at_end()
        client.close()
        stage.turn()

        ((first, payload),) = sent
        assert first == CLOSE and int.from_bytes(payload[:2], "big") == code
        message, closed = stage.seen
        assert message == (EventKind.MESSAGE, b"before")
        assert closed == (EventKind.CLOSED, code, payload[2:].decode())
        (error,) = stage.errors
        assert isinstance(error, WebSocketClosed)
        assert error.close_code == code and error.origin in (Origin.PROTOCOL, Origin.LIMIT)
        assert stage.listener.stats().failed == stage.loop.stats().messages.failed == 1
        assert connection.send(b"x") is Send.CLOSED


# Sending


def test_snapshot_replaces_one_that_has_not_left(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, connection = stage.client()
        for tick in range(5):
            connection.send(b"state %d" % tick, key="state")
            connection.send(f"long {tick}" * 100, key="long")
        connection.send("chat")

        assert stage.sent(client) == [(BINARY, b"state 4"), (TEXT, b"long 4" * 100), (TEXT, b"chat")]
        assert connection.replaced == 8


def test_full_connection_says_so_and_tells_of_room(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", max_unsent=50_000) as stage:
        client, connection = stage.client()
        while connection.send("x" * 10_000) is Send.OK:
            stage.turn(1)
        # The refused text leaves no trace in what is sent next.
        for _ in range(100):
            client.take()
            stage.turn(1)

        assert (EventKind.WRITABLE,) in stage.seen
        assert connection.send(b"x" * 10_000) is Send.OK
        assert stage.sent(client)[-1][0] == BINARY


def test_message_that_is_too_long_to_send_is_refused(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", max_message=100) as stage:
        client, connection = stage.client()
        with pytest.raises(InvalidOption, match="max_message"):
            connection.send("é" * 51)
        assert connection.send(b"fine") is Send.OK

        assert stage.sent(client) == [(BINARY, b"fine")]


@pytest.mark.parametrize("data", [1, None, object(), "\ud800"])
def test_what_is_no_message_is_refused(tmp_path: Path, data: object) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        _, connection = stage.client()

        with pytest.raises(InvalidOption, match="data"):
            connection.send(data)  # type: ignore[arg-type]  # the point


@pytest.mark.parametrize("size", [0, 5, 200, 70_000])
@pytest.mark.parametrize("text", [False, True])
def test_message_built_in_place_is_sent_as_it_is(tmp_path: Path, size: int, text: bool) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, connection = stage.client()
        view = connection.reserve(size + 10)
        assert view is not None
        view[:size] = b"v" * size
        view.release()
        assert connection.commit(size, text=text) is Send.OK

        assert stage.sent(client) == [(TEXT if text else BINARY, b"v" * size)]


@pytest.mark.parametrize("ended", [False, True])
def test_text_that_could_not_be_committed_makes_no_text_of_what_others_send(tmp_path: Path, ended: bool) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        _, first = stage.client()
        client, second = stage.client()
        if ended:
            first.reserve(5)
            first.abort()
            assert first.commit(text=True) is Send.CLOSED
        else:
            with pytest.raises(StateError, match="reserve"):
                first.commit(text=True)
        second.send(b"\xff")

        assert stage.sent(client) == [(BINARY, b"\xff")]


def test_key_that_cannot_be_one_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, connection = stage.client()
        bad: object = []
        for data in ("short", "long " * 1000, bytearray(1000)):
            with pytest.raises(InvalidOption, match="key: a list"):
                connection.send(data, key=bad)
        with pytest.raises(InvalidOption, match="key: a list"):
            stage.loop.broadcast([connection], "to all", key=bad)
        assert connection.unsent == 0 and stage.loop.stats().messages.outgoing_bytes == 0
        view = connection.reserve(5)
        assert view is not None
        view[:] = b"built"
        view.release()
        with pytest.raises(InvalidOption, match="key: a list"):
            connection.commit(key=bad)
        assert connection.commit(key="good") is Send.OK
        connection.send(bytearray(1000))

        assert stage.sent(client) == [(BINARY, b"built"), (BINARY, bytes(1000))]


# Quotas


def test_flooder_whose_messages_nobody_takes_is_held_and_goes_on_when_they_are(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", quota=300_000, max_message=60_000) as stage:
        client, connection = stage.client()
        data = frame(2, b"flood" * 10_000) * 40
        for _ in range(60):
            data = data[client.fill(data) :]
            stage.loop.poll()
        assert connection.held and data
        got = 0
        for _ in range(100):
            got += len(stage.messages(1))
            data = data[client.fill(data) :]
        assert got == 40
        stats = stage.loop.stats().messages
        assert stats.quota_hits and stats.lent_bytes == 0


def test_full_pool_leaves_connections_unread_and_resumes(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", config={"diagnostics": False}) as stage:
        first, _ = stage.client()
        second, _ = stage.client()
        rings = stage.loop.messages.rings
        taker = Taker()
        taken = []
        for size in (1 << 20, 1):
            while (ring := rings.rent(size, taker, None)) is not None:
                taken.append(ring)
        for client in (first, second):
            client.send(frame(2, b"waits"))
        assert stage.messages() == []
        assert stage.loop.stats().messages.starving == 2
        for ring in taken:
            ring.let_go()

        assert stage.messages() == [b"waits", b"waits"]
        assert stage.loop.stats().messages.pool_hits


# Compression


def deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflated(stream: zlib._Decompress, payload: bytes) -> bytes:
    return stream.decompress(payload + b"\x00\x00\xff\xff")


def test_compressed_messages_come_and_go(tmp_path: Path) -> None:
    message = b"again and again " * 100
    with WebSocketStage(tmp_path / "s", deflate=DeflateOptions()) as stage:
        client, connection = stage.client(DEFLATE)
        client.send(frame(2, deflated(message), rsv=4) + frame(1, deflated(b"text"), rsv=4))
        assert stage.messages() == [message, "text"]
        connection.send(message)
        connection.send(message.decode())
        connection.send(b"small")
        sent = stage.sent(client)

        stream = zlib.decompressobj(wbits=-15)
        assert [first for first, _ in sent] == [BINARY | 0x40, TEXT | 0x40, BINARY]
        assert [inflated(stream, payload) for _, payload in sent[:2]] == [message, message]
        assert len(sent[0][1]) < 100 and len(sent[1][1]) < len(sent[0][1])


def test_what_may_be_replaced_is_not_compressed_where_others_would_refer_to_it(tmp_path: Path) -> None:
    message = b"again and again " * 100
    with WebSocketStage(tmp_path / "s", deflate=DeflateOptions()) as stage:
        client, connection = stage.client(DEFLATE)
        connection.send(message, key="k")
        connection.send(message + b"!", key="k")
        connection.send(message)
        sent = stage.sent(client)

        assert [first for first, _ in sent] == [BINARY, BINARY | 0x40]
        assert sent[0][1] == message + b"!"
        assert inflated(zlib.decompressobj(wbits=-15), sent[1][1]) == message


def test_what_may_be_replaced_is_compressed_without_takeover(tmp_path: Path) -> None:
    message = b"again and again " * 100
    with WebSocketStage(tmp_path / "s", deflate=DeflateOptions(server_no_context_takeover=True)) as stage:
        client, connection = stage.client(DEFLATE)
        connection.send(message, key="k")
        connection.send(message + b"!", key="k")
        ((first, payload),) = stage.sent(client)

        assert first == BINARY | 0x40
        assert inflated(zlib.decompressobj(wbits=-15), payload) == message + b"!"


def test_bomb_is_stopped_at_max_message(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", deflate=DeflateOptions(), max_message=100_000) as stage:
        client, _ = stage.client(DEFLATE)
        client.send(frame(2, deflated(bytes(50_000_000)), rsv=4))
        sent = stage.sent(client)

        assert [int.from_bytes(payload[:2], "big") for _, payload in sent] == [1009]
