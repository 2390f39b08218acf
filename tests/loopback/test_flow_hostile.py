"""What peers, users and bad moments do to redirects, challenges, cookies and retries, on every face.

Each row: the documented outcome, nothing waited for that nobody wants, every connection and ring accounted for, every
link left as often as it was entered, and the next request served as if nothing had been.
"""

from __future__ import annotations

import gc
import hashlib
import re
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from support.forks import NEEDS_FORK, in_child
from support.in_thread import InThread
from support.middleware import Face, Spy
from support.peers import unused_port
from support.rings import rings_are_free
from support.scripted_server import (
    Script,
    Step,
    answer,
    await_close,
    close,
    drip,
    flood,
    read_head,
    read_request,
    reset,
    scripted,
    send,
    stall,
    take_body,
)
from support.two_origins import Site
from turbosock import Client, ConcurrencyLimit, Config, Cookies, DigestAuth, RetryBudget, RetryHook, RetryPolicy
from turbosock.client import client as client_module
from turbosock.client import loop_exchange
from turbosock.client import session as session_module
from turbosock.client.auth import AuthView
from turbosock.config import Timeouts
from turbosock.errors import (
    Cancelled,
    ClientClosed,
    ConnectTimeout,
    InvalidOption,
    ReadTimeout,
    RedirectError,
    TooManyRedirects,
    TotalTimeout,
    TurbosockError,
)
from turbosock.server.http_exchange import HttpExchange


def assert_nothing_lost(face: Face) -> None:
    """Every connection is idle, every ring free, nothing waits."""
    gc.collect()
    face.idle_turns()
    owner = face.loop if face.ticks else face.client
    stats = owner.stats()
    assert (stats.open, stats.waiting, stats.held) == (stats.idle, 0, 0), stats
    assert stats.connections.in_use == stats.connections.dialling == 0
    assert rings_are_free(owner), stats.rings


def no_pause(**options: Any) -> RetryPolicy:
    return RetryPolicy(backoff_first_s=0.0001, backoff_cap_s=0.0001, **options)


SEE_OTHER = b"HTTP/1.1 302 Found\r\nLocation: /there\r\n"
THERE: Script = (read_request, answer(b"there"), await_close)


# Bodies of redirects

BODIES: dict[str, tuple[Step, ...]] = {
    "never ends": (send(SEE_OTHER + b"Content-Length: 100\r\n\r\npart"), stall),
    "never begins": (send(SEE_OTHER + b"Content-Length: 100\r\n\r\n"), stall),
    "stops in a chunk's line": (send(SEE_OTHER + b"Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n5"), stall),
    "stops before a chunk's line": (send(SEE_OTHER + b"Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"), stall),
    "stops in the trailers": (send(SEE_OTHER + b"Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\nA: "), stall),
    "drips": (send(SEE_OTHER + b"Transfer-Encoding: chunked\r\n\r\n"), drip(b"1\r\nx\r\n", 0.01)),
    "is cut": (send(SEE_OTHER + b"Content-Length: 100\r\n\r\npart"), close),
    "is reset": (send(SEE_OTHER + b"Content-Length: 100\r\n\r\npart"), reset),
    "floods": (send(SEE_OTHER + b"Transfer-Encoding: chunked\r\n\r\n"), flood(b"3e8\r\n" + bytes(1000) + b"\r\n")),
    "is not framed": (send(SEE_OTHER + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), stall),
    "ends with its connection": (send(SEE_OTHER + b"\r\npart"), stall),
    "cannot be decoded": (send(SEE_OTHER + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nwrong"), *THERE),
    "has leftovers": (
        send(SEE_OTHER + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        stall,
    ),
}


@pytest.mark.parametrize("linked", [False, True], ids=["plain", "linked"])
@pytest.mark.parametrize("body", BODIES)
def test_body_of_a_redirect_holds_nothing_up(face: Face, body: str, linked: bool) -> None:
    spy, limit = Spy(), ConcurrencyLimit(1)
    face.open(*((spy, limit) if linked else ()))
    with scripted((read_request, *BODIES[body]), THERE) as server:
        assert face.get(server.url()).content == b"there"
        assert_nothing_lost(face)
    if linked:
        spy.check(times=2)
        assert limit.limiter.in_flight == 0


@pytest.mark.parametrize("body", ["never ends", "floods"])
def test_body_of_a_redirect_is_no_data(body: str) -> None:
    face = Face("loop").open()
    with scripted((read_request, *BODIES[body]), THERE) as server:
        assert face.read_stream(server.url()) == b"there"
        assert_nothing_lost(face)
    face.close()


def test_body_of_a_redirect_may_be_longer_than_the_buffer() -> None:
    face = Face("loop").open()
    elsewhere = send(SEE_OTHER + b"Content-Length: 1000\r\n\r\n" + bytes(1000))
    with scripted((read_request, elsewhere, read_request, answer(b"there"), await_close)) as server:
        buffer = bytearray(8)
        exchange = face.request("GET", server.url(), into=buffer)
        assert (exchange.nbytes, bytes(buffer[:5])) == (5, b"there")
        assert server.accepted == 1
    face.close()


def test_body_of_an_answer_that_is_tried_again_may_be_longer_than_the_buffer() -> None:
    face = Face("loop").open(retries=no_pause())
    busy = send(b"HTTP/1.1 503 Busy\r\nContent-Length: 1000\r\n\r\n" + bytes(1000))
    with scripted((read_request, busy, read_request, answer(b"there"), await_close)) as server:
        buffer = bytearray(8)
        exchange = face.request("GET", server.url(), into=buffer)
        assert (exchange.status_code, exchange.nbytes, bytes(buffer[:5])) == (200, 5, b"there")
    face.close()


@pytest.mark.parametrize("status_code", [302, 303, 307])
def test_redirect_before_the_end_of_an_upload_is_followed(face: Face, status_code: int) -> None:
    content = bytes(range(256)) * 20_000
    found: list[bytes] = []
    elsewhere = b"HTTP/1.1 %d Elsewhere\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n" % status_code
    first: Script = (read_head, send(elsewhere), stall)
    second: Script = (lambda peer: found.append(take_body(peer)), answer(b"there"), await_close)
    with scripted(first, second) as server:
        response = face.open().request("POST", server.url(), content=content)
        assert response.content == b"there"
        assert found == [content if status_code == 307 else b""]
        assert_nothing_lost(face)


# Locations

BAD_LOCATIONS = {
    b"unix:///tmp/app.sock": "redirect_scheme",
    b"http+unix://%2Ftmp%2Fapp.sock/": "redirect_scheme",
    b"ftp://host/": "redirect_scheme",
    b"file:///etc/passwd": "redirect_scheme",
    b"javascript:alert(1)": "redirect_scheme",
    b"ws://host/": "redirect_scheme",
    b"http://hunter2@host/": "redirect_credentials",
    b"HTTP://user:hunter2@host/": "redirect_credentials",
    b"//user:hunter2@host/": "redirect_credentials",
    b"//@host/": "redirect_credentials",
    b"http://[::1/": "redirect_location",
    b"http://": "redirect_location",
    b"http:///path": "redirect_location",
    b"//": "redirect_location",
    b"http://host:99999/": "redirect_location",
    b"http://host:port/": "redirect_location",
    b"http://ho\\st/": "redirect_location",
    b"http://ho st/": "redirect_location",
    b"http://h\xc3\xb6st\xff/": "redirect_location",
    b"/" + b"a" * 70_000: None,
}


@pytest.mark.parametrize("location", BAD_LOCATIONS, ids=lambda location: location[:20].decode("latin-1"))
def test_location_that_leads_nowhere_costs_nothing(face: Face, location: bytes) -> None:
    elsewhere = send(b"HTTP/1.1 302 Found\r\nContent-Length: 2\r\nLocation: " + location + b"\r\n\r\nok")
    face.open()
    with scripted((read_request, elsewhere, *THERE), THERE) as server:
        with pytest.raises(TurbosockError) as caught:
            face.get(server.url())
        if BAD_LOCATIONS[location] is not None:
            assert (type(caught.value), caught.value.code) == (RedirectError, BAD_LOCATIONS[location])
        assert "hunter2" not in str(caught.value) + repr(caught.value.__cause__)
        del caught
        assert_nothing_lost(face)
        assert face.get(server.url()).content == b"there"
        assert_nothing_lost(face)


SPELLINGS = [
    ("authorization", "secret"),
    ("AUTHORIZATION", "secret"),
    ("AuThOrIzAtIoN", "secret"),
    ("cookie", "a=secret"),
    ("COOKIE", "b=secret"),
]


@pytest.mark.parametrize("by_default", [False, True], ids=["request", "configuration"])
def test_secrets_do_not_cross_origins_in_any_spelling(face: Face, site: Site, by_default: bool) -> None:
    site.redirect("/a", site.other.url("/b"))
    site.redirect("/b", site.one.url("/c"))
    if by_default:
        face.open(headers=SPELLINGS).get(site.one.url("/a"))
    else:
        face.open().get(site.one.url("/a"), headers=SPELLINGS)
    first, *others = site.asked
    assert "secret" in repr(first)
    assert "secret" not in repr(others) and len(others) == 2


def test_credentials_of_the_url_do_not_cross_origins(face: Face, site: Site) -> None:
    site.redirect("/a", site.other.url("/b"))
    site.redirect("/b", site.one.url("/c"))
    response = face.open().get(site.one.url("/a").replace("//", "//user:hunter2@"))
    assert site.field("authorization") == ["Basic dXNlcjpodW50ZXIy", None, None]
    assert "hunter2" not in response.url + repr([past.url for past in response.history])


def test_redirects_between_two_origins_that_both_challenge_have_an_end(face: Face, site: Site) -> None:
    challenge = 'Digest realm="r", nonce="n", qop="auth"'

    def ping(there: Callable[[], str]) -> Callable[[HttpExchange], None]:
        def action(exchange: HttpExchange) -> None:
            if "authorization" not in exchange.request.headers and len(site.asked) < 3:
                exchange.respond(401, {"WWW-Authenticate": challenge})
            else:
                exchange.respond(302, {"Location": there()})

        return action

    site.answers["/ping"] = ping(lambda: site.other.url("/pong"))
    site.answers["/pong"] = ping(lambda: site.one.url("/ping"))
    with pytest.raises(TooManyRedirects):
        face.open().get(site.one.url("/ping"), auth=DigestAuth("u", "pw"))
    assert [value is not None for value in site.field("authorization")][:2] == [False, True]
    assert not any(site.field("authorization")[2:])
    assert_nothing_lost(face)


def test_thousand_redirects_leave_nothing_behind(face: Face, site: Site) -> None:
    site.redirect("/a", "/b")
    face.open()

    def run(times: int) -> int:
        for _ in range(times):
            assert face.get(site.one.url("/a")).content == b"echo of /b"
            site.asked.clear()
        gc.collect()
        return len(gc.get_objects())

    run(50)
    before = run(50)
    assert run(400) - before < 100
    owner = face.loop if face.ticks else face.client
    stats = owner.stats()
    assert stats.connections.opened == 1
    assert stats.rings.made <= 2 or not owner.config.zero_alloc


# Challenges


def test_streamed_body_that_is_challenged_is_not_sent_twice(face: Face, site: Site) -> None:
    site.answer("/", (401, [("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')]), (200, []))
    response = face.open().request("POST", site.one.url("/"), content=iter([b"abc"]), auth=DigestAuth("u", "pw"))
    assert (response.status_code, len(site.asked)) == (401, 1)


def test_nonce_that_went_stale_is_replaced(face: Face, site: Site) -> None:
    digest = 'Digest realm="r", nonce="n%d", qop="auth"%s'
    site.answer(
        "/",
        (401, [("WWW-Authenticate", digest % (1, ""))]),
        (200, []),
        (401, [("WWW-Authenticate", digest % (2, ", stale=true"))]),
        (200, [("Authentication-Info", 'nextnonce="n3"')]),
        (200, []),
    )
    face.open(auth=DigestAuth("u", "pw"))
    assert [face.get(site.one.url("/")).status_code for _ in range(3)] == [200] * 3
    sent = [
        value and value.partition('nonce="')[2][:2] + value.partition("nc=")[2][:8]
        for value in site.field("authorization")
    ]
    assert sent == [None, "n100000001", "n100000002", "n200000001", "n300000001"]


def test_realm_that_changes_under_way_is_not_chased(face: Face, site: Site) -> None:
    numbers = iter(range(1000))

    def action(exchange: HttpExchange) -> None:
        number = next(numbers)
        exchange.respond(401, {"WWW-Authenticate": f'Digest realm="r{number}", nonce="n{number}", qop="auth"'})

    site.answers["/"] = action
    assert face.open().get(site.one.url("/"), auth=DigestAuth("u", "pw")).status_code == 401
    assert len(site.asked) == 2


def test_nonce_that_is_always_stale_is_not_chased_for_ever(face: Face, site: Site) -> None:
    numbers = iter(range(1000))

    def action(exchange: HttpExchange) -> None:
        challenge = f'Digest realm="r", nonce="n{next(numbers)}", qop="auth", stale=true'
        exchange.respond(401, {"WWW-Authenticate": challenge})

    site.answers["/"] = action
    assert face.open().get(site.one.url("/"), auth=DigestAuth("u", "pw")).status_code == 401
    assert len(site.asked) <= 6
    assert_nothing_lost(face)


def test_digest_over_the_body_covers_a_form(face: Face, site: Site) -> None:
    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    site.answer("/", (401, [("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth-int"')]), (200, []))
    face.open().request("POST", site.one.url("/"), data={"a": "1 2"}, auth=DigestAuth("u", "pw"))
    method, target, headers, body = site.asked[1]
    said = dict(re.findall(r'(\w+)="?([^",]*)"?', headers["authorization"]))
    a2 = md5(f"{method}:{target}:{md5(body.decode())}")
    expected = md5(f"{md5('u:r:pw')}:n:{said['nc']}:{said['cnonce']}:auth-int:{a2}")
    assert (body, said["response"]) == (b"a=1+2", expected)


JUNK: list[object] = [b"bytes hunter2", "", 5, "hunter2\r\nX: y", "hunter2\x00", "hünter2☃", ["hunter2"]]


@pytest.mark.parametrize("junk", JUNK, ids=repr)
@pytest.mark.parametrize("late", [False, True], ids=["first", "challenged"])
def test_callable_that_returns_junk_is_an_error_that_does_not_say_it(
    face: Face, site: Site, junk: Any, late: bool
) -> None:
    site.answer("/", (401, []))
    face.open()

    def auth(view: AuthView) -> Any:
        return junk if view.attempt or not late else None

    with pytest.raises(InvalidOption) as caught:
        face.get(site.one.url("/"), auth=auth)
    assert "nter2" not in str(caught.value)
    del caught
    assert len(site.asked) == late
    assert_nothing_lost(face)


@pytest.mark.parametrize("late", [False, True], ids=["first", "challenged"])
def test_interrupt_of_a_callable_is_seen_and_loses_nothing(face: Face, site: Site, late: bool) -> None:
    site.answers["/"] = lambda exchange: exchange.respond(401, None, bytes(300_000))
    spy = Spy()
    face.open(spy)

    def auth(view: AuthView) -> Any:
        if view.attempt or not late:
            raise KeyboardInterrupt
        return None

    with pytest.raises(KeyboardInterrupt):
        face.get(site.one.url("/"), auth=auth)
    assert_nothing_lost(face)
    spy.check(times=int(late))


def test_client_that_is_cancelled_by_its_auth_ends_so(face: Face, site: Site) -> None:
    site.answer("/", (401, []))
    calls: list[Any] = []
    face.open(Spy())

    def auth(view: AuthView) -> str | None:
        if not view.attempt:
            return None
        if face.ticks:
            calls[0].exchange.cancel()
        else:
            calls[0].cancel()
        return "Token t"

    started = threading.Event()
    begin = site.answers["/"]

    def action(exchange: HttpExchange) -> None:
        started.wait(10)
        begin(exchange)

    site.answers["/"] = action
    calls.append(face.begin("GET", site.one.url("/"), auth=auth))
    started.set()
    assert isinstance(calls[0].outcome(), Cancelled)
    assert_nothing_lost(face)


def test_client_that_is_closed_by_its_auth_ends_so(face: Face, site: Site) -> None:
    site.answer("/", (401, []))
    face.open()

    def auth(view: AuthView) -> str | None:
        if view.attempt:
            face.end()
        return "Token t"

    call = face.begin("GET", site.one.url("/"), auth=auth)
    if face.ticks:
        exchange = call.exchange  # type: ignore[attr-defined]  # a loop's call has one
        while not face.loop.closed:
            face.loop.poll(0.05)
        assert isinstance(exchange.error, ClientClosed)
    else:
        assert isinstance(call.outcome(), ClientClosed)


# Between two requests


def test_cancel_between_two_requests_ends_there(site: Site) -> None:
    face = Face("loop").open(Spy())
    site.redirect("/a", "/b")
    exchange = face.loop.get(site.one.url("/a"))
    face.drive(lambda: exchange.history)
    assert not exchange.done and face.loop.stats().held == 1
    exchange.cancel()
    face.drive(lambda: exchange.done)
    assert isinstance(exchange.error, Cancelled)
    assert site.lines == ["GET /a"]
    assert_nothing_lost(face)
    face.close()


@NEEDS_FORK
def test_fork_in_the_pause_of_a_loop_leaves_it_to_the_parent(site: Site) -> None:
    site.answer("/", (503, [("Retry-After", "5")]), (200, []))
    face = Face("loop").open(retries=RetryPolicy(), timeouts=Timeouts(total_s=60))
    call = face.begin("GET", site.one.url("/"))
    face.drive(lambda: face.loop.requests.held)
    exchange = call.exchange  # type: ignore[attr-defined]  # a loop's call has one

    def child() -> None:
        assert exchange.done and isinstance(exchange.error, TurbosockError)
        assert exchange._hop is None
        face.loop.close()

    in_child(child)
    face.pass_time(5)
    assert call.result().status_code == 200
    face.close()


@NEEDS_FORK
@pytest.mark.parametrize("kind", ["stream", "saea"])
def test_fork_in_the_pause_of_a_thread_leaves_it_to_the_parent(site: Site, kind: str) -> None:
    site.answer("/", (503, [("Retry-After", "5")]), (200, []))
    face = Face(kind).open(retries=RetryPolicy(), timeouts=Timeouts(total_s=60))
    call = face.begin("GET", site.one.url("/"))
    while not face.client.held:
        pass

    def child() -> None:
        assert not face.client.held
        assert face.get(site.one.url("/other")).content == b"echo of /other"

    in_child(child)
    face.end()
    assert isinstance(call.outcome(), ClientClosed)


@pytest.mark.parametrize("how", ["cancel", "end", "deadline"])
def test_second_dial_can_be_ended(face: Face, site: Site, how: str) -> None:
    asked, answered = threading.Event(), threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        asked.set()
        answered.wait(20)
        return ["127.0.0.1"]

    site.redirect("/a", f"http://other.example:{site.other.port}/b")
    spy = Spy()
    # A blocking call lives until its deadline; a loop's clock stands still until it is moved.
    total_s = 1.5 if how == "deadline" and not face.ticks else 60
    face.open(spy, resolver=resolve, timeouts=Timeouts(connect_s=30, total_s=total_s))
    call = face.begin("GET", site.one.url("/a"))
    if face.ticks:
        face.drive(asked.is_set)
    assert asked.wait(10)
    if how == "cancel":
        call.cancel()
    elif how == "end":
        face.end()
    elif face.ticks:
        face.pass_time(60)
    try:
        outcome = call.outcome()
        expected = {"cancel": (Cancelled,), "end": (ClientClosed,), "deadline": (TotalTimeout, ConnectTimeout)}[how]
        assert isinstance(outcome, expected)
        assert site.lines == ["GET /a"]
        spy.check(times=2)
    finally:
        answered.set()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupt_of_a_callable_that_is_asked_again_after_a_failure_is_seen(
    face: Face, error: type[BaseException]
) -> None:
    calls: list[int] = []

    def auth(view: AuthView) -> str:
        calls.append(1)
        if len(calls) > 1:
            raise error
        return "Token t"

    spy = Spy()
    face.open(spy, retries=no_pause())
    with scripted((read_request, reset)) as server:
        with pytest.raises(error):
            face.get(server.url(), auth=auth)
        if face.ticks:
            assert face.loop.stats().exchanges == 0
        assert_nothing_lost(face)
        spy.check()


def test_second_dial_that_fails_is_the_error_of_the_request(face: Face, site: Site) -> None:
    site.redirect("/a", f"http://127.0.0.1:{unused_port()}/b")
    spy = Spy()
    with pytest.raises(TurbosockError) as caught:
        face.open(spy).get(site.one.url("/a"))
    assert type(caught.value).__name__ == "ConnectError"
    del caught
    spy.check(times=2)
    assert_nothing_lost(face)


def test_response_of_a_stream_that_is_used_again_knows_nothing_of_the_last(site: Site) -> None:
    for kind in ("stream", "saea"):
        face = Face(kind).open()
        site.redirect("/a", "/b")
        with face.client.stream("GET", site.one.url("/a")) as response:
            assert len(response.history) == 1
            first = id(response)
            response.readinto(bytearray(50))
        del response
        with face.client.stream("GET", site.one.url("/c")) as response:
            assert (id(response), response.history, response.url) == (first, (), site.one.url("/c"))
        face.close()


def test_exchange_that_is_used_again_knows_nothing_of_the_last(site: Site) -> None:
    face = Face("loop").open()
    site.redirect("/a", "/b")
    assert len(face.get(site.one.url("/a")).history) == 1
    for _ in range(3):
        face.idle_turns()
        exchange = face.get(site.one.url("/c"))
        assert (exchange.history, exchange.url, exchange._hop) == ((), site.one.url("/c"), None)
        del exchange
    face.close()


@pytest.mark.parametrize("status_code", [200, 404, 410, 503])
def test_answer_that_asks_for_nothing_makes_nothing(
    face: Face, site: Site, status_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.answer("/", (status_code, []))
    face.open()
    for module in (client_module, loop_exchange, session_module):
        monkeypatch.setattr(module, "Flow", None)
    for _ in range(2):
        response = face.get(site.one.url("/"))
        assert (response.status_code, response.flow, response.history) == (status_code, None, ())


# Links


def test_attempts_that_a_link_counts_begin_anew_with_each_request(face: Face, site: Site) -> None:
    site.redirect("/a", "/b")
    site.redirect("/b", "/c")
    site.answer("/c", (503, []), (503, []), (200, []))
    hook = RetryHook(lambda exchange: 0.0 if exchange.status_code == 503 else None, max_attempts=3)
    response = face.open(hook).get(site.one.url("/a"))
    assert (response.status_code, len(response.history)) == (200, 2)


def test_place_of_a_limit_is_that_of_the_host_that_is_asked(face: Face, site: Site) -> None:
    # With the place of the first host held for the second, two requests that cross would wait for each other.
    fields = [("Location", site.other.url("/b"))]
    site.answers["/a"] = lambda exchange: exchange.respond(302, fields, bytes(3_000_000))
    limit = ConcurrencyLimit(1)
    held: list[int] = []

    def look(exchange: HttpExchange) -> None:
        held.append(limit.limiter.in_flight)
        exchange.respond(200, content=b"there")

    site.answers["/b"] = look
    assert face.open(limit).get(site.one.url("/a")).content == b"there"
    assert held == [1]
    assert_nothing_lost(face)


# Cookies


def test_cookies_over_the_limit_are_dropped_and_fail_nothing(face: Face, site: Site) -> None:
    site.answer("/set", (200, [("Set-Cookie", f"c{number}={'x' * 30}") for number in range(200)]))
    face.open().get(site.one.url("/set"))
    assert (len(face.cookies), face.cookies.dropped) == (180, 20)
    face.get(site.one.url("/"))
    assert 0 < len(site.field("cookie")[1] or "") <= 8192


GARBAGE = [
    b"",
    b"=",
    b";",
    b"a",
    b"=b; Path=/",
    b"a=b; Domain=com",
    b"a=b; Domain=other.example",
    b"a=b; Domain=.0.0.1",
    b"a=b\x01c",
    b"a\xff\xfe=b\xff",
    b"__Host-a=b",
    b"a=b; Secure",
    b"a=b; Expires=" + b"9" * 1000,
    b"a=b; Max-Age=" + b"9" * 3000,
    b"a=" + b"b" * 5000,
    b"a=b; Max-Age=-1",
]


def test_cookies_that_are_garbage_fail_nothing(face: Face) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + b"".join(
        b"Set-Cookie: " + value.replace(b"\x01", b"") + b"\r\n" for value in GARBAGE
    )
    with scripted(
        (read_request, answer(b"ok", head + b"Set-Cookie: good=1\r\n"), read_request, answer(), await_close)
    ) as server:
        face.open().get(server.url())
        face.get(server.url())
        assert b"good=1" in server.requests[1]
        assert face.cookies.refused > 3 and face.cookies.dropped >= 1
        assert_nothing_lost(face)


@pytest.mark.parametrize("kind", ["stream", "saea"])
def test_threads_whose_first_answers_set_cookies_share_one_jar(site: Site, kind: str) -> None:
    threads = 8
    together = threading.Barrier(threads)

    def action(exchange: HttpExchange) -> None:
        exchange.respond(200, [("Set-Cookie", f"c{exchange.request.path[2:]}=1; Path=/")])

    for number in range(threads):
        site.answers[f"/c{number}"] = action
    for _ in range(5):
        face = Face(kind).open()

        def work(number: int, face: Face = face) -> None:
            together.wait(10)
            face.client.get(site.one.url(f"/c{number}"))

        running = [InThread(partial(work, number)) for number in range(threads)]
        assert [thread.outcome() for thread in running] == [None] * threads
        assert len(face.cookies) == threads
        face.close()


def test_jar_that_two_clients_share_in_threads_loses_nothing(site: Site) -> None:
    jar = Cookies()
    site.answers["/set"] = lambda exchange: exchange.respond(
        200, [("Set-Cookie", f"{exchange.request.headers['x-name']}=1; Path=/")]
    )
    with Client(cookies=jar) as one, Client(Config(), cookies=jar) as other:

        def work(client: Client, start: int) -> None:
            for number in range(start, start + 20):
                client.get(site.one.url("/set"), headers={"X-Name": f"c{number}"})

        running = [InThread(partial(work, (one, other)[i % 2], 100 + 20 * i)) for i in range(4)]
        assert [thread.outcome() for thread in running] == [None] * 4
        assert len(jar) == 80
        one.get(site.one.url("/show"))
    assert (site.field("cookie")[-1] or "").count("=1") == 80


# Retries


def test_retry_counts_on_with_the_nonce_and_has_the_new_cookies(face: Face, site: Site) -> None:
    site.answer(
        "/",
        (401, [("WWW-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')]),
        (503, [("Set-Cookie", "way=2; Path=/")]),
        (200, []),
    )
    face.open(retries=no_pause(), auth=DigestAuth("u", "pw"))
    assert face.get(site.one.url("/")).status_code == 200
    assert [value and value.partition("nc=")[2][:8] for value in site.field("authorization")] == [
        None,
        "00000001",
        "00000002",
    ]
    assert site.field("cookie") == [None, None, "way=2"]


def test_retry_after_a_timeout_goes_into_the_same_buffer() -> None:
    face = Face("loop").open(retries=no_pause(), timeouts=Timeouts(read_s=1, total_s=60))
    with scripted((read_request, stall), THERE) as server:
        buffer = bytearray(8)
        call = face.begin("GET", server.url(), into=buffer)
        face.drive(lambda: server.requests)
        face.pass_time(1)
        exchange = call.result()
        assert (exchange.nbytes, bytes(buffer[:5])) == (5, b"there")
        assert_nothing_lost(face)
    face.close()


def test_retry_of_a_stream_delivers_the_last_answer_alone() -> None:
    face = Face("loop").open(retries=no_pause())
    busy = send(b"HTTP/1.1 503 Busy\r\nContent-Length: 100000\r\n\r\n" + bytes(50_000))
    with scripted((read_request, busy, stall), THERE) as server:
        assert face.read_stream(server.url()) == b"there"
        assert_nothing_lost(face)
    face.close()


@pytest.mark.parametrize("kind", ["stream", "saea"])
def test_retry_after_a_timeout_is_another_connection(kind: str) -> None:
    face = Face(kind).open(retries=no_pause(), timeouts=Timeouts(read_s=0.2, total_s=60))
    with scripted((read_request, stall), (*THERE[:2], *THERE)) as server:
        assert face.read_stream(server.url()) == b"there"
        assert server.accepted >= 2
    face.close()


def test_pause_never_goes_past_the_deadline(face: Face, site: Site) -> None:
    site.answer("/", (503, [("Retry-After", "50")]))
    face.open(retries=RetryPolicy(), timeouts=Timeouts(total_s=20))
    assert face.get(site.one.url("/")).status_code == 503
    stats = (face.loop if face.ticks else face.client).stats().retries
    assert stats is not None
    assert (stats.requests, stats.retries, stats.too_late) == (1, 0, 1)


def test_retry_after_dates_are_kept_to(face: Face, site: Site) -> None:
    past, never = "Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"
    site.answer("/past", (503, [("Retry-After", past)]), (200, []))
    site.answer("/never", (503, [("Retry-After", never)]), (200, []))
    cut_s = 5 if face.ticks else 0.01
    face.open(retries=RetryPolicy(max_retry_after_s=cut_s, backoff_first_s=10, backoff_cap_s=10))
    calls = [face.begin("GET", site.one.url(path)) for path in ("/past", "/never")]
    if face.ticks:
        face.drive(lambda: site.lines.count("GET /past") == 2 and face.loop.stats().held == 1)
        face.pass_time(cut_s)
    assert [call.result().status_code for call in calls] == [200, 200]


def test_budget_that_is_spent_leaves_the_answers_as_they_are(face: Face, site: Site) -> None:
    site.answer("/", (503, []))
    face.open(retries=no_pause(count=1, budget=RetryBudget(ratio=0.25, min_per_s=0)))
    for _ in range(8):
        assert face.get(site.one.url("/")).status_code == 503
    stats = (face.loop if face.ticks else face.client).stats().retries
    assert stats is not None
    assert (stats.requests, stats.retries, stats.over_budget) == (8, 2, 6)
    assert len(site.asked) == 10
    assert_nothing_lost(face)


def test_deadline_holds_over_attempts(face: Face) -> None:
    face.open(retries=no_pause(count=9, budget=None), timeouts=Timeouts(read_s=0.1, total_s=0.25))
    with scripted((read_request, stall)) as server:
        call = face.begin("GET", server.url())
        if face.ticks:
            for count in (1, 2, 3):
                face.drive(lambda count=count: len(server.requests) == count)  # type: ignore[misc]
                face.pass_time(0.1)
        outcome = call.outcome()
        assert isinstance(outcome, TotalTimeout | ReadTimeout)
        # How many a blocking call gets into its time is the machine's.
        assert (2 if face.ticks else 1) <= len(server.requests) <= 3
        del outcome, call
        assert_nothing_lost(face)


def test_retry_of_an_upload_that_broke_sends_it_whole(face: Face) -> None:
    content = bytes(range(256)) * 20_000
    found: list[bytes] = []
    second: Script = (lambda peer: found.append(take_body(peer)), answer(b"there"), await_close)
    with scripted((read_head, reset), second) as server:
        response = face.open(retries=no_pause()).request("PUT", server.url(), content=content)
        assert response.content == b"there"
        assert found == [content]
        assert_nothing_lost(face)
