"""Redirects, cookies, credentials and retries, end to end, on every face."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest

from support.in_thread import GUARD_S
from support.middleware import Face, Spy
from support.two_origins import Site
from turbosock.client.auth import Auth, AuthRequest, AuthView
from turbosock.client.auth.digest import DigestAuth
from turbosock.client.cookies import Cookies
from turbosock.client.redirects import RedirectPolicy
from turbosock.client.retries import RetryPolicy
from turbosock.config import Timeouts
from turbosock.errors import (
    InvalidOption,
    ReadError,
    RedirectError,
    StatusError,
    TooManyRedirects,
    TotalTimeout,
    TurbosockError,
)
from turbosock.server.http_exchange import HttpExchange

# Redirects


def test_redirect_is_followed_on_the_same_connection(face: Face, site: Site) -> None:
    site.redirect("/a", "/b?c#d")
    response = face.open().get(site.one.url("/a"))
    assert (response.status_code, response.content, response.url) == (200, b"echo of /b?c", site.one.url("/b?c#d"))
    (past,) = response.history
    assert (past.status_code, past.url, past.method) == (302, site.one.url("/a"), "GET")
    assert past.headers["location"] == "/b?c#d"
    assert site.one.listener.stats().accepted == 1


def test_redirect_is_answered_as_it_is_where_it_is_not_followed(face: Face, site: Site) -> None:
    site.redirect("/a", "/b")
    response = face.open().get(site.one.url("/a"), follow_redirects=False)
    assert (response.status_code, response.content, response.history) == (302, b"go elsewhere", ())
    face.close()
    response = face.open(redirects=None).get(site.one.url("/a"))
    assert response.status_code == 302
    assert face.get(site.one.url("/a"), follow_redirects=True).content == b"echo of /b"


def test_redirects_without_end_are_an_error(face: Face, site: Site) -> None:
    site.redirect("/a", "/b")
    site.redirect("/b", "/a")
    with pytest.raises(TooManyRedirects) as caught:
        face.open().get(site.one.url("/a"))
    assert caught.value.method == "GET"
    assert face.get(site.one.url("/end")).content == b"echo of /end"


def test_redirects_end_where_the_policy_says(face: Face, site: Site) -> None:
    site.redirect("/a", "/b")
    site.redirect("/b", "/c")
    with pytest.raises(TooManyRedirects):
        face.open(redirects=RedirectPolicy(max_redirects=1)).get(site.one.url("/a"))
    assert site.lines == ["GET /a", "GET /b"]


@pytest.mark.parametrize("location", ["http://[", "ftp://host/", "http://user:pw@host/"])
def test_location_that_cannot_be_used_is_an_error(face: Face, site: Site, location: str) -> None:
    site.redirect("/a", location)
    with pytest.raises(RedirectError) as caught:
        face.open().get(site.one.url("/a"))
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("status_code", "follows"), [(301, "GET /b"), (302, "GET /b"), (303, "GET /b"), (307, "POST /b"), (308, "POST /b")]
)
def test_post_that_is_redirected_keeps_its_body_where_it_must(
    face: Face, site: Site, status_code: int, follows: str
) -> None:
    site.redirect("/a", "/b", status_code)
    face.open().request("POST", site.one.url("/a"), content=b"xyz", headers={"Content-Type": "text/x"})
    assert site.lines == ["POST /a", follows]
    _, _, headers, body = site.asked[1]
    if follows == "POST /b":
        assert (body, headers["content-type"], headers["content-length"]) == (b"xyz", "text/x", "3")
    else:
        assert body == b"" and "content-type" not in headers and "content-length" not in headers


def test_body_of_a_file_is_sent_again_from_its_beginning(face: Face, site: Site) -> None:
    site.redirect("/a", "/b", 307)
    file = io.BytesIO(b"0123456789")
    file.seek(4)
    face.open().request("PUT", site.one.url("/a"), content=file)
    assert [body for _, _, _, body in site.asked] == [b"456789", b"456789"]


def test_body_that_cannot_be_sent_again_is_an_error(face: Face, site: Site) -> None:
    site.redirect("/a", "/b", 307)
    with pytest.raises(RedirectError, match="cannot be sent twice"):
        face.open().request("PUT", site.one.url("/a"), content=iter([b"abc"]))
    assert site.lines == ["PUT /a"]


def test_secrets_stay_with_their_origin(face: Face, site: Site) -> None:
    site.redirect("/a", "/b")
    site.redirect("/b", site.other.url("/c"))
    site.redirect("/c", site.one.url("/d"))
    face.open().get(site.one.url("/a"), auth=("u", "pw"), cookies={"own": "1"}, headers={"Authorization-Not": "x"})
    authorization = site.field("authorization")
    assert authorization[0] == authorization[1] == "Basic dTpwdw=="
    # Gone for good, also for the last hop, which goes back to the first origin.
    assert authorization[2:] == [None, None]
    assert site.field("cookie") == ["own=1", "own=1", None, None]
    assert site.field("authorization-not") == ["x"] * 4
    assert [host and host.rpartition(":")[2] for host in site.field("host")] == [
        str(port) for port in (site.one.port, site.one.port, site.other.port, site.one.port)
    ]


def test_secrets_given_as_headers_stay_with_their_origin(face: Face, site: Site) -> None:
    site.redirect("/a", site.other.url("/b"))
    face.open().get(site.one.url("/a"), headers={"authorization": "t", "COOKIE": "a=b"})
    assert site.field("authorization") == ["t", None]
    assert site.field("cookie") == ["a=b", None]


def test_redirect_to_another_origin_has_its_own_connection(face: Face, site: Site) -> None:
    site.redirect("/a", site.other.url("/b"))
    assert face.open().get(site.one.url("/a")).content == b"echo of /b"
    assert site.other.listener.stats().accepted == 1


def test_redirect_with_a_long_body_costs_no_more_than_its_connection(face: Face, site: Site) -> None:
    fields = [("Location", "/b")]
    site.answers["/a"] = lambda exchange: exchange.respond(302, fields, bytes(3_000_000))
    assert face.open().get(site.one.url("/a")).content == b"echo of /b"


def test_body_of_a_stream_is_that_of_the_last_answer(face: Face, site: Site) -> None:
    site.redirect("/a", "/b")
    assert face.open().read_stream(site.one.url("/a")) == b"echo of /b"


def test_redirect_enters_and_leaves_the_links_for_each_request(face: Face, site: Site) -> None:
    site.redirect("/a", site.other.url("/b"))
    spy = Spy()
    response = face.open(spy).get(site.one.url("/a"))
    assert response.content == b"echo of /b" and len(response.history) == 1
    spy.check(times=2)
    assert spy.steps == ["prepare", "enter", "answered", "again", "leave", "enter", "answered", "again", "leave"]


def test_deadline_is_one_for_all_redirects(face: Face, site: Site) -> None:
    kept: list[HttpExchange] = []
    site.redirect("/a", "/b")
    site.answers["/b"] = kept.append
    # A client that waits for its read limit meets the guard of its call first.
    timeouts = Timeouts(read_s=600, total_s=5 if face.ticks else 0.3)
    call = face.open(timeouts=timeouts).begin("GET", site.one.url("/a"))
    if face.ticks:
        face.drive(lambda: kept)
        face.pass_time(5)
    with pytest.raises(TotalTimeout):
        call.result()
    assert site.one.listener.stats().accepted == 1


def test_way_of_one_request_holds_over_its_redirects_and_no_further(face: Face, site: Site) -> None:
    site.redirect("/a", "/b")
    target = f"127.0.0.1:{site.one.port}"
    face.open()
    response = face.get("http://elsewhere.example/a", host_map={"elsewhere.example": target})
    assert (response.content, response.url) == (b"echo of /b", "http://elsewhere.example/b")
    assert site.field("host") == ["elsewhere.example"] * 2
    # A connection of its own each: the way is part of what a connection is known by.
    face.get(site.one.url("/c"))
    assert site.one.listener.stats().accepted == 2
    face.get(site.one.url("/c"), local_address="127.0.0.1")
    assert site.one.listener.stats().accepted == 3


def test_way_that_is_none_is_refused_by_name(face: Face, site: Site) -> None:
    face.open()
    with pytest.raises(InvalidOption, match="host_map"):
        face.get(site.one.url(), host_map={"a": 5})
    with pytest.raises(InvalidOption, match="local_address"):
        face.get(site.one.url(), local_address="nonsense")
    with pytest.raises(InvalidOption, match="follow_redirects"):
        face.get(site.one.url(), follow_redirects=3)
    assert site.asked == []


# What a request and its answer are


def test_answer_tells_its_bytes_and_itself_where_nothing_failed(face: Face, site: Site) -> None:
    response = face.open().get(site.one.url("/"))
    assert response.nbytes == len(response.content) == len(b"echo of /")
    assert response.raise_for_status() is response


def test_status_error_says_of_what(face: Face, site: Site) -> None:
    site.answer("/", (404, []))
    with pytest.raises(StatusError) as caught:
        face.open().get(site.one.url("/?secret")).raise_for_status()
    error = caught.value
    assert (error.method, error.url, error.status_code) == ("GET", site.one.url("/"), 404)
    assert str(error).count("GET") == 1


def test_standard_method_in_another_case_is_meant(face: Face, site: Site) -> None:
    face.open().request("post", site.one.url("/"), content=b"x")
    face.request("Own", site.one.url("/"))
    assert site.lines == ["POST /", "Own /"]


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"verify": False}, "TlsConfig"),
        ({"allow_redirects": False}, "follow_redirects"),
        ({"header": {}}, "headers"),
        ({"content": {"a": 1}}, "data= or json="),
    ],
)
def test_option_of_another_client_is_refused_with_what_it_is_here(
    face: Face, site: Site, options: dict[str, Any], hint: str
) -> None:
    with pytest.raises(InvalidOption, match=hint):
        face.open().get(site.one.url("/"), **options)
    assert site.asked == []


# Cookies


def test_cookies_are_kept_and_sent(face: Face, site: Site) -> None:
    site.answer("/set", (200, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/below")]))
    assert face.open().get(site.one.url("/set")).cookies == {"a": "1", "b": "2"}
    assert face.get(site.one.url("/")).cookies == {}
    face.get(site.one.url("/below/x"))
    assert site.field("cookie")[1:] == ["a=1", "b=2; a=1"]
    assert face.cookies["a"] == "1"
    face.cookies.clear()
    face.get(site.one.url("/"))
    assert site.field("cookie")[-1] is None


def test_cookies_of_a_redirect_are_sent_to_where_it_leads(face: Face, site: Site) -> None:
    site.answer("/login", (303, [("Location", "/home"), ("Set-Cookie", "session=x")]))
    face.open().request("POST", site.one.url("/login"), data={"user": "u"})
    assert site.field("cookie") == [None, "session=x"]


def test_cookies_of_the_request_stand_beside_those_of_the_jar(face: Face, site: Site) -> None:
    jar = Cookies()
    jar.set("a", "jar", domain="127.0.0.1")
    jar.set("b", "jar", domain="127.0.0.1")
    face.open(cookies=jar).get(site.one.url("/"), cookies={"a": "own"})
    assert sorted((site.field("cookie")[0] or "").split("; ")) == ["a=own", "b=jar"]
    face.get(site.one.url("/"))
    assert sorted((site.field("cookie")[1] or "").split("; ")) == ["a=jar", "b=jar"]


def test_client_without_a_jar_keeps_nothing(face: Face, site: Site) -> None:
    site.answer("/set", (200, [("Set-Cookie", "a=1")]))
    face.open(cookies=False).get(site.one.url("/set"))
    face.get(site.one.url("/"))
    assert site.field("cookie") == [None, None]
    with pytest.raises(InvalidOption, match="cookies=False"):
        _ = face.cookies


# Credentials


def test_credentials_of_the_client_are_sent_unless_the_request_has_its_own(face: Face, site: Site) -> None:
    face.open(auth=("u", "pw")).get(site.one.url("/"))
    face.get(site.one.url("/"), auth=("v", "pw"))
    face.get(site.one.url("/"), headers={"Authorization": "mine"})
    face.get(site.one.url("/"), auth=False)
    face.get(site.one.url("/"))
    assert site.field("authorization") == ["Basic dTpwdw==", "Basic djpwdw==", "mine", None, "Basic dTpwdw=="]


@pytest.mark.parametrize("content", [b"", b"xyz"])
def test_digest_answers_the_challenge_and_goes_on_without_one(face: Face, site: Site, content: bytes) -> None:
    challenge = 'Digest realm="r", nonce="n1", qop="auth,auth-int", algorithm=SHA-256'
    site.answer("/", (401, [("WWW-Authenticate", challenge)]), (200, []))
    face.open(auth=DigestAuth("u", "pw"))
    response = face.request("POST", site.one.url("/"), content=content)
    assert response.status_code == 200
    assert [past.status_code for past in response.history] == [401]
    assert [body for _, _, _, body in site.asked] == [content, content]
    face.request("POST", site.one.url("/"), content=content)
    first, second, third = site.field("authorization")
    assert first is None and second is not None and third is not None
    assert "nc=00000001" in second and "nc=00000002" in third
    assert site.one.listener.stats().accepted == 1


def test_wrong_credentials_end_with_the_answer_that_refused_them(face: Face, site: Site) -> None:
    site.answer("/", (401, [("WWW-Authenticate", 'Digest realm="r", nonce="n1", qop="auth"')]))
    response = face.open().get(site.one.url("/"), auth=DigestAuth("u", "pw"))
    assert response.status_code == 401 and response.content == b"body"
    assert len(site.asked) == 2


def test_callable_sees_the_answer_and_may_try_again(face: Face, site: Site) -> None:
    site.answer("/", (401, [("X-Hint", "more")]), (200, []))
    seen: list[tuple[int, int | None]] = []

    def auth(view: AuthView) -> str | None:
        seen.append((view.attempt, view.status_code))
        return None if view.attempt == 0 else "Token t"

    assert face.open().get(site.one.url("/"), auth=auth).status_code == 200
    assert seen == [(0, None), (1, 401)]
    assert site.field("authorization") == [None, "Token t"]


@pytest.mark.parametrize("step", ["authorize", "answer", "note"])
def test_auth_that_fails_is_an_error_that_does_not_say_its_secret(face: Face, site: Site, step: str) -> None:
    site.answer("/", (401 if step == "answer" else 200, []))

    class Broken(Auth):
        def _look(self, now: str) -> None:
            if step == now:
                raise ZeroDivisionError("hunter2")

        def authorize(self, request: AuthRequest) -> str | None:
            self._look("authorize")
            return None

        def answer(self, request: AuthRequest, status_code: int, headers: Any) -> str | None:
            self._look("answer")
            return None

        def note(self, request: AuthRequest, headers: Any) -> None:
            self._look("note")

    with pytest.raises(TurbosockError, match="Broken raised ZeroDivisionError") as caught:
        face.open().get(site.one.url("/"), auth=Broken())
    assert caught.value.code == "auth_failed" and "hunter2" not in str(caught.value)


# Retries


def await_held(face: Face) -> None:
    """Wait until a request of the client sleeps before another attempt."""
    end = time.monotonic() + GUARD_S
    while not face.client.held:
        assert time.monotonic() < end, "nothing is held"


def no_pause(**options: Any) -> RetryPolicy:
    return RetryPolicy(backoff_first_s=0.0001, backoff_cap_s=0.0001, **options)


def test_answer_that_says_later_is_asked_for_again(face: Face, site: Site) -> None:
    site.answer("/", (503, []), (503, []), (200, []))
    response = face.open(retries=no_pause()).get(site.one.url("/"))
    assert (response.status_code, response.content, response.history) == (200, b"body", ())
    assert len(site.asked) == 3


def test_answer_that_says_later_too_often_is_the_answer(face: Face, site: Site) -> None:
    site.answer("/", (503, []))
    response = face.open(retries=no_pause(count=2)).get(site.one.url("/"))
    assert (response.status_code, response.content) == (503, b"body")
    assert len(site.asked) == 3


def test_post_is_not_sent_again_unless_told(face: Face, site: Site) -> None:
    site.answer("/", (503, []))
    assert face.open(retries=no_pause()).request("POST", site.one.url("/"), content=b"x").status_code == 503
    assert len(site.asked) == 1
    face.close()
    face.open(retries=no_pause(methods=("POST",))).request("POST", site.one.url("/"), content=b"x")
    assert len(site.asked) == 5
    assert {body for _, _, _, body in site.asked} == {b"x"}


def test_connection_that_breaks_is_tried_again(face: Face, site: Site) -> None:
    times: list[int] = []

    def action(exchange: HttpExchange) -> None:
        times.append(1)
        if len(times) < 3:
            exchange.abort()
        else:
            exchange.respond(200, content=b"at last")

    site.answers["/"] = action
    assert face.open(retries=no_pause()).get(site.one.url("/")).content == b"at last"
    times.clear()
    with pytest.raises((ReadError, TurbosockError)):
        face.get(site.one.url("/"), content=iter([b"once"]))
    assert len(times) == 1


def test_retry_leaves_and_enters_the_links(face: Face, site: Site) -> None:
    site.answer("/", (503, []), (200, []))
    spy = Spy()
    assert face.open(spy, retries=no_pause()).get(site.one.url("/")).status_code == 200
    spy.check(times=2)


def test_retry_after_is_waited_for_and_can_be_cancelled(face: Face, site: Site) -> None:
    site.answer("/", (503, [("Retry-After", "5")]), (200, []))
    call = face.open(retries=RetryPolicy(), timeouts=Timeouts(total_s=60)).begin("GET", site.one.url("/"))
    if face.ticks:
        face.drive(lambda: face.loop.requests.held)
        face.pass_time(4.9)
        face.loop.poll(0)
        assert len(site.asked) == 1
        face.pass_time(0.2)
        assert call.result().status_code == 200
    else:
        await_held(face)
        call.cancel()
        assert type(call.outcome()).__name__ == "Cancelled"
        assert len(site.asked) == 1


def test_close_ends_the_pause_before_a_retry(face: Face, site: Site) -> None:
    site.answer("/", (503, [("Retry-After", "5")]))
    call = face.open(retries=RetryPolicy(), timeouts=Timeouts(total_s=60)).begin("GET", site.one.url("/"))
    if face.ticks:
        face.drive(lambda: face.loop.requests.held)
    else:
        await_held(face)
    face.close()
    assert type(call.outcome()).__name__ == "ClientClosed"
