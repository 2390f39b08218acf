"""Random and damaged messages, read by us and by h11 and httptools, which others wrote.

What we accept, the oracle must read alike: two readers that see different messages in the same bytes are what
smuggling needs. What we refuse, it may accept, but an undamaged message is never refused. Each exception is named
with its reason in `is_left_out`.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from support.http1 import Reader, read
from support.seeds import seeds
from turbosock.protocol.http1.head import RequestHead
from turbosock.protocol.http1.headers import HeaderList
from turbosock.protocol.http1.serialize import chunk_prefix, last_chunk, request_head, response_head

MESSAGES_A_SEED = 300
METHODS = ("GET", "POST", "PUT", "DELETE")
DAMAGE = b'\r\n\t :;,=\x00\x0b\x7f\x80\xff0123456789abcdefxAZ+-_"\\/'

Plain = tuple[object, list[tuple[bytes, bytes]], bytes]


def random_token(chance: random.Random) -> bytes:
    return bytes(chance.choices(b"abcXYZ019-_.!#$%&'*+^`|~", k=chance.randint(1, 12)))


def random_message(chance: random.Random, is_request: bool) -> bytes:
    """A valid message with a random head and a body of random framing."""
    fields = [("Host", "a.test")] if is_request else []
    for _ in range(chance.randint(0, 6)):
        value = bytes(chance.choices(b'abc \t,;="()\\\xe4 09:', k=chance.randint(0, 20))).strip(b" \t")
        fields.append((random_token(chance).decode(), value.decode("latin-1")))
    body = chance.randbytes(chance.randint(0, 40))
    chunked = chance.random() < 0.5
    fields.append(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body))))
    chance.shuffle(fields)
    if is_request:
        head = request_head(chance.choice(METHODS), "/" + "a?b=c"[: chance.randint(0, 5)], HeaderList(fields))
    else:
        head = response_head(
            chance.choice([200, 201, 206, 302, 404, 500, 503]), chance.choice([None, "Some words"]), HeaderList(fields)
        )
    if not chunked:
        return head + body
    pieces = [head]
    while body:
        size = chance.randint(1, len(body))
        prefix = chunk_prefix(size)
        if chance.random() < 0.2:
            prefix = prefix[:-2] + b";a=b\r\n"
        pieces += [prefix, body[:size], b"\r\n"]
        body = body[size:]
    pieces.append(last_chunk())
    return b"".join(pieces)


def damaged(chance: random.Random, data: bytes) -> bytes:
    """The message with one to three bytes replaced, inserted or removed."""
    result = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(result))
        kind = chance.randrange(3)
        result[at : at + (kind != 1)] = b"" if kind == 2 else bytes([chance.choice(DAMAGE)])
    return bytes(result)


def plain(reader: Reader) -> Plain:
    """The first message that a reader of ours read."""
    message = reader.messages[0]
    head = message.head
    line: object = (head.method.encode(), head.target) if isinstance(head, RequestHead) else head.status_code
    return line, [(name.lower(), value) for name, value in head.headers.raw], bytes(message.body)


def is_left_out(reader: Reader, oracle: H11 | Httptools, data: bytes) -> bool:
    """Whether the oracle cannot be asked about the first message."""
    head = reader.messages[0].head
    # A tab after a value is white space to be ignored (RFC 9112 §5); llhttp refuses it after this one value.
    if isinstance(oracle, Httptools) and b"chunked\t" in data:
        return True
    if isinstance(head, RequestHead):
        # llhttp knows a list of methods; RFC 9110 §9.1 lets any token be one.
        return isinstance(oracle, Httptools) and head.method not in METHODS
    # Neither oracle stops after an interim response or a change of protocol as a message's end.
    return head.interim or head.upgrade


class H11:
    """h11, which reads the first message of some bytes."""

    def __init__(self) -> None:
        self.h11: Any = pytest.importorskip("h11")

    def read(self, data: bytes, is_request: bool) -> Plain | None:
        """The message, or None if it is refused or not whole."""
        h11 = self.h11
        connection = h11.Connection(h11.SERVER if is_request else h11.CLIENT)
        if not is_request:
            connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
            connection.send(h11.EndOfMessage())
        body = b""
        head: Any = None
        try:
            connection.receive_data(data)
            while True:
                event = connection.next_event()
                if event in (h11.NEED_DATA, h11.PAUSED):
                    return None
                if isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    break
                else:
                    head = event
        except h11.RemoteProtocolError:
            return None
        line = (head.method, head.target) if is_request else head.status_code
        return line, [(bytes(name), bytes(value)) for name, value in head.headers], body


class Httptools:
    """httptools, which wraps llhttp, reading the first message of some bytes."""

    def __init__(self) -> None:
        self.httptools: Any = pytest.importorskip("httptools")

    def read(self, data: bytes, is_request: bool) -> Plain | None:
        """The message, or None if it is refused or not whole."""
        fields: list[tuple[bytes, bytes]] = []
        url: list[bytes] = []
        body: list[bytes] = []
        lines: list[object] = []

        class Stop(Exception):
            pass

        class Receiver:
            def on_url(self, part: bytes) -> None:
                url.append(part)

            def on_header(self, name: bytes, value: bytes) -> None:
                if not lines:
                    fields.append((name.lower(), value.strip(b" \t")))

            def on_headers_complete(self) -> None:
                lines.append((parser.get_method(), b"".join(url)) if is_request else parser.get_status_code())

            def on_body(self, part: bytes) -> None:
                body.append(part)

            def on_message_complete(self) -> None:
                raise Stop

        parser = (self.httptools.HttpRequestParser if is_request else self.httptools.HttpResponseParser)(Receiver())
        try:
            parser.feed_data(data)
        except self.httptools.HttpParserCallbackError:
            return lines[0], fields, b"".join(body)
        except self.httptools.HttpParserError:
            return None
        return None


ORACLES = (H11, Httptools)


@pytest.mark.parametrize("seed", seeds(4))
@pytest.mark.parametrize("is_request", [True, False])
@pytest.mark.parametrize("oracle_class", ORACLES)
def test_valid_message_is_read_as_the_oracle_reads_it(
    oracle_class: type[H11 | Httptools], is_request: bool, seed: int
) -> None:
    oracle = oracle_class()
    chance = random.Random(seed)
    for _ in range(MESSAGES_A_SEED):
        data = random_message(chance, is_request)
        reader = read(None if is_request else "GET", [data])
        assert reader.error is None
        assert reader.messages[0].complete
        assert plain(reader) == oracle.read(data, is_request)


@pytest.mark.parametrize("seed", seeds(4))
@pytest.mark.parametrize("is_request", [True, False])
@pytest.mark.parametrize("oracle_class", ORACLES)
def test_damaged_message_that_we_accept_is_read_alike(
    oracle_class: type[H11 | Httptools], is_request: bool, seed: int
) -> None:
    oracle = oracle_class()
    chance = random.Random(seed)
    compared = 0
    for _ in range(MESSAGES_A_SEED):
        data = damaged(chance, random_message(chance, is_request))
        reader = read(None if is_request else "GET", [data])
        if not reader.messages or not reader.messages[0].complete or is_left_out(reader, oracle, data):
            continue
        compared += 1
        got = oracle.read(data, is_request)
        assert got == plain(reader), data
    assert compared > MESSAGES_A_SEED // 10
