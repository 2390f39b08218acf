"""What is hidden, what is not, and that hiding twice is hiding once."""

from __future__ import annotations

import pytest

from turbosock.testing.cassettes.redaction import Redaction

USUAL = Redaction(True, ())
NAMED = Redaction(True, ["Door", "session"])


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (("Authorization", "Basic x"), "(hidden)"),
        (("proxy-authorization", "x"), "(hidden)"),
        (("X-Api-Key", "x"), "(hidden)"),
        (("Cookie", "a=x; b=y"), "a=(hidden); b=(hidden)"),
        (("Cookie", "junk"), "(hidden)"),
        (("Set-Cookie", "a=x; Path=/; Secure"), "a=(hidden); Path=/; Secure"),
        (("Location", "/p?token=x&page=2"), "/p?token=(hidden)&page=2"),
        (("Referer", "http://me:pw@h/?sig=1#code=2"), "http://(hidden)@h/?sig=(hidden)#code=(hidden)"),
        (("Door", "x"), "(hidden)"),
        (("Link", "<https://h/?door=x>; rel=next"), "<https://h/?door=(hidden)>; rel=next"),
        (("Accept", "text/plain"), "text/plain"),
    ],
)
def test_fields_are_hidden_by_what_they_hold(field: tuple[str, str], expected: str) -> None:
    ((name, value),) = NAMED.headers([field])
    assert (name, value) == (field[0], expected)
    assert NAMED.headers([(name, value)]) == [(name, value)]
    assert Redaction(False, ["Door"]).headers([field]) == [field]


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ('{"door": "a\\"b", "x": 1}', "application/json", '{"door": "(hidden)", "x": 1}'),
        ('{"SESSION":-1.5e3}', "", '{"SESSION":"(hidden)"}'),
        ('{"door": {"a": ["}", "door"]}, "x": 1}', "", '{"door": "(hidden)", "x": 1}'),
        (
            '{"door": [{"door": 1}]}\n{"door": null, "x": true}',
            "",
            '{"door": "(hidden)"}\n{"door": "(hidden)", "x": true}',
        ),
        ('data: {"door": "cut\ndata: x', "text/event-stream", 'data: {"door": "(hidden)"\ndata: x'),
        ('{"door": ' + "[" * 10_000, "", '{"door": "(hidden)"'),
        ("a=1&door=x&session=", "application/x-www-form-urlencoded", "a=1&door=(hidden)&session=(hidden)"),
        ("door=x", "text/plain", "door=x"),
    ],
)
def test_members_that_were_named_are_hidden_in_bodies(text: str, kind: str, expected: str) -> None:
    assert NAMED.text(text, kind) == expected
    assert NAMED.text(expected, kind) == expected
    assert USUAL.text(text, kind) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"access_token": "x", "expires_in": 60}', '{"access_token": "(hidden)", "expires_in": 60}'),
        ('{"user": {"Password":"a\\"b"}, "apiKey" : "x"}', '{"user": {"Password":"(hidden)"}, "apiKey" : "(hidden)"}'),
        ('data: {"client_secret": "x"}\n\n', 'data: {"client_secret": "(hidden)"}\n\n'),
        ('{"max_tokens": 5, "token": 7, "tokens": "a", "code": "b"}', None),
        ('{"a token": {"kind": "c"}, "say": "token", "x": "token:"}', None),
    ],
)
def test_texts_in_json_are_hidden_whose_names_say_that_they_are_secret(text: str, expected: str | None) -> None:
    assert USUAL.text(text, "") == (expected or text)
    assert NAMED.text(text, "") == (expected or text)
    assert USUAL.text(expected or text, "") == (expected or text)
    assert Redaction(False, ()).text(text, "") == text


def test_form_hides_what_its_names_say_to_be_secret() -> None:
    kind = "application/x-www-form-urlencoded"
    shown = "password=(hidden)&user=ada&client_secret=(hidden)"
    assert USUAL.text("password=x&user=ada&client_secret=y", kind) == shown
    assert USUAL.text(shown, kind) == shown
