"""Module functions: one Client for all of them, made at the first call, in the child of a fork as well."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Literal

import pytest

import turbosock
from support.forks import NEEDS_FORK, held_elsewhere, in_child
from support.in_thread import InThread
from support.scripted_server import answer, read_request, scripted, send
from turbosock import api
from turbosock.api import SharedClient
from turbosock.errors import ClientClosed, InvalidOption

METHODS = {
    "get": turbosock.get,
    "head": turbosock.head,
    "options": turbosock.options,
    "delete": turbosock.delete,
    "post": turbosock.post,
    "put": turbosock.put,
    "patch": turbosock.patch,
}
RACERS = 8


@pytest.fixture(autouse=True)
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[SharedClient]:
    """A shared client of this test's own."""
    fresh = SharedClient()
    monkeypatch.setattr(api, "_default", fresh)
    yield fresh
    fresh.close()


@pytest.mark.parametrize("name", METHODS)
def test_function_sends_its_method_with_its_options(name: str) -> None:
    with scripted([read_request, send(b"HTTP/1.1 204 No Content\r\n\r\n")]) as server:
        response = METHODS[name](server.url("/path"), params={"a": "b"}, headers={"X-Own": "yes"}, timeout=10)
    assert response.status_code == 204
    [request] = server.requests
    assert request.startswith(b"%b /path?a=b HTTP/1.1\r\n" % name.upper().encode())
    assert b"X-Own: yes\r\n" in request


def test_request_and_stream_do_what_a_clients_do() -> None:
    with scripted([read_request, answer(b"one"), read_request, answer(b"two")]) as server:
        assert turbosock.request("PURGE", server.url(), content=b"body").content == b"one"
        with turbosock.stream("GET", server.url()) as response:
            assert response.read() == b"two"
    assert server.requests[0].startswith(b"PURGE / HTTP/1.1\r\n")
    assert server.requests[0].endswith(b"\r\n\r\nbody")
    assert server.accepted == 1


def test_functions_refuse_what_a_client_refuses() -> None:
    with pytest.raises(InvalidOption, match="timeout"):
        turbosock.get("http://host.invalid/", timeout=-1)


def test_calls_share_connections_and_no_cookies() -> None:
    head = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\n"
    with scripted([read_request, answer(b"1", head), read_request, answer(b"2")]) as server:
        assert turbosock.get(server.url()).content == b"1"
        assert turbosock.get(server.url()).content == b"2"
    assert server.accepted == 1
    assert b"cookie" not in server.requests[1].lower()


def test_client_is_made_by_the_first_call_and_once_however_many_threads_race(
    shared: SharedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[turbosock.Client] = []
    alone: list[bool] = []
    together = threading.Barrier(RACERS)

    class Noted(turbosock.Client):
        def __init__(self, *, cookies: Literal[False]) -> None:
            # Two threads need not meet here in every run: that they could not is what is shown.
            alone.append(shared._lock.locked())
            super().__init__(cookies=cookies)
            made.append(self)

    monkeypatch.setattr(api, "Client", Noted)

    def first_use() -> turbosock.Client:
        together.wait()
        return shared.client()

    racers = [InThread(first_use) for _ in range(RACERS)]
    found = {id(racer.outcome()) for racer in racers}
    assert found == {id(made[0])}
    assert (len(made), alone) == (1, [True])


def test_client_that_cannot_be_made_is_asked_for_again(shared: SharedClient, monkeypatch: pytest.MonkeyPatch) -> None:
    real = turbosock.Client

    def refuse(*, cookies: bool) -> turbosock.Client:
        raise InvalidOption("no")

    monkeypatch.setattr(api, "Client", refuse)
    with pytest.raises(InvalidOption):
        shared.client()
    monkeypatch.setattr(api, "Client", real)
    assert not shared.client().closed


def test_close_ends_the_client_and_the_next_call_has_a_new_one(shared: SharedClient) -> None:
    first = shared.client()
    shared.close()
    shared.close()
    with pytest.raises(ClientClosed):
        first.get("http://host.invalid/")
    assert shared.client() is not first


@NEEDS_FORK
def test_child_of_a_fork_has_connections_of_its_own(shared: SharedClient) -> None:
    parents = [read_request, answer(b"parent")] * 2
    with scripted(parents, [read_request, answer(b"child")]) as server:
        assert turbosock.get(server.url()).content == b"parent"

        def use() -> None:
            assert turbosock.get(server.url()).content == b"child"

        in_child(use)
        assert turbosock.get(server.url()).content == b"parent"


@NEEDS_FORK
def test_child_of_a_fork_in_the_midst_of_the_first_call_makes_its_own(shared: SharedClient) -> None:
    with held_elsewhere(shared._lock):
        in_child(lambda: shared.client().close())


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True)


def test_exit_closes_the_client_after_the_programs_own_handlers() -> None:
    program = """
import atexit, sys, turbosock
from turbosock import api

client = api._default.client()
real = turbosock.Client.close

def told(self):
    print("closed", self is client)
    real(self)

turbosock.Client.close = told
atexit.register(lambda: print("handler", client.closed))
"""
    done = run(program)
    assert (done.stdout, done.stderr) == ("handler False\nclosed True\n", "")


def test_import_makes_no_client() -> None:
    done = run("import turbosock; from turbosock import api; print(api._default._client)")
    assert (done.stdout, done.stderr) == ("None\n", "")
