"""`turbosock sse` against servers that play a script: what is printed, what is sent, how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from signal import SIGINT

import pytest

from support.event_peer import HEAD
from support.scripted_server import Script, await_close, close, read_request, scripted, send, stall
from turbosock.cli.exit_status import ExitStatus
from turbosock.cli.main import main

COMMAND = [sys.executable, "-m", "turbosock", "sse"]
EVENTS = b"id: 1\ndata: first\n\nevent: tick\nid: 2\ndata: a\ndata: b\x1b\n\nretry: 5\ndata: \xe2\x82\xac\n\n"
STOP: Script = (read_request, send(b"HTTP/1.1 204 No Content\r\n\r\n"), await_close)
FEED: Script = (read_request, send(HEAD + EVENTS), close)


def printed(capfd: pytest.CaptureFixture[str], *options: str, scripts: tuple[Script, ...] = (FEED, STOP)) -> str:
    with scripted(*scripts) as server:
        assert main(["sse", server.url("/feed"), *options]) == ExitStatus.OK
    return capfd.readouterr().out


def test_event_is_a_line_that_no_data_can_break(capfd: pytest.CaptureFixture[str]) -> None:
    assert printed(capfd) == "first\na\\nb\\x1b\n€\n"


def test_event_is_an_object_with_all_that_it_says(capfd: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in printed(capfd, "--json").splitlines()]
    assert lines == [
        {"event": "message", "id": "1", "data": "first"},
        {"event": "tick", "id": "2", "data": "a\nb\x1b"},
        {"event": "message", "id": "2", "data": "€", "retry": 5},
    ]


def test_events_of_other_types_are_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    assert printed(capfd, "--event", "tick") == "a\\nb\\x1b\n"
    assert printed(capfd, "--event", "message", "--event", "none") == "first\n€\n"


def test_count_ends_the_stream(capfd: pytest.CaptureFixture[str]) -> None:
    endless: Script = (read_request, send(HEAD + EVENTS), await_close)
    assert printed(capfd, "-n", "2", scripts=(endless,)) == "first\na\\nb\\x1b\n"


def test_timeout_is_told_as_it_was_given_and_not_as_what_was_left(capfd: pytest.CaptureFixture[str]) -> None:
    with scripted((read_request, stall)) as server:
        assert main(["sse", "-m", "0.2", server.url("/")]) == ExitStatus.TIMEOUT
    assert "the total deadline of 0.2 s passed" in capfd.readouterr().err


def test_stream_goes_on_over_connections_and_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    with scripted(FEED, FEED, STOP) as server:
        assert main(["sse", server.url("/"), "--last-event-id", "0", "-v"]) == ExitStatus.OK
    captured = capfd.readouterr()
    assert captured.out.count("first") == 2
    assert "* connection 1 tells events\n* connection 2 tells events, to be asked again after 5" in captured.err
    assert b"Last-Event-ID: 0\r\n" in server.requests[0]
    assert b"Last-Event-ID: 2\r\n" in server.requests[1]


def test_stream_ends_with_its_connection_where_that_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    assert printed(capfd, "--no-reconnect", scripts=(FEED,)).count("\n") == 3


def test_body_is_posted_once(capfd: pytest.CaptureFixture[str]) -> None:
    with scripted(FEED) as server:
        assert (
            main(["sse", server.url("/"), "-d", '{"a":1}', "-H", "Content-Type: application/json", "--bearer", "key"])
            == ExitStatus.OK
        )
    (request,) = server.requests
    assert request.startswith(b"POST / ") and request.endswith(b'\r\n\r\n{"a":1}')
    assert b"Authorization: Bearer key\r\n" in request
    assert request.count(b"Content-Type: application/json") == 1


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", ExitStatus.HTTP_STATUS),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", ExitStatus.PROTOCOL),
        (b"", ExitStatus.NETWORK),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", ExitStatus.HTTP_STATUS),
    ],
)
def test_what_is_no_stream_is_told_at_once(
    answer: bytes, status: ExitStatus, capfd: pytest.CaptureFixture[str]
) -> None:
    with scripted((read_request, send(answer), close)) as server:
        assert main(["sse", server.url("/")]) == status
        assert server.accepted <= 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("turbosock: ")


def test_time_limit_holds_for_the_whole(capfd: pytest.CaptureFixture[str]) -> None:
    with scripted((read_request, send(HEAD), await_close)) as server:
        assert main(["sse", server.url("/"), "-m", "0.1"]) == ExitStatus.TIMEOUT


def test_line_is_written_when_its_event_has_come_and_an_interrupt_ends_quietly() -> None:
    with scripted((read_request, send(HEAD + b"data: now\n\n"), await_close)) as server:
        process = subprocess.Popen(
            [*COMMAND, server.url("/")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "now\n"
            process.send_signal(SIGINT)
            out, err = process.communicate(timeout=10)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == ExitStatus.INTERRUPTED
        assert (out, err) == ("", "turbosock: interrupted\n")
