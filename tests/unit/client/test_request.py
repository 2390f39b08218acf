"""Prepared requests: what is sent, what is refused before a byte is, and what is kept for the next time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from turbosock import limits
from turbosock.buffers import BufferPool, BufferWriter
from turbosock.client.multipart import MultipartForm
from turbosock.client.request import PreparedRequest, Preparer
from turbosock.client.request import request_body as bodies_of
from turbosock.client.url import Url
from turbosock.config import PoolConfig
from turbosock.connection.file_range import FileRange
from turbosock.connection.source import BodySource, BufferSource, IterableSource
from turbosock.errors import InvalidHeader, InvalidOption, LimitError
from turbosock.pool.connection_pool import ConnectionPool
from turbosock.protocol.http1.head import parse_response_head
from turbosock.protocol.http1.headers import HeaderList

BUFFERS = BufferPool()
URL = "http://host:81/path"


def request_body(
    content: object, data: object, json: object, files: object = None, progress: object = None
) -> tuple[BodySource | None, str | None]:
    return bodies_of(content, data, json, files, progress, buffers=BUFFERS)


class Fixed:
    """Secrets that are always the same."""

    def __init__(self, authorization: str | None = None, cookie: str | None = None) -> None:
        self._authorization = authorization
        self._cookie = cookie

    def authorization(self, method: str, url: Url) -> str | None:
        return self._authorization

    def cookie(self, url: Url) -> str | None:
        return self._cookie


def preparer(*defaults: tuple[str, str]) -> Preparer:
    return Preparer(ConnectionPool(PoolConfig()), defaults)


def prepare(method: str = "GET", url: str = URL, content: object = None, **arguments: Any) -> PreparedRequest:
    """A request prepared by a new Preparer with one default field."""
    source, content_type = request_body(content, arguments.pop("data", None), arguments.pop("json", None))
    return preparer(("User-Agent", "test")).prepare(method, url, source=source, content_type=content_type, **arguments)


def fields_of(prepared: PreparedRequest) -> list[tuple[str, str]]:
    lines = prepared.head.decode("latin-1").split("\r\n")
    assert lines[-2:] == ["", ""]
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines[1:-2])]


def field_of(prepared: PreparedRequest, name: str) -> str | None:
    """The one value of a field, or None; more than one fails."""
    values = [value for own, value in fields_of(prepared) if own.lower() == name.lower()]
    assert len(values) <= 1, f"{name} stands {len(values)} times"
    return values[0] if values else None


def test_request_line_and_host_come_first() -> None:
    prepared = prepare(url="http://host:81/a?b=c")
    assert prepared.head.startswith(b"GET /a?b=c HTTP/1.1\r\nHost: host:81\r\n")
    assert prepared.head.endswith(b"\r\n\r\n")


# Framing


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False


def blocks() -> Iterator[bytes]:
    yield b"abc"


@pytest.mark.parametrize(
    ("method", "content", "length", "encoding"),
    [
        ("GET", None, None, None),
        ("HEAD", None, None, None),
        ("DELETE", None, None, None),
        ("OPTIONS", None, None, None),
        ("POST", None, "0", None),
        ("PUT", None, "0", None),
        ("PATCH", None, "0", None),
        ("POST", b"", "0", None),
        ("POST", b"abc", "3", None),
        ("POST", "ä", "2", None),
        ("GET", b"abc", "3", None),
        ("POST", memoryview(bytearray(8)).cast("I"), "8", None),
        ("POST", [b"abc"], None, "chunked"),
        ("POST", blocks(), None, "chunked"),
        ("POST", io.BytesIO(b"abc"), "3", None),
        ("POST", Unseekable(b"abc"), None, "chunked"),
    ],
)
def test_framing_fields_say_what_the_body_is(
    method: str, content: object, length: str | None, encoding: str | None
) -> None:
    prepared = prepare(method, content=content)
    assert field_of(prepared, "Content-Length") == length
    assert field_of(prepared, "Transfer-Encoding") == encoding


def test_framing_of_a_file_is_what_is_left_of_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        file.seek(4)
        assert field_of(prepare("PUT", content=file), "Content-Length") == "6"


@pytest.mark.parametrize(
    ("content", "headers", "message"),
    [
        (None, {"Content-Length": "5"}, "without a body"),
        (b"abc", {"content-length": "5"}, "says 5, the body has 3"),
        (b"abc", {"Content-Length": "+3"}, "one decimal number"),
        (b"abc", {"Content-Length": "3, 3"}, "one decimal number"),
        (b"abc", {"Content-Length": "\uff19"}, "Latin-1"),
        (b"abc", {"Content-Length": "²"}, "one decimal number"),
        ([b"abc"], {"Content-Length": "1" * 19}, "one decimal number"),
        (io.BytesIO(b"abc"), {"Content-Length": "4"}, "says 4, the body has 3"),
        (None, {"Transfer-Encoding": "chunked"}, "Transfer-Encoding"),
        (b"abc", {"transfer-encoding": "identity"}, "Transfer-Encoding"),
    ],
)
def test_framing_fields_of_the_user_that_cannot_be_true_are_refused(
    content: object, headers: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidHeader, match=f"^headers: .*{message}"):
        prepare("POST", content=content, headers=headers)


def test_framing_of_an_iterable_with_an_announced_length_needs_no_chunks() -> None:
    prepared = prepare("POST", content=[b"abc"], headers={"content-length": "3"})
    assert field_of(prepared, "Content-Length") == "3"
    assert field_of(prepared, "Transfer-Encoding") is None


def test_framing_by_the_defaults_of_the_configuration_is_refused() -> None:
    source, _ = request_body(b"abc", None, None)
    for field in (("Content-Length", "3"), ("Transfer-Encoding", "chunked")):
        with pytest.raises(InvalidHeader, match=r"^headers: "):
            preparer(field).prepare("POST", URL, source=source)


# Fields


def test_default_fields_give_way_to_the_request_whatever_the_case() -> None:
    prepared = prepare(headers={"user-AGENT": "mine", "X-Other": "1"})
    assert field_of(prepared, "User-Agent") == "mine"
    assert field_of(prepared, "X-Other") == "1"


def test_repeated_fields_of_the_request_are_all_sent_in_order() -> None:
    prepared = prepare(headers=[("X-A", "1"), ("X-B", "2"), ("x-a", "3")])
    assert [pair for pair in fields_of(prepared) if pair[0].lower().startswith("x-")] == [
        ("X-A", "1"),
        ("X-B", "2"),
        ("x-a", "3"),
    ]


def test_host_of_the_request_replaces_that_of_the_url() -> None:
    assert field_of(prepare(headers={"host": "other"}), "Host") == "other"


def test_host_of_the_defaults_replaces_that_of_the_url() -> None:
    assert field_of(preparer(("Host", "other")).prepare("GET", URL), "Host") == "other"


def test_headers_of_a_response_can_be_sent_again() -> None:
    prepared = prepare(headers=HeaderList([("X-A", "1"), ("X-A", "2")]))
    assert [value for name, value in fields_of(prepared) if name == "X-A"] == ["1", "2"]


@pytest.mark.parametrize(
    "headers", [5, "X: y", b"X: y", ["X: y"], [("X",)], [("X", "y", "z")], {"X": 1}, {1: "x"}, {"X": None}]
)
@pytest.mark.parametrize("content", [None, b"x"])
def test_headers_that_are_none_are_refused_by_name(headers: Any, content: bytes | None) -> None:
    with pytest.raises(InvalidHeader, match=r"^headers"):
        prepare("POST", content=content, headers=headers)


CONTROLS = [i for i in range(0x20) if i != 0x09] + [0x7F]


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("place", ["{}X", "X{}", "X{}Y"])
def test_control_byte_in_any_part_is_refused_before_a_byte_is_sent(control: int, place: str) -> None:
    text = place.format(chr(control))
    cases: list[dict[str, Any]] = [
        {"method": text},
        {"headers": {text: "value"}},
        {"headers": {"Name": text}},
        {"headers": [("Name", "ok"), ("Name", text)]},
        {"headers": {"Host": text}},
        {"secrets": Fixed(text)},
        {"secrets": Fixed(cookie=text)},
        {"url": f"http://host/{text}"},
        {"url": f"http://{text}/"},
        {"url": f"http://user:%{control:02x}@host/"},
    ]
    for arguments in cases:
        with pytest.raises(InvalidOption):
            prepare(**arguments)
    for defaults in ((text, "value"), ("Name", text)):
        with pytest.raises(InvalidHeader):
            preparer(defaults)


@pytest.mark.parametrize("method", ["", " ", "GET ", "G ET", "GÉT", "GET/", "GET:", "(GET)", None, 5, b"GET", ["GET"]])
def test_method_that_is_no_token_is_refused_by_name(method: Any) -> None:
    with pytest.raises(InvalidHeader, match=r"^method: "):
        prepare(method)


@pytest.mark.parametrize("url", [None, 5, b"http://host/", ["http://host/"]])
def test_url_of_another_type_is_refused_by_name(url: Any) -> None:
    with pytest.raises(InvalidOption, match=r"^url: "):
        prepare(url=url)
    with pytest.raises(InvalidOption, match=r"^url: "):
        prepare(url=url, headers={"a": "b"})


@pytest.mark.parametrize("value", ["é\u0100", "\ud800"])
def test_header_value_outside_latin_1_is_refused(value: str) -> None:
    with pytest.raises(InvalidHeader, match="Latin-1"):
        prepare(headers={"X": value})


def test_header_error_does_not_show_the_value() -> None:
    with pytest.raises(InvalidHeader) as caught:
        prepare(headers={"Authorization": "hunter2\r\n"})
    assert "hunter2" not in str(caught.value)


# Credentials


def test_credentials_of_the_url_are_sent_and_shown_nowhere() -> None:
    prepared = prepare(url="http://user:hunter2@host/")
    assert field_of(prepared, "Authorization") == "Basic dXNlcjpodW50ZXIy"
    assert "hunter2" not in repr(prepared)
    assert b"user" not in prepared.head.replace(b"User-Agent", b"")


def test_credentials_given_go_before_those_of_the_url_and_the_defaults() -> None:
    source = preparer(("Authorization", "Bearer default"))
    assert field_of(source.prepare("GET", URL), "Authorization") == "Bearer default"
    assert field_of(source.prepare("GET", "http://a:b@host/"), "Authorization") == "Basic YTpi"
    secrets = Fixed("Bearer given")
    assert field_of(source.prepare("GET", "http://x:y@host/", secrets=secrets), "Authorization") == "Bearer given"
    own = source.prepare("GET", "http://x:y@host/", secrets=secrets, headers={"authorization": "mine"})
    assert field_of(own, "Authorization") == "mine"


def test_cookies_of_headers_go_before_those_of_secrets() -> None:
    secrets = Fixed(cookie="a=b")
    assert field_of(preparer().prepare("GET", URL, secrets=secrets), "Cookie") == "a=b"
    assert field_of(preparer().prepare("GET", URL, secrets=secrets, headers={"cookie": "c=d"}), "Cookie") == "c=d"
    assert field_of(preparer(("Cookie", "e=f")).prepare("GET", URL, secrets=secrets), "Cookie") == "e=f"


def test_secrets_are_not_among_the_fields_that_a_redirect_carries_on() -> None:
    prepared = preparer(("User-Agent", "test")).prepare(
        "GET", "http://a:b@host/", headers={"X": "y"}, secrets=Fixed("Bearer given", "a=b")
    )
    assert [name for name, _ in prepared.fields.raw] == [b"User-Agent", b"X"]


def test_request_that_follows_has_the_fields_it_is_given_and_no_defaults() -> None:
    source = preparer(("User-Agent", "test"))
    body = BufferSource(b"xyz")
    url = Url("http://other:81/path")
    prepared = source.follow("PUT", url, HeaderList([("X", "y")]), Fixed("Bearer t"), body, None)
    assert prepared.head == (
        b"PUT /path HTTP/1.1\r\nHost: other:81\r\nAuthorization: Bearer t\r\nX: y\r\nContent-Length: 3\r\n\r\n"
    )
    answered = source.follow("GET", url, HeaderList(), Fixed("Bearer t"), None, None, authorization="Digest d")
    assert field_of(answered, "Authorization") == "Digest d"


def test_request_with_a_cookie_is_kept_while_the_cookie_is_the_same() -> None:
    source = preparer()
    plain = source.prepare("GET", URL)
    one = source.with_secrets(plain, None, "a=b")
    assert field_of(one, "Cookie") == "a=b"
    assert source.with_secrets(plain, None, "a=b") is one
    assert source.with_secrets(plain, None, "a=c") is not one
    own = source.prepare("GET", URL, headers={"Cookie": "c=d"})
    assert source.with_secrets(own, None, "a=b") is own


def test_request_with_credentials_is_kept_where_they_stay_the_same() -> None:
    source = preparer()
    plain = source.prepare("GET", "http://a:b@host/")
    one = source.with_secrets(plain, "Bearer t", "a=b")
    assert (field_of(one, "Authorization"), field_of(one, "Cookie")) == ("Bearer t", "a=b")
    assert source.with_secrets(plain, "Bearer t", "a=b") is one
    assert field_of(source.with_secrets(plain, None, "a=b"), "Authorization") == "Basic YTpi"
    passing = source.with_secrets(plain, "Digest 1", None, keep=False)
    assert source.with_secrets(plain, "Digest 1", None, keep=False) is not passing
    own = source.prepare("GET", URL, headers={"authorization": "mine"})
    assert source.with_secrets(own, "Bearer t", None) is own


def test_request_with_a_body_and_a_cookie_is_made_of_the_last_one() -> None:
    source = preparer()
    for length in range(3):
        body = BufferSource(bytes(length))
        made = source.with_secrets(source.prepare("PUT", URL, source=body), None, "a=b", body)
        assert made.head == b"PUT /path HTTP/1.1\r\nHost: host:81\r\nCookie: a=b\r\nContent-Length: %d\r\n\r\n" % length
    assert kept(source) == 2


# Bodies


def whole(source: BodySource | None) -> bytes:
    """All blocks of a body."""
    assert source is not None
    blocks = []
    while (block := source.next_block()) is not None:
        assert not isinstance(block, FileRange)
        blocks.append(bytes(block))
    return b"".join(blocks)


@pytest.mark.parametrize(
    ("arguments", "body", "content_type"),
    [
        ((b"abc", None, None), b"abc", None),
        (("ä", None, None), b"\xc3\xa4", None),
        ((None, {"a": "b c", "d": ["1", "2"]}, None), b"a=b+c&d=1&d=2", "application/x-www-form-urlencoded"),
        ((None, [("a", "b"), ("a", "c")], None), b"a=b&a=c", "application/x-www-form-urlencoded"),
        ((None, b"raw", None), b"raw", None),
        ((None, "raw", None), b"raw", None),
        ((None, None, {"a": [1, None, "ä"]}), b'{"a":[1,null,"\xc3\xa4"]}', "application/json"),
        ((None, None, []), b"[]", "application/json"),
        ((None, None, 0), b"0", "application/json"),
        ((None, None, False), b"false", "application/json"),
    ],
)
def test_body_of_each_argument_is_what_it_says(
    arguments: tuple[object, object, object], body: bytes, content_type: str | None
) -> None:
    source, own_type = request_body(*arguments)
    assert (whole(source), own_type) == (body, content_type)


def test_body_of_nothing_is_none() -> None:
    assert request_body(None, None, None) == (None, None)


def circular() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((b"a", b"b", None), "^content, data, json, files: "),
        ((b"a", None, 1), "^content, data, json, files: "),
        ((None, b"a", 1), "^content, data, json, files: "),
        ((None, None, {1, 2}), "^json: "),
        ((None, None, float("nan")), "^json: "),
        ((None, None, b"abc"), "^json: "),
        ((None, None, "\ud800"), "^json: "),
        ((None, None, circular()), "^json: "),
        ((5, None, None), "^content: a int"),
        ((object(), None, None), "^content: "),
        (("\ud800", None, None), "^content: .*surrogate"),
        ((memoryview(bytearray(8))[::2], None, None), "^content: .*contiguous"),
        ((io.StringIO("text"), None, None), "^content: .*binary"),
        ((None, 5, None), "^data: "),
        ((None, ["abc"], None), "^data: "),
        ((None, "\ud800", None), "^data: "),
        ((None, io.StringIO("text"), None), "^data: .*binary"),
    ],
)
def test_body_that_cannot_be_sent_is_refused_by_name(arguments: tuple[object, object, object], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        request_body(*arguments)


def test_body_of_files_is_a_form_with_the_fields_of_data() -> None:
    source, content_type = request_body(None, {"a": "1"}, None, {"f": b"x"})
    assert content_type is not None
    boundary = content_type.removeprefix("multipart/form-data; boundary=").encode()
    text = whole(source)
    assert text.startswith(b"--" + boundary) and text.count(boundary) == 3
    assert text.index(b'name="a"') < text.index(b'name="f"')
    form = MultipartForm(None, {"f": b"x"}, boundary="b")
    assert request_body(None, None, None, form)[1] == "multipart/form-data; boundary=b"


@pytest.mark.parametrize("files", [{}, [], ()])
def test_body_without_any_file_is_no_multipart_form(files: object) -> None:
    source, content_type = request_body(None, {"a": "1"}, None, files)
    assert (whole(source), content_type) == (b"a=1", "application/x-www-form-urlencoded")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((b"a", None, None, {"f": b"x"}), "^content, data, json, files: "),
        ((None, None, 1, {"f": b"x"}), "^content, data, json, files: "),
        ((None, b"a", None, {"f": b"x"}), "^data: "),
        ((None, {"a": "b"}, None, MultipartForm()), "^data: "),
        ((None, None, None, {"f": None}), "^files: "),
        ((b"a", None, None, None, 5), "^progress: a int"),
        ((None, None, None, None, print), "^progress: .*there is none"),
    ],
)
def test_files_and_progress_that_cannot_be_are_refused_by_name(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        request_body(*arguments)


class Own:
    """A serializer of one's own."""

    content_type = "text/x-own"

    def serialize_into(self, value: Any, writer: BufferWriter) -> None:
        writer.write(b"own: ")
        if value == "fail":
            raise KeyError(value)
        view = writer.reserve(10)
        view[:3] = b"abc"
        writer.advance(3)

    def deserialize(self, source: Any) -> Any:
        return bytes(source)


def test_json_is_what_the_serializer_makes_of_it_and_named_so() -> None:
    pool = BufferPool(diagnostics=True)
    source, content_type = bodies_of(None, None, {}, buffers=pool, serializer=Own())
    assert (whole(source), content_type) == (b"own: abc", "text/x-own")
    assert source is not None and (source.length, source.replayable) == (8, True)
    assert pool.stats().outstanding == 1
    source.release()
    assert pool.stats().outstanding == 0


def test_json_that_the_serializer_refuses_is_refused_and_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = BufferPool(diagnostics=True)
    with pytest.raises(InvalidOption, match=r"^json: it cannot be written as text/x-own") as caught:
        bodies_of(None, None, "fail", buffers=pool, serializer=Own())
    assert isinstance(caught.value.__cause__, KeyError)
    monkeypatch.setattr(limits, "MAX_SERIALIZED_BYTES", 7)
    with pytest.raises(LimitError):
        bodies_of(None, None, {}, buffers=pool, serializer=Own())
    assert pool.stats().outstanding == 0


def test_content_type_of_the_body_gives_way_to_the_request_and_replaces_a_default() -> None:
    assert field_of(prepare("POST", json={}), "Content-Type") == "application/json"
    assert field_of(prepare("POST", json={}, headers={"content-type": "x/y"}), "Content-Type") == "x/y"
    source, content_type = request_body(None, None, {})
    prepared = preparer(("Content-Type", "x/y")).prepare("POST", URL, source=source, content_type=content_type)
    assert field_of(prepared, "Content-Type") == "application/json"


@pytest.mark.parametrize(
    ("value", "content", "expected"),
    [("100-continue", b"x", True), ("100-Continue", b"x", True), ("100-continue", None, False), ("other", b"x", False)],
)
def test_expect_continue_is_for_requests_with_a_body(value: str, content: bytes | None, expected: bool) -> None:
    assert prepare("POST", content=content, headers={"Expect": value}).expect_continue is expected


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "POST", "PATCH", "CONNECT", "get"]
)
def test_idempotence_is_that_of_rfc_9110(method: str) -> None:
    idempotent = method in ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
    assert prepare(method).idempotent is idempotent


# Kept for the next time


def test_equal_requests_without_a_body_are_prepared_once() -> None:
    source = preparer()
    assert source.prepare("GET", URL) is source.prepare("GET", URL)
    assert source.prepare("HEAD", URL) is not source.prepare("GET", URL)
    headers = {"X": "y"}
    assert source.prepare("GET", URL, headers=headers) is source.prepare("GET", URL, headers=list(headers.items()))
    assert source.prepare("GET", URL, headers={"X": "z"}) is not source.prepare("GET", URL, headers=headers)
    assert source.prepare("GET", URL, headers=[["X", "y"]]).head == source.prepare("GET", URL, headers=headers).head  # type: ignore[list-item]  # pairs that are lists are taken too


def test_requests_with_params_or_credentials_are_not_kept() -> None:
    source = preparer()
    for arguments in ({"params": {"a": 1}}, {"secrets": Fixed("Bearer t")}):
        first = source.prepare("GET", URL, **arguments)
        assert source.prepare("GET", URL, **arguments) is not first


def test_request_with_another_body_is_made_of_the_last_one_and_expects_the_same_answer() -> None:
    source = preparer(("User-Agent", "test"))
    one = source.prepare("PUT", URL, headers={"X": "y"}, source=BufferSource(b"abc"), content_type="text/x")
    other = source.prepare("PUT", URL, headers={"X": "y"}, source=BufferSource(bytes(1000)), content_type="text/x")
    assert other is not one and other.model is one
    assert (
        other.head
        == preparer(("User-Agent", "test"))
        .prepare("PUT", URL, headers={"X": "y"}, source=BufferSource(bytes(1000)), content_type="text/x")
        .head
    )
    chunked = source.prepare("PUT", URL, headers={"X": "y"}, source=IterableSource(iter([b"a"])), content_type="text/x")
    assert chunked.head.endswith(b"\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n")
    head = parse_response_head(bytearray(b"HTTP/1.1 204 \r\n\r\n"), 0, 17, "PUT")
    assert head is not None
    other.note_answer(head)
    third = source.prepare("PUT", URL, headers={"X": "y"}, source=BufferSource(b""), content_type="text/x")
    assert third.expected is head and third.head.endswith(b"\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    "arguments",
    [{"headers": {"Content-Length": "3"}}, {"content_type": "multipart/form-data; boundary=x"}, {"params": {"a": "b"}}],
)
def test_request_whose_head_belongs_to_one_body_is_not_kept(arguments: dict[str, Any]) -> None:
    source = preparer()
    first = source.prepare("PUT", URL, source=BufferSource(b"abc"), **arguments)
    again = source.prepare("PUT", URL, source=BufferSource(b"def"), **arguments)
    assert again.model is None and again.head == first.head


def test_announced_length_is_compared_with_each_body() -> None:
    source = preparer()
    source.prepare("PUT", URL, headers={"Content-Length": "3"}, source=BufferSource(b"abc"))
    with pytest.raises(InvalidHeader, match="Content-Length"):
        source.prepare("PUT", URL, headers={"Content-Length": "3"}, source=BufferSource(b"abcd"))


def kept(source: Preparer) -> int:
    return len(source._with_headers) + sum(len(urls) for urls in source.by_method.values())


def test_requests_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PREPARED_REQUESTS", 10)
    source = preparer()
    for i in range(50):
        source.prepare("GET", f"http://host/{i}")
        assert kept(source) <= 10
    assert source.prepare("GET", "http://host/49") is source.prepare("GET", "http://host/49")
    for i in range(50):
        source.prepare("GET", URL, headers={"X": str(i)})
        source.prepare(f"METHOD{i}", URL)
        assert kept(source) <= 10
        assert len(source.by_method) <= 12


def test_requests_forgotten_are_prepared_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PREPARED_REQUESTS", 3)
    source = preparer()
    first = source.prepare("GET", "http://host/0")
    for i in range(1, 5):
        source.prepare("GET", f"http://host/{i}")
    again = source.prepare("GET", "http://host/0")
    assert again is not first
    assert again.head == first.head
