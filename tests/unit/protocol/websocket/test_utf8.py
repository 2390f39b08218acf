from __future__ import annotations

import random

import pytest

from support.seeds import seeds
from turbosock.protocol.websocket import utf8
from turbosock.protocol.websocket.utf8 import Utf8Check

# Each with how many of its bytes show that it cannot be UTF-8 (RFC 3629 §4), or -1 where only the end does.
BAD = [
    (b"\x80", 1),
    (b"abc\xff", 4),
    (b"\xc0\xaf", 1),
    (b"\xc1", 1),
    (b"\xe0\x9f\x80", 2),
    (b"\xed\xa0\x80", 2),
    (b"\xed\xbf\xbf", 2),
    (b"\xf0\x8f\x80\x80", 2),
    (b"\xf4\x90\x80\x80", 2),
    (b"\xf5\x80", 1),
    (b"\xc3a", 2),
    (b"\xe2\x82a", 3),
    (b"\xf0\x9f\x98a", 4),
    (b"\xf0\x9fa", 3),
    (b"\xc3", -1),
    (b"\xe2\x82", -1),
    (b"\xf0\x9f\x98", -1),
]
GOOD = [
    "",
    "a",
    "κόσμε",
    "日本語",
    "\U0010ffff",
    "\x00\x7f\x80߿ࠀ\ud7ff\ue000\uffff\U00010000",
    "Hello-µ@ßöäüàá-UTF-8!!",
]


def check(pieces: list[bytes]) -> tuple[int, bool]:
    """After how many bytes the text is refused, or -1, and whether it is whole at its end."""
    subject = Utf8Check()
    done = 0
    for piece in pieces:
        memory = memoryview(b"\xff" + piece + b"\xff")
        done += len(piece)
        if not subject.feed(memory, 1, 1 + len(piece)):
            assert subject.pending == b""
            return done, False
        assert len(subject.pending) < 4
    whole = subject.finish()
    assert subject.pending == b""
    return -1, whole


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 16384])
@pytest.mark.parametrize("text", GOOD)
def test_text_is_accepted_however_it_is_cut(text: str, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A step holds at least one character.
    monkeypatch.setattr(utf8, "UTF8_STEP_BYTES", max(step, 4))
    data = text.encode()
    assert check([data[i : i + step] for i in range(0, len(data), step)]) == (-1, True)
    for i in range(len(data) + 1):
        assert check([data[:i], b"", data[i:]]) == (-1, True)


@pytest.mark.parametrize(("data", "shows_at"), BAD)
def test_bad_text_is_refused_at_the_first_byte_that_shows_it(data: bytes, shows_at: int) -> None:
    single = [data[i : i + 1] for i in range(len(data))]
    assert check(single) == (shows_at, False)
    assert check([b"x" * 20, data])[1] is False
    for i in range(1, len(data)):
        after, whole = check([data[:i], data[i:]])
        assert not whole
        assert after == (-1 if shows_at < 0 else i if shows_at <= i else len(data))


@pytest.mark.parametrize("seed", seeds(10))
def test_random_bytes_are_judged_as_the_decoder_judges_the_whole(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(300):
        data = "".join(chance.choices("aé日\U0001f600", k=chance.randint(0, 12))).encode()
        if chance.random() < 0.5 and data:
            at = chance.randrange(len(data))
            data = data[:at] + chance.randbytes(chance.randint(0, 2)) + data[at + 1 :]
        try:
            data.decode()
            valid = True
        except UnicodeDecodeError:
            valid = False
        pieces = []
        at = 0
        while at < len(data):
            n = chance.randint(1, 4)
            pieces.append(data[at : at + n])
            at += n
        assert (check(pieces) == (-1, True)) is valid


def test_text_after_a_refused_or_a_cut_one_begins_anew() -> None:
    subject = Utf8Check()
    assert not subject.feed(memoryview(b"\xe2\x82a"), 0, 3)
    assert subject.feed(memoryview(b"\xe2\x82"), 0, 2)
    assert not subject.finish()
    assert subject.feed(memoryview(b"a"), 0, 1) and subject.finish()
