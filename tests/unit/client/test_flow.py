"""Flow: which request comes after an answer or a failure, in what order it is asked, and what it carries."""

from __future__ import annotations

from typing import Any

import pytest

from turbosock.buffers import BufferPool
from turbosock.client.auth import AuthView
from turbosock.client.flow import Flow, Hop
from turbosock.client.request import PreparedRequest, Preparer
from turbosock.client.retries import RetryPolicy
from turbosock.client.session import Session
from turbosock.config import PoolConfig
from turbosock.errors import (
    ConnectError,
    ReadError,
    ReadTimeout,
    RedirectError,
    TotalTimeout,
    TurbosockError,
    WriteError,
)
from turbosock.pool.connection_pool import ConnectionPool
from turbosock.protocol.http1.head import ResponseHead, parse_response_head
from turbosock.reactor.clock import NS_PER_S

URL = "http://example.com/path"
FAR_NS = 10**18
POLICY = RetryPolicy(backoff_first_s=1, backoff_cap_s=1)


class Stage:
    """A session, and one request of it."""

    def __init__(self, method: str = "GET", url: str = URL, **options: Any) -> None:
        own = {name: options.pop(name) for name in ("redirects", "retries", "cookies") if name in options}
        self.session = Session(Preparer(ConnectionPool(PoolConfig()), []), BufferPool(), None, None, **own)
        order = self.session.request(method, url, **options)
        self.prepared = order.prepared
        self.source = order.source
        self.flow = Flow(self.session) if order.flow is None else order.flow

    def after(self, status_code: int, *fields: tuple[str, str], **options: Any) -> Hop | None:
        """What comes after an answer; it is then the request of the stage."""
        return self._go(answer(status_code, *fields), None, **options)

    def after_failure(self, failure: TurbosockError, **options: Any) -> Hop | None:
        """What comes after a failure."""
        return self._go(None, failure, **options)

    def _go(self, head: ResponseHead | None, failure: TurbosockError | None, deadline_ns: int = FAR_NS) -> Hop | None:
        hop = self.flow.after(self.prepared, head, failure, 0, deadline_ns)
        if hop is not None:
            self.prepared = self.flow.again(self.prepared) if hop.prepared is None else hop.prepared
        return hop


def answer(status_code: int, *fields: tuple[str, str]) -> ResponseHead:
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    data = bytearray(f"HTTP/1.1 {status_code} Reason\r\n{lines}\r\n".encode())
    head = parse_response_head(data, 0, len(data), "GET")
    assert head is not None
    return head


def line(prepared: PreparedRequest) -> str:
    return prepared.head.split(b" HTTP/1.1\r\n")[0].decode()


def field(prepared: PreparedRequest, name: str) -> str | None:
    for each in prepared.head.decode("latin-1").split("\r\n")[1:]:
        key, _, value = each.partition(": ")
        if key.lower() == name.lower():
            return value
    return None


@pytest.mark.parametrize("status_code", [200, 204, 304, 400, 401, 407, 500, 503])
def test_answer_that_asks_for_nothing_stands(status_code: int) -> None:
    stage = Stage()
    assert stage.after(status_code) is None
    assert stage.flow.history == ()


@pytest.mark.parametrize("failure", [ReadError("x"), ConnectError("x"), ReadTimeout("x")])
def test_failure_without_a_policy_stands(failure: TurbosockError) -> None:
    assert Stage().after_failure(failure) is None


def test_redirect_comes_at_once_and_is_remembered() -> None:
    stage = Stage()
    hop = stage.after(302, ("Location", "/other#there"))
    assert hop is not None and hop.delay_ns == 0
    assert line(stage.prepared) == "GET /other"
    assert stage.prepared.url.shown == "http://example.com/other#there"
    (past,) = stage.flow.history
    assert (past.status_code, past.method, past.url, past.reason) == (302, "GET", URL, "Reason")
    assert repr(past) == "<PastAnswer GET 302>"


def test_redirect_is_not_followed_where_the_request_or_the_session_says_so() -> None:
    assert Stage(follow_redirects=False).after(302, ("Location", "/other")) is None
    assert Stage(redirects=None).after(302, ("Location", "/other")) is None
    assert Stage(redirects=None, follow_redirects=True).after(302, ("Location", "/other")) is not None


def test_redirect_that_drops_the_body_releases_it() -> None:
    data = bytearray(b"body")
    stage = Stage("POST", content=data)
    hop = stage.after(303, ("Location", "/other"))
    assert hop is not None and line(stage.prepared) == "GET /other" and stage.flow.source is None
    data.append(1)


def test_redirect_that_keeps_the_body_sends_it_from_its_beginning() -> None:
    stage = Stage("PUT", content=b"body")
    assert stage.source is not None
    stage.source.next_block()
    hop = stage.after(307, ("Location", "/other"))
    assert hop is not None and stage.flow.source is stage.source
    assert (line(stage.prepared), field(stage.prepared, "content-length")) == ("PUT /other", "4")
    assert stage.source.next_block() == b"body"


def test_cookies_are_kept_before_the_next_request_is_made() -> None:
    stage = Stage()
    hop = stage.after(302, ("Set-Cookie", "a=1; Path=/"), ("Location", "/other"))
    assert hop is not None and field(stage.prepared, "cookie") == "a=1"


def test_cookies_of_an_answer_that_cannot_be_followed_are_kept() -> None:
    stage = Stage()
    with pytest.raises(RedirectError):
        stage.after(302, ("Set-Cookie", "a=1; Path=/"), ("Location", "ftp://host/"))
    assert stage.session.cookies["a"] == "1"


def test_challenge_goes_before_a_retry_and_a_redirect_ends_it() -> None:
    views: list[tuple[int, int | None]] = []

    def auth(view: AuthView) -> str | None:
        views.append((view.attempt, view.status_code))
        return f"Token {len(views)}"

    stage = Stage(auth=auth, retries=RetryPolicy(statuses=(401,)))
    hop = stage.after(401)
    assert hop is not None and (hop.delay_ns, field(stage.prepared, "authorization")) == (0, "Token 2")
    hop = stage.after(302, ("Location", "/other"))
    assert hop is not None and field(stage.prepared, "authorization") == "Token 3"
    assert views == [(0, None), (1, 401), (0, None)]
    assert [past.status_code for past in stage.flow.history] == [401, 302]


def test_challenge_of_another_origin_is_not_answered() -> None:
    stage = Stage(auth=lambda view: f"Token {view.attempt}")
    hop = stage.after(302, ("Location", "http://other.example/"))
    assert hop is not None and field(stage.prepared, "authorization") is None
    assert stage.after(401) is None
    hop = stage.after(302, ("Location", URL))
    assert hop is not None and field(stage.prepared, "authorization") is None


def test_retry_waits_and_is_not_remembered() -> None:
    stage = Stage(retries=POLICY)
    hop = stage.after(503, ("Retry-After", "2"))
    assert hop is not None and (hop.delay_ns, line(stage.prepared)) == (2 * NS_PER_S, "GET /path")
    assert stage.flow.history == ()


def test_attempts_are_counted_over_redirects() -> None:
    stage = Stage(retries=RetryPolicy(count=2, budget=None))
    assert stage.after(503) is not None
    assert stage.after(302, ("Location", "/other")) is not None
    assert stage.after(503) is not None
    assert stage.after(503) is None


def test_retry_has_the_cookies_that_the_refusal_set() -> None:
    stage = Stage(retries=POLICY)
    hop = stage.after(503, ("Set-Cookie", "way=2; Path=/"))
    assert hop is not None and field(stage.prepared, "cookie") == "way=2"


def test_retry_asks_for_credentials_anew() -> None:
    tokens = iter(["one", "two"])
    stage = Stage(retries=POLICY, auth=lambda view: next(tokens))
    assert field(stage.prepared, "authorization") == "one"
    hop = stage.after(503)
    assert hop is not None and field(stage.prepared, "authorization") == "two"


def test_retry_after_a_redirect_away_still_has_no_credentials() -> None:
    stage = Stage(retries=POLICY, auth=("u", "pw"), headers={"Cookie": "a=1"})
    assert stage.after(302, ("Location", "http://other.example/")) is not None
    hop = stage.after(503)
    assert hop is not None
    assert field(stage.prepared, "authorization") is field(stage.prepared, "cookie") is None


def test_failure_is_tried_again_where_the_policy_says_so() -> None:
    assert Stage(retries=POLICY).after_failure(ReadTimeout("x")) is not None
    assert Stage(retries=POLICY).after_failure(TotalTimeout("x")) is None
    assert Stage("POST", content=b"x", retries=POLICY).after_failure(ReadTimeout("x")) is None
    assert Stage("POST", content=b"x", retries=POLICY).after_failure(ConnectError("x")) is not None


def test_body_that_cannot_be_sent_again_leaves_a_challenge_and_a_refusal_as_they_are() -> None:
    for status_code in (401, 503):
        stage = Stage("PUT", content=iter([b"x"]), retries=POLICY, auth=lambda view: "Token")
        assert stage.after(status_code) is None
        # An answer may be kept for long, and what was sent for it is the user's.
        assert stage.flow.source is None


def test_credentials_of_another_attempt_are_asked_for_when_its_time_has_come() -> None:
    asked: list[int] = []
    stage = Stage(retries=POLICY, auth=lambda view: asked.append(1))
    hop = stage.flow.after(stage.prepared, answer(503, ("Retry-After", "60")), None, 0, FAR_NS)
    assert hop is not None and hop.prepared is None and len(asked) == 1
    stage.flow.again(stage.prepared)
    assert len(asked) == 2


def test_body_that_fails_to_rewind_is_the_error() -> None:
    class Stuck:
        def __init__(self) -> None:
            self.reads = 0

        def read(self, size: int = -1) -> bytes:
            self.reads += 1
            return b"x" if self.reads == 1 else b""

        def seekable(self) -> bool:
            return True

        def tell(self) -> int:
            return 0

        def seek(self, offset: int, whence: int = 0) -> int:
            if self.reads:
                raise OSError("stuck")
            return 0

    stage = Stage("PUT", content=Stuck(), retries=POLICY)
    assert stage.source is not None
    stage.source.next_block()
    with pytest.raises(WriteError):
        stage.after(503)


def test_pause_beyond_the_deadline_is_no_retry() -> None:
    assert Stage(retries=POLICY).after(503, ("Retry-After", "2"), deadline_ns=2 * NS_PER_S) is None
