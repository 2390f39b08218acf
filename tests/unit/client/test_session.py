"""Session: when a plain GET is a look-up, when a Flow is made, and whose jar it is."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from support.in_thread import InThread
from turbosock.buffers import BufferPool
from turbosock.client import cookies as cookies_module
from turbosock.client.auth import BasicAuth
from turbosock.client.cookies import Cookies
from turbosock.client.flow import Flow
from turbosock.client.middleware import Draft, Middleware
from turbosock.client.middleware.chain import Chain
from turbosock.client.redirects import RedirectPolicy
from turbosock.client.request import Preparer
from turbosock.client.retries import RetryPolicy
from turbosock.client.session import Session
from turbosock.client.url import Url
from turbosock.config import PoolConfig
from turbosock.errors import InvalidOption
from turbosock.pool.connection_pool import ConnectionPool
from turbosock.protocol.http1.headers import HeaderList

URL = "http://example.com/path"


def make(chain: Chain | None = None, **options: Any) -> Session:
    return Session(Preparer(ConnectionPool(PoolConfig()), []), BufferPool(), None, chain, **options)


class Adding(Middleware):
    """Adds a field to every request."""

    def prepare(self, draft: Draft) -> None:
        draft.set_default("X-Added", "yes")


class Watching(Middleware):
    """Changes nothing."""


def test_plain_get_that_was_asked_for_before_is_a_look_up() -> None:
    session = make()
    assert session.find_get(URL) is None
    order = session.request("GET", URL)
    assert (order.source, order.flow) == (None, None)
    assert session.find_get(URL) is order.prepared


@pytest.mark.parametrize(
    "options",
    [{"retries": RetryPolicy()}, {"auth": ("u", "pw")}, {"cookies": Cookies()}],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_get_of_a_session_that_does_more_is_no_look_up(options: dict[str, Any]) -> None:
    session = make(**options)
    session.request("GET", URL)
    assert session.find_get(URL) is None


@pytest.mark.parametrize("options", [{}, {"redirects": None}, {"redirects": RedirectPolicy(1)}, {"cookies": False}])
def test_get_of_a_session_that_only_decides_on_answers_is_a_look_up(options: dict[str, Any]) -> None:
    session = make(**options)
    session.request("GET", URL)
    assert session.find_get(URL) is not None


def test_first_cookie_ends_the_look_up() -> None:
    session = make()
    prepared = session.request("GET", URL).prepared
    session.keep_cookies(prepared.url, HeaderList([("Set-Cookie", "a=1; Path=/")]))
    assert session.find_get(URL) is None
    again = session.request("GET", URL)
    assert b"\r\nCookie: a=1\r\n" in again.prepared.head and again.flow is None
    assert session.request("GET", URL).prepared is again.prepared


def test_session_without_a_jar_keeps_looking_up() -> None:
    session = make(cookies=False)
    prepared = session.request("GET", URL).prepared
    session.keep_cookies(prepared.url, HeaderList([("Set-Cookie", "a=1")]))
    assert session.find_get(URL) is prepared
    with pytest.raises(InvalidOption, match="cookies=False"):
        _ = session.cookies


def test_links_that_change_requests_see_each_of_them() -> None:
    session = make(Chain([Adding()]))
    found = session.find_get(URL)
    assert found is not None and b"X-Added: yes" in found.head
    assert session.find_get(URL) is found


def test_links_that_change_no_request_are_not_asked() -> None:
    session = make(Chain([Watching()]))
    assert session.find_get(URL) is None


@pytest.mark.parametrize(
    "options",
    [
        {"auth": ("u", "pw")},
        {"cookies": {"a": "1"}},
        {"follow_redirects": False},
        {"proxy": False},
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_request_that_has_what_decides_on_others_has_a_flow(options: dict[str, Any]) -> None:
    order = make().request("POST", URL, content=b"x", **options)
    assert isinstance(order.flow, Flow)
    assert order.flow.source is order.source


def test_auth_of_the_request_goes_before_that_of_the_session() -> None:
    session = make(auth=("u", "pw"))
    assert b"\r\nAuthorization: Basic dTpwdw==\r\n" in session.request("GET", URL).prepared.head
    assert (
        b"\r\nAuthorization: Basic djpwdw==\r\n" in session.request("GET", URL, auth=BasicAuth("v", "pw")).prepared.head
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"redirects": 5}, "redirects"),
        ({"retries": 3}, "retries"),
        ({"auth": "token"}, "auth"),
        ({"cookies": {"a": "1"}}, "cookies"),
        ({"cookies": True}, "cookies"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_argument_that_is_something_else_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidOption, match=f"^{named}"):
        make(**options)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"follow_redirects": 1}, "follow_redirects"), ({"cookies": "a=1"}, "cookies"), ({"auth": ("u",)}, "auth")],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_option_of_a_request_that_is_something_else_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidOption, match=f"^{named}"):
        make().request("GET", URL, **options)


def test_body_of_a_request_that_is_refused_is_released() -> None:
    data = bytearray(b"body")
    with pytest.raises(InvalidOption):
        make().request("POST", URL, content=data, auth=lambda view: 5)  # type: ignore[arg-type]  # a number is refused
    # Nothing views it any more.
    data.append(1)


@pytest.fixture
def slow_jars(monkeypatch: pytest.MonkeyPatch) -> threading.Barrier:
    """Two threads that make a jar do so at the same time."""
    together = threading.Barrier(2)

    class Slow(Cookies):
        def __init__(self) -> None:
            together.wait(10)
            super().__init__()

    monkeypatch.setattr(cookies_module, "Cookies", Slow)
    return together


def test_threads_whose_first_cookies_come_at_once_share_a_jar(slow_jars: threading.Barrier) -> None:
    session = make()
    url = Url(URL)

    def keep(name: str) -> None:
        session.keep_cookies(url, HeaderList([("Set-Cookie", f"{name}=1; Path=/")]))

    running = [InThread(lambda name=name: keep(name)) for name in ("a", "b")]  # type: ignore[misc]  # bound at once
    assert [thread.outcome() for thread in running] == [None, None]
    assert sorted(session.cookies.keys()) == ["a", "b"]
