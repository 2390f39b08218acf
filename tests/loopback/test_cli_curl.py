"""The command beside curl itself: what a server receives from both for the same options, field by field."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.peers import require
from support.scripted_server import Script, answer, read_request, scripted, send
from turbosock.cli.main import main

INSTALL = "apt-get install -y curl"
ONCE: Script = (read_request, answer())
CHALLENGE = b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\nContent-Length: 0\r\n\r\n'
# What each program says of itself, and the way in which it names the same codings.
OWN_FIELDS = {b"user-agent", b"host", b"accept-encoding"}


def redirect(status_code: int) -> bytes:
    return b"HTTP/1.1 %d Elsewhere\r\nLocation: /there?x=y\r\nContent-Length: 0\r\n\r\n" % status_code


Request = tuple[bytes, dict[bytes, bytes], bytes]


def understood(raw: bytes) -> Request:
    """The request line, the fields that matter, and the body, with a boundary of everybody's."""
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    fields = {name.lower(): value for name, _, value in (field.partition(b": ") for field in lines)}
    assert len(fields) == len(lines), "no field comes twice"
    boundary = re.search(rb"boundary=(\S+)", fields.get(b"content-type", b""))
    if boundary is not None:
        body = body.replace(boundary[1], b"BOUNDARY")
        fields[b"content-type"] = fields[b"content-type"].replace(boundary[1], b"BOUNDARY")
        fields[b"content-length"] = b"%d" % len(body)
    return line, {name: value for name, value in fields.items() if name not in OWN_FIELDS}, body


def curl(*arguments: str, stdin: bytes = b"") -> int:
    """The exit status of curl, without its user's own settings."""
    return subprocess.run(
        [require("curl", INSTALL), "-q", "-sS", "-o", os.devnull, *arguments], input=stdin, timeout=30
    ).returncode


def ours(*arguments: str, stdin: bytes = b"") -> int:
    """The exit status of our command; a process of its own only where it needs a standard input."""
    arguments = ("get", "-o", os.devnull, *arguments)
    if not stdin:
        return main(arguments)
    return subprocess.run([sys.executable, "-m", "turbosock", *arguments], input=stdin, timeout=30).returncode


def both(
    *options: str, script: Script = ONCE, stdin: bytes = b"", url: str | None = None
) -> tuple[list[Request], list[Request]]:
    """What a server receives from curl, and from us."""
    received = []
    for program in (curl, ours):
        with scripted(script) as server:
            own = [option.replace("SERVER", f"127.0.0.1:{server.port}") for option in options]
            assert program(*own, server.url("/path?q") if url is None else url, stdin=stdin) == 0
        received.append([understood(request) for request in server.requests])
    return received[0], received[1]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "file.txt"
    path.write_bytes(b'line "one"\r\nline=two&three\n')
    return str(path)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-X", "DELETE"],
        ["-d", "a=1", "-d", "b=ü c"],
        ["-d", ""],
        ["-d", "@FILE"],
        ["-d", "x", "-d", "@FILE", "--data-raw", "@y", "--data-binary", "@FILE"],
        ["--data-binary", "@FILE"],
        ["-d", "@-"],
        ["--json", "@-"],
        ["--json", '{"a":', "--json", "1}"],
        ["--json", "@FILE"],
        ["--json", "{}", "-H", "Accept: text/plain", "-H", "Content-Type: application/problem+json"],
        ["-X", "PUT", "-H", "Content-Type: text/plain", "-d", "x"],
        ["-F", "a=b", "-F", "c=d=e"],
        ["-F", "a=@FILE"],
        ["-F", "a=@FILE;type=text/x-own;filename=other name"],
        ["-F", 'a=@"FILE";filename="q\\"u;o,te.txt"', "-F", "b=<FILE", "-F", "c=x;type=text/html"],
        ["-F", 'na"me=va"lue', "-F", 'b="x;y"', "--form-string", "c=@x;y"],
        ["-u", "user:pass:wörd"],
        ["-u", "user:"],
        ["--oauth2-bearer", "token"],
        ["-H", "X-Own: value", "-H", "User-Agent: mine"],
    ],
    ids=" ".join,
)
def test_request_is_that_of_curl(options: list[str], file: str) -> None:
    stdin = b"from\nelsewhere" if "@-" in options else b""
    theirs, mine = both(*(option.replace("FILE", file) for option in options), stdin=stdin)
    assert mine == theirs


@pytest.mark.parametrize("status_code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("options", [["-d", "a=1"], ["-u", "user:password"], ["--json", "{}"]], ids=" ".join)
def test_redirects_are_followed_as_by_curl(status_code: int, options: list[str]) -> None:
    theirs, mine = both("-L", *options, script=[read_request, send(redirect(status_code)), read_request, answer()])
    if status_code in (301, 302, 303) and options[0] == "--json":
        # A body that is not sent has no type; curl has made it a field of the user's.
        assert theirs[1][1].pop(b"content-type") == b"application/json"
    assert mine == theirs


def test_redirect_with_a_method_of_the_users_own_differs_from_curl() -> None:
    script = [read_request, send(redirect(303)), read_request, answer()]
    theirs, mine = both("-L", "-X", "PUT", "-d", "a=1", script=script)
    assert mine[0] == theirs[0]
    assert (theirs[1][0], mine[1][0]) == (b"PUT /there?x=y HTTP/1.1", b"GET /there?x=y HTTP/1.1")


def test_proxy_is_asked_as_by_curl() -> None:
    theirs, mine = both("-x", "http://us%40er:pass@SERVER", url="http://host.invalid/path?q")
    # No field of any standard.
    assert theirs[0][1].pop(b"proxy-connection")
    assert mine == theirs


def test_codings_are_asked_for_as_by_curl() -> None:
    names = []
    for program in (curl, ours):
        with scripted(ONCE) as server:
            assert program("--compressed", server.url()) == 0
        found = re.search(rb"(?m)^Accept-Encoding: (.*)\r$", server.requests[0])
        assert found is not None
        names.append({name.strip() for name in found[1].split(b",")})
    assert {b"gzip", b"deflate"} <= names[0] & names[1]


def test_digest_proves_what_curl_proves_and_sends_the_body_at_once() -> None:
    script = [read_request, send(CHALLENGE), read_request, answer()]
    theirs, mine = both("--digest", "-u", "user:password", "-d", "a=1", script=script)
    assert (theirs[0][2], mine[0][2]) == (b"", b"a=1")
    proofs = [dict(re.findall(rb'(\w+)="?([^",]*)', each[1][1].pop(b"authorization"))) for each in (theirs, mine)]
    for proof in proofs:
        assert len(proof.pop(b"response")) == 32
        assert proof.pop(b"cnonce")
    assert proofs[0] == proofs[1]
    assert mine[1] == theirs[1]


def test_pipe_is_sent_in_chunks_where_curl_reads_it_first() -> None:
    theirs, mine = both("--data-binary", "@-", stdin=b"data")
    assert (theirs[0][2], mine[0][2]) == (b"data", b"4\r\ndata\r\n0\r\n\r\n")
