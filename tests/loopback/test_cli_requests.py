"""What the command sends for its options of bodies, credentials, ways and redirects, and how it ends without them."""

from __future__ import annotations

import gzip
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from signal import SIGINT

import pytest

from support.har import check_har
from support.peers import unused_port
from support.proxies import take_connect
from support.scripted_server import (
    Peer,
    Script,
    answer,
    await_close,
    close,
    read_head,
    read_request,
    scripted,
    send,
)
from turbosock import limits
from turbosock.cli.exit_status import ExitStatus
from turbosock.cli.main import main
from turbosock.connection.file_source import FileSource

COMMAND = [sys.executable, "-m", "turbosock"]


def redirect(location: str, status_code: int = 302) -> bytes:
    return b"HTTP/1.1 %d Elsewhere\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status_code, location.encode())


ONCE: Script = (read_request, answer())


def sent(*options: str, script: Script = ONCE) -> list[bytes]:
    """What a server gets for these options."""
    with scripted(script) as server:
        assert main(["get", server.url("/path"), *options]) == ExitStatus.OK
    return server.requests


def field(request: bytes, name: str) -> str | None:
    found = re.search(rb"(?im)^%b: (.*)\r$" % name.encode(), request)
    return None if found is None else found[1].decode()


# Bodies


def test_data_of_a_file_is_sent_without_its_line_ends(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a=1\r\n&b=2\n")
    [request] = sent("-d", "x=y", "-d", f"@{tmp_path}/file")
    assert request.endswith(b"\r\n\r\nx=y&a=1&b=2")


def test_json_is_sent_as_json_and_asked_for() -> None:
    [request] = sent("--json", '{"a": 1}')
    assert request.startswith(b"POST /path HTTP/1.1\r\n")
    assert request.endswith(b'\r\n\r\n{"a": 1}')
    assert (field(request, "Content-Type"), field(request, "Accept")) == ("application/json", "application/json")


def test_json_leaves_what_headers_say() -> None:
    [request] = sent("--json", "{}", "-H", "accept: text/html", "-H", "Content-Type: application/problem+json")
    assert (field(request, "Content-Type"), field(request, "Accept")) == ("application/problem+json", "text/html")


def test_binary_file_is_streamed_with_its_length(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    (tmp_path / "file").write_bytes(content)
    [request] = sent("-X", "PUT", "--data-binary", f"@{tmp_path}/file")
    assert field(request, "Content-Length") == str(len(content))
    assert request.endswith(b"\r\n\r\n" + content)


def test_binary_standard_input_is_sent_in_chunks() -> None:
    with scripted([read_request, answer()]) as server:
        command = [*COMMAND, "get", server.url(), "--data-binary", "@-"]
        assert subprocess.run(command, input=b"a\nb", capture_output=True).returncode == ExitStatus.OK
    [request] = server.requests
    assert field(request, "Transfer-Encoding") == "chunked"
    assert request.endswith(b"\r\n\r\n3\r\na\nb\r\n0\r\n\r\n")


def test_form_has_fields_and_files(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_bytes(b"line\n")
    [request] = sent("-F", "a=b", "-F", f"c=@{tmp_path}/file.txt;filename=d", "--form-string", "e=@f;g")
    content_type = field(request, "Content-Type")
    assert content_type is not None
    boundary = content_type.partition("boundary=")[2].encode()
    assert request.partition(b"\r\n\r\n")[2].split(b"--" + boundary) == [
        b"",
        b'\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n',
        b'\r\nContent-Disposition: form-data; name="c"; filename="d"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\nline\n\r\n",
        b'\r\nContent-Disposition: form-data; name="e"\r\n\r\n@f;g\r\n',
        b"--\r\n",
    ]


@pytest.mark.parametrize("options", [["-d", "@{}"], ["--json", "@{}"], ["--data-binary", "@{}"], ["-F", "a=@{}"]])
def test_file_that_cannot_be_read_is_named_before_anything_is_sent(
    options: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = f"{tmp_path}/missing"
    output = f"{tmp_path}/output"
    command = ["get", "http://host.invalid/", "-o", output, *(option.format(missing) for option in options)]
    assert main(command) == ExitStatus.INPUT
    assert capfd.readouterr().err == f"turbosock: {missing}: No such file or directory; check the path\n"
    assert not os.path.exists(output)


def test_directory_to_send_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "http://host.invalid/", "-d", f"@{tmp_path}"]) == ExitStatus.INPUT
    assert f"{tmp_path}: Is a directory" in capfd.readouterr().err


@pytest.mark.parametrize("option", ["--data-binary", "-F"])
def test_file_that_shrinks_while_it_is_sent_has_its_status(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    begin = FileSource.next_block

    def shrink_and_begin(self: FileSource) -> object:
        os.truncate(path, 10)
        return begin(self)

    monkeypatch.setattr(FileSource, "next_block", shrink_and_begin)
    with scripted([read_head, await_close]) as server:
        value = f"@{path}" if option == "--data-binary" else f"a=@{path}"
        assert main(["get", server.url(), option, value]) == ExitStatus.INPUT
    assert "ended" in capfd.readouterr().err


# Credentials


def test_digest_answers_the_challenge_with_the_body() -> None:
    challenge = (
        b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\nContent-Length: 0\r\n\r\n'
    )
    first, second = sent(
        "--digest", "-u", "user:password", "-d", "a=1", script=[read_request, send(challenge), read_request, answer()]
    )
    assert field(first, "Authorization") is None
    authorization = field(second, "Authorization")
    assert authorization is not None
    assert authorization.startswith('Digest username="user", realm="r"')
    assert second.endswith(b"\r\n\r\na=1")


def test_credentials_of_the_command_line_replace_those_of_the_url() -> None:
    with scripted([read_request, answer()]) as server:
        url = server.url().replace("http://", "http://other:one@")
        assert main(["get", url, "-u", "user:password"]) == ExitStatus.OK
    assert field(server.requests[0], "Authorization") == "Basic dXNlcjpwYXNzd29yZA=="


def test_password_is_asked_for_on_the_terminal_and_not_shown() -> None:
    with scripted([read_request, answer(b"whole")]) as server:
        child, terminal = pty.fork()
        if child == 0:
            try:
                os.execv(sys.executable, [*COMMAND, "get", server.url(), "-u", "user"])
            finally:
                # Never two test runs.
                os._exit(127)
        said = b""
        while b"password: " not in said:
            said += os.read(terminal, 1024)
        os.write(terminal, b"s3cr3t\n")
        try:
            while data := os.read(terminal, 1024):
                said += data
        except OSError:
            # Linux's way of saying that nobody has the terminal open any more.
            pass
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == ExitStatus.OK
    assert b"s3cr3t" not in said
    assert said.endswith(b"whole")
    assert field(server.requests[0], "Authorization") == "Basic dXNlcjpzM2NyM3Q="


def test_password_without_a_terminal_is_refused() -> None:
    command = [*COMMAND, "get", "http://host.invalid/", "-u", "user"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True)
    assert done.returncode == ExitStatus.USAGE
    assert done.stderr.startswith(b"turbosock: -u: ")


# Ways


def test_proxy_gets_the_request(capfd: pytest.CaptureFixture[str]) -> None:
    with scripted([read_request, answer()]) as proxy:
        way = f"user:s3cr3t@127.0.0.1:{proxy.port}"
        assert main(["get", "-v", "http://host.invalid/path", "-x", way]) == ExitStatus.OK
    [request] = proxy.requests
    assert request.startswith(b"GET http://host.invalid/path HTTP/1.1\r\n")
    assert field(request, "Proxy-Authorization") == "Basic dXNlcjpzM2NyM3Q="
    said = capfd.readouterr().err
    assert f"* through http://127.0.0.1:{proxy.port}\n" in said
    assert "s3cr3t" not in said
    assert "dXNlcj" not in said


@pytest.mark.parametrize("options", [["-x", ""], ["-x", "http://host.invalid", "--noproxy", "*"], ["--noproxy", "*"]])
def test_proxy_is_left_out(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://host.invalid")
    [request] = sent(*options)
    assert request.startswith(b"GET /path HTTP/1.1\r\n")


def test_proxy_that_refuses_has_its_status(capfd: pytest.CaptureFixture[str]) -> None:
    with scripted([take_connect, send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"), close]) as proxy:
        way = f"http://user:s3cr3t@127.0.0.1:{proxy.port}"
        assert main(["get", "https://host.invalid/", "-x", way]) == ExitStatus.PROXY
    assert "s3cr3t" not in capfd.readouterr().err


def test_proxy_that_is_away_has_its_status() -> None:
    way = f"socks5h://127.0.0.1:{unused_port()}"
    assert main(["get", "http://host.invalid/", "-x", way]) == ExitStatus.PROXY


# Redirects


def test_redirect_is_an_answer_like_any_other(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /there\r\n"
    assert len(sent(script=[read_request, answer(b"moved", head)])) == 1
    assert capfdbinary.readouterr().out == b"moved"


@pytest.mark.parametrize(
    ("status_code", "second"), [(302, b"GET /there HTTP/1.1\r\n"), (307, b"POST /there HTTP/1.1\r\n")]
)
def test_location_follows_with_the_method_of_the_status(
    status_code: int, second: bytes, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    script = [read_request, send(redirect("/there", status_code)), read_request, answer(b"there")]
    requests = sent("-L", "-d", "a=1", script=script)
    assert requests[1].startswith(second)
    assert requests[1].endswith(b"a=1") == (status_code == 307)
    assert capfdbinary.readouterr().out == b"there"


def test_location_leaves_credentials_with_their_origin() -> None:
    with scripted([read_request, answer()]) as other:
        sent("-L", "-u", "user:password", script=[read_request, send(redirect(other.url()))])
    assert field(other.requests[0], "Authorization") is None


def test_location_keeps_cookies_for_the_run() -> None:
    head = b"HTTP/1.1 302 Found\r\nSet-Cookie: a=b\r\nLocation: /path\r\nContent-Length: 0\r\n\r\n"
    requests = sent("-L", script=[read_request, send(head), read_request, answer()])
    assert field(requests[1], "Cookie") == "a=b"


def loop(peer: Peer) -> None:
    while True:
        read_request(peer)
        send(redirect("/path"))(peer)


def test_redirects_in_a_loop_have_their_status(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with scripted([loop]) as server:
        assert main(["get", "-L", server.url("/path"), "-o", f"{tmp_path}/file"]) == ExitStatus.LIMIT
    assert "loop" in capfd.readouterr().err
    assert os.listdir(tmp_path) == []


def test_redirects_end_where_they_were_told_to(capfd: pytest.CaptureFixture[str]) -> None:
    with scripted([read_request, send(redirect("/1")), read_request, send(redirect("/2"))]) as server:
        assert main(["get", "-L", "--max-redirs", "1", server.url()]) == ExitStatus.LIMIT
    assert len(server.requests) == 2
    assert "max_redirects=1" in capfd.readouterr().err


def test_verbose_shows_every_hop(capfd: pytest.CaptureFixture[str]) -> None:
    script = [read_request, send(redirect("/there?token=s3cr3t")), read_request, answer(b"there")]
    sent("-L", "-v", script=script)
    said = capfd.readouterr().err
    heads = [line for line in said.splitlines() if line.startswith(("> GET", "< HTTP", "< Location"))]
    assert heads == [
        "> GET /path HTTP/1.1",
        "< HTTP/1.1 302 Elsewhere",
        "< Location: /there?token=(hidden)",
        "> GET /there?token=(hidden) HTTP/1.1",
        "< HTTP/1.1 200 OK",
    ]
    assert "s3cr3t" not in said


def test_head_prints_every_hop(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    head = b"HTTP/1.1 204 No Content\r\n\r\n"
    sent("-I", "-L", script=[read_request, send(redirect("/there")), read_request, send(head)])
    assert capfdbinary.readouterr().out == redirect("/there") + head


# Attempts and codings


def test_retry_tries_again_and_verbose_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
    with scripted([read_request, close], [read_request, send(busy), read_request, answer(b"whole")]) as server:
        assert main(["get", "-v", "--retry", "2", server.url()]) == ExitStatus.OK
    captured = capfd.readouterr()
    assert captured.out == "whole"
    assert f"* GET {server.url()} failed: " in captured.err
    assert captured.err.count("< HTTP/1.1") == 2


def test_retry_does_not_repeat_what_may_have_happened() -> None:
    with scripted([read_request, close]) as server:
        assert main(["get", "--retry", "2", "-d", "a=1", server.url()]) == ExitStatus.NETWORK
    assert len(server.requests) == 1


@pytest.mark.parametrize(("options", "out"), [(["--compressed"], b"text"), ([], gzip.compress(b"text", mtime=0))])
def test_coding_is_asked_for_and_undone_where_told(
    options: list[str], out: bytes, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
    [request] = sent(*options, script=[read_request, answer(gzip.compress(b"text", mtime=0), head)])
    assert (field(request, "Accept-Encoding") is not None) == bool(options)
    assert capfdbinary.readouterr().out == out


# Options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-d", "s3cr3t", "--json", "s3cr3t"], "-d, --json"),
        (["-F", "a=s3cr3t", "--data-binary", "s3cr3t"], "-d, -F"),
        (["-I", "--json", "s3cr3t"], "-I, --json"),
        (["-I", "-F", "a=s3cr3t"], "-I, -F"),
        (["-F", "s3cr3t"], "-F"),
        (["-F", "a=s3cr3t;b"], "-F"),
        (["-u", "u:s3cr3t", "--bearer", "s3cr3t"], "-u, --bearer"),
        (["--bearer", "s3cr3t", "-H", "Authorization: s3cr3t"], "--bearer, -H"),
        (["--digest"], "--digest without -u"),
        (["--max-redirs", "3"], "--max-redirs without -L"),
        (["-L", "--max-redirs", "-1"], "--max-redirs"),
        (["-L", "--max-redirs", "1000"], "--max-redirs"),
        (["--retry", "99"], "--retry"),
        (["--retry", "s3cr3t"], "--retry"),
        (["-x", "ftp://u:s3cr3t@host"], "-x"),
        (["-x", "http://u:s3cr3t@host:port"], "-x"),
        (["-Uu:s3cr3t"], "-U"),
        (["--har", "-"], "--har"),
        (["-o", "same", "--har", "./same"], "-o, --har"),
        (["--resume"], "--resume without -o"),
        (["--resume", "-o", "-"], "--resume without -o"),
        (["--resume", "-o", "file", "-d", "s3cr3t"], "--resume"),
        (["--resume", "-o", "file", "-X", "PUT"], "--resume"),
        (["--resume", "-o", "file", "-I"], "-I, --resume"),
        (["--resume", "-o", "file", "--compressed"], "--resume, --compressed"),
        (["--resume", "-o", "file", "-H", "Range: s3cr3t"], "range"),
    ],
)
def test_options_that_cannot_work_are_named_without_their_values(
    options: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["get", "http://host.invalid/", *options]) == ExitStatus.USAGE
    assert os.listdir(tmp_path) == []
    captured = capfd.readouterr()
    assert said in captured.err
    assert "s3cr3t" not in captured.err
    assert captured.out == ""


def test_proxy_to_a_unix_socket_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["get", "http+unix://%2Fsocket/", "-x", "http://host"]) == ExitStatus.USAGE
    assert "-x" in capfd.readouterr().err


# HAR


BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun"


def har(path: str) -> list[tuple[str, int]]:
    """Method and status of each entry of a file that has to be a HAR."""
    with open(path, "rb") as file:
        entries = check_har(json.load(file))
    return [(entry["request"]["method"], entry["response"]["status"]) for entry in entries]


def test_har_has_every_hop_and_no_credential(tmp_path: Path) -> None:
    path = f"{tmp_path}/run.har"
    script = [read_request, send(redirect("/there")), read_request, answer()]
    sent("-L", "-u", "user:s3cr3t", "-d", "s3cr3t", "-H", "Cookie: a=s3cr3t", "--har", path, script=script)
    assert har(path) == [("POST", 302), ("GET", 200)]
    written = Path(path).read_bytes()
    assert b"s3cr3t" not in written
    assert b"dXNlcj" not in written


@pytest.mark.parametrize(
    ("script", "status", "entries"),
    [
        ([read_request, close], ExitStatus.NETWORK, [("GET", 0)]),
        ([read_request, send(b"garbage\r\n\r\n")], ExitStatus.PROTOCOL, [("GET", 0)]),
        ([read_request, answer(b"", b"HTTP/1.1 404 No\r\n")], ExitStatus.HTTP_STATUS, [("GET", 404)]),
        ([read_request, send(BEGUN), close], ExitStatus.PROTOCOL, [("GET", 200)]),
        ([loop], ExitStatus.LIMIT, [("GET", 302)] * limits.MAX_REDIRECT_VISITS),
    ],
)
def test_har_is_written_when_the_run_fails(
    script: Script, status: ExitStatus, entries: list[tuple[str, int]], tmp_path: Path
) -> None:
    path = f"{tmp_path}/run.har"
    with scripted(script) as server:
        assert main(["get", "-L", "--fail", server.url("/path"), "--har", path, "-o", f"{tmp_path}/file"]) == status
    assert har(path) == entries
    assert os.listdir(tmp_path) == ["run.har"]


def test_har_has_every_attempt(tmp_path: Path) -> None:
    path = f"{tmp_path}/run.har"
    with scripted([read_request, close], [read_request, answer()]) as server:
        assert main(["get", "--retry", "1", server.url(), "--har", path, "-o", os.devnull]) == ExitStatus.OK
    assert har(path) == [("GET", 0), ("GET", 200)]


def test_har_that_cannot_be_written_is_named_before_anything_is_sent(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = f"{tmp_path}/missing/run.har"
    with scripted(ONCE) as server:
        assert main(["get", server.url(), "--har", path]) == ExitStatus.OUTPUT
        assert server.accepted == 0
    assert capfd.readouterr().err == f"turbosock: {path}: No such file or directory; make the directory first\n"


def test_har_of_a_run_that_is_refused_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "run.har"
    path.write_bytes(b"old")
    assert main(["get", "ftp://host.invalid/", "--har", str(path)]) == ExitStatus.USAGE
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["run.har"]


def test_har_is_written_when_the_run_is_interrupted(tmp_path: Path) -> None:
    path = f"{tmp_path}/run.har"
    with scripted([read_request, send(BEGUN), await_close]) as server:
        process = subprocess.Popen([*COMMAND, "get", server.url(), "--har", path], stdout=subprocess.PIPE, bufsize=0)
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.read(5) == b"begun"
            process.send_signal(SIGINT)
            assert process.wait(10) == ExitStatus.INTERRUPTED
    assert har(path) == [("GET", 200)]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
@pytest.mark.parametrize(("script", "status"), [(ONCE, ExitStatus.OUTPUT), ([read_request, close], ExitStatus.NETWORK)])
def test_har_on_a_full_disk_fails_what_has_not_failed_before(script: Script, status: ExitStatus) -> None:
    with scripted(script) as server:
        assert main(["get", server.url(), "--har", "/dev/full", "-o", os.devnull]) == status


# Going on


def test_resume_goes_on_where_a_failed_run_ended(tmp_path: Path) -> None:
    path = tmp_path / "file"
    options = ["get", "--resume", "-o", str(path)]
    head = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 9\r\n\r\nbegun'
    part = b'HTTP/1.1 206 Part\r\nETag: "1"\r\nContent-Range: bytes 5-8/9\r\n'
    with scripted([read_request, send(head), close], [read_request, answer(b"done", part)]) as server:
        assert main([*options, server.url()]) == ExitStatus.PROTOCOL
        assert not path.exists()
        assert main([*options, "-u", "user:password", "-v", server.url()]) == ExitStatus.OK
    assert path.read_bytes() == b"begundone"
    assert os.listdir(tmp_path) == ["file"]
    assert (field(server.requests[1], "Range"), field(server.requests[1], "If-Range")) == ("bytes=5-", '"1"')
    assert field(server.requests[1], "Authorization") is not None


def test_resume_of_what_is_refused_has_its_status(tmp_path: Path) -> None:
    with scripted([read_request, answer(b"no", b"HTTP/1.1 404 No\r\n")]) as server:
        assert main(["get", "--resume", server.url(), "-o", f"{tmp_path}/file"]) == ExitStatus.HTTP_STATUS
    assert not os.path.exists(f"{tmp_path}/file")
