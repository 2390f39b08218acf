"""Random and damaged frames, read and written by us and by wsproto, which others wrote.

Valid messages come through in both directions. What is damaged, both read alike as far as they read, and both refuse
or neither does; each exception is named with its reason in `is_left_out`.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from support.seeds import seeds
from support.websocket import Seen, WebSocketReader, frame
from turbosock.protocol.websocket.close import BAD_GATEWAY
from turbosock.protocol.websocket.deflater import Deflater
from turbosock.protocol.websocket.frame import BINARY, CLOSE, CONTINUATION, FIN, MAX_HEADER_BYTES, PING, PONG, TEXT
from turbosock.protocol.websocket.inflater import Inflater
from turbosock.protocol.websocket.inflating_receiver import InflatingReceiver
from turbosock.protocol.websocket.joining_receiver import JoiningReceiver
from turbosock.protocol.websocket.mask_keys import MaskKeys
from turbosock.protocol.websocket.receiver import MessageReceiver
from turbosock.protocol.websocket.writer import MessageWriter

STREAMS_A_SEED = 60
# The oracle knows no bound but that of the header.
LONGEST = (1 << 63) - 1
ALPHABET = "aé日\U0001f600"


class Wsproto:
    """One side of a connection in wsproto, its handshake done."""

    def __init__(self, is_client: bool, deflate: bool = False, takeover: bool = True) -> None:
        self.wsproto: Any = pytest.importorskip("wsproto")
        self.events: Any = pytest.importorskip("wsproto.events")
        extensions: Any = pytest.importorskip("wsproto.extensions")
        kinds = self.wsproto.ConnectionType
        used = []
        if deflate:
            extension = extensions.PerMessageDeflate(
                client_no_context_takeover=not takeover, server_no_context_takeover=not takeover
            )
            extension._enabled = True
            used.append(extension)
        self.connection = self.wsproto.connection.Connection(kinds.CLIENT if is_client else kinds.SERVER, used)
        self.seen: list[Seen] = []
        self._parts: list[Any] = []

    def feed(self, data: bytes) -> None:
        """Read; `seen` says what, in the words of WebSocketReader."""
        events = self.events
        try:
            self.connection.receive_data(data)
            for event in self.connection.events():
                if isinstance(event, (events.TextMessage, events.BytesMessage)):
                    self._parts.append(event.data)
                    if event.message_finished:
                        is_text = isinstance(event, events.TextMessage)
                        whole = "".join(self._parts) if is_text else b"".join(bytes(part) for part in self._parts)
                        self.seen.append(("text" if is_text else "binary", whole))
                        self._parts.clear()
                elif isinstance(event, (events.Ping, events.Pong)):
                    self.seen.append(("ping" if isinstance(event, events.Ping) else "pong", bytes(event.payload)))
                elif isinstance(event, events.CloseConnection):
                    # It tells of a failure as of a Close, and then stays open.
                    failed = self.connection.state is self.wsproto.connection.ConnectionState.OPEN
                    self.seen.append(("failed" if failed else "close", int(event.code), event.reason or ""))
        except self.wsproto.utilities.LocalProtocolError:
            # It has ended, and takes no more.
            pass

    def message(self, payload: str | bytes, finished: bool) -> bytes:
        """The frame of a message or of one of its fragments."""
        kind = self.events.TextMessage if isinstance(payload, str) else self.events.BytesMessage
        sent: bytes = self.connection.send(kind(data=payload, message_finished=finished))
        return sent

    def ping(self, payload: bytes) -> bytes:
        """The frame of a Ping."""
        sent: bytes = self.connection.send(self.events.Ping(payload=payload))
        return sent


def random_payload(chance: random.Random) -> str | bytes:
    size = chance.choice((0, 1, 5, 100, 125, 126, 500, 3000, 70_000))
    return "".join(chance.choices(ALPHABET, k=size // 2)) if chance.random() < 0.5 else chance.randbytes(size)


def ours(is_client: bool, deflate: bool, takeover: bool) -> JoiningReceiver:
    if deflate:
        return InflatingReceiver(is_client, Inflater(takeover=takeover))
    return MessageReceiver(is_client)


@pytest.mark.parametrize("seed", seeds(4))
@pytest.mark.parametrize("is_client", [True, False])
@pytest.mark.parametrize(("deflate", "takeover"), [(False, True), (True, True), (True, False)])
def test_messages_of_the_oracle_are_read(seed: int, is_client: bool, deflate: bool, takeover: bool) -> None:
    chance = random.Random(seed)
    sender = Wsproto(is_client, deflate, takeover)
    reader = WebSocketReader(ours(not is_client, deflate, takeover), capacity=chance.choice((512, 4096, 65536)))
    expected: list[Seen] = []
    for _ in range(STREAMS_A_SEED):
        payload = random_payload(chance)
        parts = chance.choice((1, 1, 2, 4))
        cuts = sorted(chance.randint(0, len(payload)) for _ in range(parts - 1))
        data = b""
        for i, (start, stop) in enumerate(zip([0, *cuts], [*cuts, len(payload)], strict=True)):
            data += sender.message(payload[start:stop], i == parts - 1)
            if chance.random() < 0.3:
                data += sender.ping(b"between")
        if chance.random() < 0.5:
            reader.feed(data)
        else:
            for i in range(0, len(data), 999):
                reader.feed(data[i : i + 999])
        expected.append(("text", payload) if isinstance(payload, str) else ("binary", payload))
    assert [seen for seen in reader.seen if seen[0] != "ping"] == expected


@pytest.mark.parametrize("seed", seeds(4))
@pytest.mark.parametrize("is_client", [True, False])
@pytest.mark.parametrize(("deflate", "takeover"), [(False, True), (True, True), (True, False)])
def test_messages_of_ours_are_read_by_the_oracle(seed: int, is_client: bool, deflate: bool, takeover: bool) -> None:
    chance = random.Random(seed)
    writer = MessageWriter(
        MaskKeys() if is_client else None,
        Deflater(chance.randint(8, 15), takeover, min_bytes=chance.choice((0, 100))) if deflate else None,
    )
    reader = Wsproto(not is_client, deflate, takeover)
    expected: list[Seen] = []
    memory = memoryview(bytearray(400_000))
    for _ in range(STREAMS_A_SEED):
        payload = random_payload(chance)
        data = payload.encode() if isinstance(payload, str) else payload
        opcode = TEXT if isinstance(payload, str) else BINARY
        parts = chance.choice((1, 1, 2, 4))
        cuts = sorted(chance.randint(0, len(data)) for _ in range(parts - 1))
        for i, (start, stop) in enumerate(zip([0, *cuts], [*cuts, len(data)], strict=True)):
            encoded = writer.encode(opcode if i == 0 else CONTINUATION, data[start:stop], i == parts - 1)
            end = writer.write(memory, 0, writer.first, encoded)
            reader.feed(bytes(memory[:end]))
            # A control frame inside a compressed message makes the oracle forget that it is compressed.
            if chance.random() < 0.2 and not (deflate and i < parts - 1):
                end = writer.write(memory, 0, FIN | PONG, b"x" * chance.randint(0, 125))
                reader.feed(bytes(memory[:end]))
        expected.append(("text", payload) if isinstance(payload, str) else ("binary", payload))
    assert [seen for seen in reader.seen if seen[0] != "pong"] == expected


def random_frames(chance: random.Random, key: bytes | None) -> bytes:
    """A stream that is mostly in order."""
    data = b""
    inside = False
    for _ in range(chance.randint(1, 6)):
        if chance.random() < 0.3:
            opcode = chance.choice((PING, PONG, PING, CLOSE))
            data += frame(opcode, b"\x03\xe8" + b"r" * chance.choice((0, 3, 123)), key=key)
            continue
        fin = chance.random() < 0.6
        opcode = CONTINUATION if inside else chance.choice((TEXT, BINARY))
        data += frame(
            opcode, "".join(chance.choices(ALPHABET, k=chance.choice((0, 1, 30, 60)))).encode(), fin=fin, key=key
        )
        inside = not fin
    return data


def plain(seen: list[Seen]) -> list[Seen]:
    """What was seen, a failure without its code and words: which of several faults is named first is taste."""
    return [each[:1] if each[0] == "failed" else each for each in seen]


def is_left_out(ours: list[Seen], oracles: list[Seen], data: bytes, is_client: bool) -> bool:
    """Whether the two cannot be compared."""
    if ours and ours[-1][:2] == ("close", BAD_GATEWAY):
        # Registered later than the oracle's list.
        return True
    if not ours or ours[-1][0] != "failed" or plain(ours)[:-1] != plain(oracles):
        return False
    # We refuse at the first byte that shows a fault; the oracle waits for the rest of a header, which never comes.
    reader = WebSocketReader(MessageReceiver(is_client, max_message=LONGEST))
    fed = 0
    while reader.seen != ours:
        reader.feed(data[fed : fed + 1])
        fed += 1
    return len(data) - fed < MAX_HEADER_BYTES


@pytest.mark.parametrize("seed", seeds(6))
@pytest.mark.parametrize("is_client", [True, False])
def test_damaged_streams_are_read_alike_and_refused_alike(seed: int, is_client: bool) -> None:
    chance = random.Random(seed)
    failed = 0
    for _ in range(10 * STREAMS_A_SEED):
        data = bytearray(random_frames(chance, None if is_client else chance.randbytes(4)))
        for _ in range(chance.randint(0, 2)):
            data[chance.randrange(len(data))] = chance.choice(
                (0, 1, 0x80, 0x81, 0x88, 0xFE, 0xFF, chance.randrange(256))
            )
        oracle = Wsproto(is_client)
        oracle.feed(bytes(data))
        reader = WebSocketReader(MessageReceiver(is_client, max_message=LONGEST), capacity=4096)
        reader.feed(bytes(data))
        if is_left_out(reader.seen, oracle.seen, bytes(data), is_client):
            continue
        failed += reader.seen[-1:] != [] and reader.seen[-1][0] == "failed"
        assert plain(reader.seen) == plain(oracle.seen), bytes(data)
    assert failed > STREAMS_A_SEED
