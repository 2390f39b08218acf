from __future__ import annotations

import pytest

from support.sse import give
from turbosock.buffers import BufferPool
from turbosock.protocol.sse.event import ServerSentEvent
from turbosock.protocol.sse.parser import EventParser


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xe2\x80\xa6", "…"),
        (b"a\xffb", "a\N{REPLACEMENT CHARACTER}b"),
        # One for each maximal part of a sequence, as the Encoding Standard has it.
        (b"\xf0\x9f\x92", "\N{REPLACEMENT CHARACTER}"),
        (b"\xed\xa0\x80", "\N{REPLACEMENT CHARACTER}" * 3),
        (b"\xef\xbb\xbfx", "\ufeffx"),
        (b"\0", "\0"),
    ],
)
def test_text_is_utf8_with_replacements_and_the_data_is_untouched(data: bytes, text: str) -> None:
    parser = EventParser(BufferPool())
    view = parser.writable()
    body = b"data: " + data + b"\n\n"
    view[: len(body)] = body
    parser.advance(len(body))
    assert parser.next_event()
    assert parser.event.text == text
    assert bytes(parser.event) == data


def test_type_and_id_are_texts_with_replacements() -> None:
    parser = EventParser(BufferPool())
    [told] = give(parser, b"event: \xff\nid: \xc3\ndata\n\n")
    assert (told.event, told.id) == ("\N{REPLACEMENT CHARACTER}", "\N{REPLACEMENT CHARACTER}")


def test_event_that_was_never_told_is_an_empty_message() -> None:
    event = ServerSentEvent()
    assert (event.event, bytes(event), event.text, event.id, event.retry) == ("message", b"", "", "", None)
    assert repr(event) == "<ServerSentEvent event='message' id='' data of 0 bytes>"
