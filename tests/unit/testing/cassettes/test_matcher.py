"""Which entry answers, in what order, and what is said where none does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from turbosock.testing.cassettes.entry import Entry, RecordedAnswer, RecordedBody, RecordedRequest
from turbosock.testing.cassettes.matcher import Matcher
from turbosock.testing.cassettes.redaction import Redaction


def asked(method: str, path: str, content: bytes = b"", **fields: str) -> RecordedRequest:
    return RecordedRequest(method, f"http://h{path}", list(fields.items()), RecordedBody(content))


def matcher(
    *requests: RecordedRequest, strict: bool = True, ordered: bool = True, headers: tuple[str, ...] = ()
) -> Any:
    answer = RecordedAnswer("HTTP/1.1", 200, "OK", [], RecordedBody(), [])
    entries = [Entry(request, answer, number) for number, request in enumerate(requests, 1)]
    return Matcher(Path("c.json"), entries, Redaction(True, ["door"]), strict=strict, ordered=ordered, headers=headers)


A, B = asked("GET", "/a"), asked("GET", "/b")


@pytest.mark.parametrize(
    ("strict", "ordered", "requests", "expected"),
    [
        (True, True, [A, A, B], [1, 2, 3]),
        (True, True, [A, B, A, B], [1, None, 2, 3]),
        (True, False, [B, A, A, A, B], [3, 1, 2, None, None]),
        (False, False, [B, A, A, A, B], [3, 1, 2, 2, 3]),
        (False, False, [asked("POST", "/a"), asked("GET", "/a", b"body", x="y")], [None, 1]),
    ],
)
def test_entries_answer_in_the_order_of_their_kind(
    strict: bool, ordered: bool, requests: list[RecordedRequest], expected: list[int | None]
) -> None:
    entries = matcher(A, A, B, strict=strict, ordered=ordered)
    found = [entries.find(request) for request in requests]
    assert [None if entry is None else entry.number for entry in found] == expected


def test_mismatch_of_a_cassette_that_shows_all_hides_secrets() -> None:
    answer = RecordedAnswer("HTTP/1.1", 200, "OK", [], RecordedBody(), [])
    entries = [Entry(asked("GET", "/?token=word"), answer, 1)]
    shows_all = Redaction(False, [])
    found = Matcher(Path("c.json"), entries, shows_all, strict=True, ordered=True, headers=())
    words = str(found.mismatch(asked("GET", "/?token=sword")))
    assert "token=(hidden)" in words
    assert "word" not in words


@pytest.mark.parametrize(
    ("recorded", "present", "agree"),
    [
        (asked("GET", "/?token=1&x=1"), asked("GET", "/?token=2&x=1"), True),
        (asked("GET", "/?door=1&x=1"), asked("GET", "/?door=2&x=2"), False),
        (asked("POST", "/", b'{"door": "1"}'), asked("POST", "/", b'{"door": "2"}'), True),
        (asked("POST", "/", b'{"window": "1"}'), asked("POST", "/", b'{"window": "2"}'), False),
        (asked("POST", "/", b"\xff"), asked("POST", "/", b"\xfe"), False),
        (asked("GET", "/", Kind="1"), asked("GET", "/", kind="1", Other="2"), True),
        (asked("GET", "/", Kind="1"), asked("GET", "/", Kind="2"), False),
        (asked("GET", "/", Kind="1"), asked("GET", "/"), False),
    ],
)
def test_strict_requests_agree_in_all_but_their_secrets(
    recorded: RecordedRequest, present: RecordedRequest, agree: bool
) -> None:
    assert (matcher(recorded, headers=("kind",)).find(present) is not None) is agree


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        ([], "c.json has no entries"),
        ([A], "c.json goes on with entry 1 (GET http://h/a), which differs in method and URL"),
        (
            [A, B, asked("PUT", "/c/2")],
            "entry 3 (PUT http://h/c/2), by URL; entry 2 (GET http://h/b), by method and URL",
        ),
        ([asked("PUT", "/c", b"x")], "which differs in body"),
    ],
)
def test_mismatch_names_the_request_and_the_nearest_entries(requests: list[RecordedRequest], words: str) -> None:
    error = matcher(*requests).mismatch(asked("PUT", "/c", b"y"))
    assert str(error).startswith("PUT http://h/c was not recorded: ")
    assert words in str(error)
    assert error.code == "cassette_mismatch"


def test_mismatch_hides_secrets_and_says_when_all_have_answered() -> None:
    entries = matcher(A)
    entries.find(A)
    message = str(entries.mismatch(asked("GET", "/a?api_key=s3cret")))
    assert "1 entries, and all of them have answered" in message
    assert "s3cret" not in message
