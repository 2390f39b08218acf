"""What a progress callback is told, however a body leaves."""

from __future__ import annotations

import pytest

from turbosock.connection.send_progress import SendProgress
from turbosock.connection.source import BodySource


class Told(list[tuple[int, int | None]]):
    def __call__(self, sent: int, total: int | None) -> None:
        self.append((sent, total))


def progress(length: int) -> tuple[SendProgress, Told]:
    told = Told()
    return SendProgress(BodySource(length, replayable=False), told), told


def test_head_before_the_payload_does_not_count() -> None:
    subject, told = progress(10)
    subject.taken(10, 0)
    for unsent in (50, 11, 10, 9, 9, 1, 0):
        subject.look(unsent)
    assert told == [(1, 10), (9, 10), (10, 10)]


def test_framing_of_chunks_does_not_count() -> None:
    subject, told = progress(-1)
    subject.taken(5, 2)
    # "5 CRLF" and then the chunk, of which two bytes and the CRLF are left.
    subject.look(4)
    subject.look(2)
    subject.look(1)
    subject.look(0)
    subject.taken(3, 2)
    subject.look(0)
    subject.taken(0, 5)
    subject.look(3)
    subject.look(0)
    assert told == [(3, None), (5, None), (8, None)]


def test_what_the_callback_raises_is_raised() -> None:
    def refuse(sent: int, total: int | None) -> None:
        raise KeyError(sent)

    subject = SendProgress(BodySource(3, replayable=False), refuse)
    subject.taken(3, 0)
    with pytest.raises(KeyError, match="2"):
        subject.look(1)
