"""The command over https: whom it trusts, what it shows, what it says of TLS, and how it ends when TLS fails."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.running_listener import RunningListener
from support.tls import Authority, Files, dns, ip
from turbosock.cli.exit_status import ExitStatus
from turbosock.cli.get import INSECURE
from turbosock.cli.main import main, make_parser
from turbosock.config import ClientAuth, TlsServerConfig
from turbosock.server.http_exchange import HttpExchange
from turbosock.tls import pin_of

AUTHORITY = Authority()
LEAF = AUTHORITY.leaf([dns(b"localhost"), ip(bytes((127, 0, 0, 1)))])
USER = AUTHORITY.leaf([dns(b"user")], client=True)
OTHER_PIN = "sha256/" + "A" * 43 + "="
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"


def answer(exchange: HttpExchange) -> None:
    exchange.respond(200, None, "user" if exchange.request.peer_certificate_der == USER.der else "hello")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def serving(files: Files) -> TlsServerConfig:
    return TlsServerConfig(files.certificate(LEAF))


@pytest.fixture
def server(serving: TlsServerConfig) -> Iterator[RunningListener]:
    with RunningListener(answer, serving) as running:
        yield running


@pytest.fixture
def ca_file(files: Files) -> str:
    return files.write(AUTHORITY.pem)


def test_get_https_from_a_trusted_server_writes_the_body_and_nothing_else(
    server: RunningListener, ca_file: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["get", server.url(), "--cacert", ca_file]) == ExitStatus.OK
    assert capfd.readouterr() == ("hello", "")


def test_get_https_verbose_shows_what_was_agreed_on_before_the_heads(
    server: RunningListener, ca_file: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["get", "-v", server.url(), "--cacert", ca_file]) == ExitStatus.OK
    first, second, *_ = capfd.readouterr().err.splitlines()
    assert re.fullmatch(r"\* TLSv1\.3, TLS_\w+, ALPN h2, new session, by (ssl|pyOpenSSL) \(OpenSSL .+\)", first)
    assert second == "> GET / HTTP/2"


def test_get_https_from_an_unknown_authority_fails_and_writes_nothing(
    server: RunningListener, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = os.listdir(tmp_path)
    assert main(["get", server.url(), "-o", os.fspath(tmp_path / "file")]) == ExitStatus.TLS
    captured = capfd.readouterr()
    assert captured.out == "" and "--cacert" in captured.err and captured.err.count("\n") == 1
    assert os.listdir(tmp_path) == before
    assert server.listener.stats().requests == 0


def test_get_https_insecure_is_answered_and_warned_of_once(
    server: RunningListener, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["get", server.url(), "--insecure"]) == ExitStatus.OK
    assert capfd.readouterr() == ("hello", INSECURE)


@pytest.mark.parametrize("insecure", [True, False])
def test_get_https_pins_hold_with_and_without_verification(
    server: RunningListener, ca_file: str, insecure: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    trust = ["--insecure"] if insecure else ["--cacert", ca_file]
    assert main(["get", server.url(), *trust, "--pin", OTHER_PIN, "--pin", pin_of(LEAF.der)]) == ExitStatus.OK
    assert main(["get", server.url(), *trust, "--pin", OTHER_PIN]) == ExitStatus.TLS
    captured = capfd.readouterr()
    assert captured.out == "hello" and pin_of(LEAF.der) in captured.err
    assert server.listener.stats().requests == 1


@pytest.mark.parametrize("apart", [True, False])
def test_get_https_shows_its_certificate_with_its_key_beside_or_inside(
    serving: TlsServerConfig, files: Files, ca_file: str, apart: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    pem = USER.pem()
    start = pem.index(b"-----BEGIN CERTIFICATE")
    shown = ["--cert", files.write(pem[start:]), "--key", files.write(pem[:start])]
    if not apart:
        shown = ["--cert", files.write(pem)]
    asking = replace(serving, client_auth=ClientAuth.REQUIRED, client_ca_file=ca_file)
    with RunningListener(answer, asking) as running:
        assert main(["get", running.url(), "--cacert", ca_file, *shown]) == ExitStatus.OK
        assert capfd.readouterr().out == "user"
        assert main(["get", running.url(), "--cacert", ca_file]) == ExitStatus.TLS
    assert "certificate" in capfd.readouterr().err


def test_get_https_from_a_server_that_speaks_plain_http_fails_in_tls(capfd: pytest.CaptureFixture[str]) -> None:
    with RunningListener(answer) as running:
        assert main(["get", f"https://127.0.0.1:{running.port}/"]) == ExitStatus.TLS
    assert "http://" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--key", "key.pem"], "--key"),
        (["--pin", "abc"], "--pin:"),
        (["--cacert", ""], "--cacert="),
        (["--cacert", "/nowhere/ca.pem"], "--cacert="),
        (["--cert", "/nowhere/cert.pem"], "--cert="),
    ],
)
def test_get_option_of_tls_that_cannot_work_is_named_with_status_2(
    options: list[str], named: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["get", "https://127.0.0.1:1/", *options]) == ExitStatus.USAGE
    assert named in capfd.readouterr().err


@pytest.mark.parametrize("command", ["get", "demo"])
def test_documentation_names_every_option_and_no_other(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_strictly([command, "--help"])
    # Each option has a line of its own, its names in front.
    lines = re.findall(r"^  (-.*)$", capsys.readouterr().out, re.MULTILINE)
    options = {name for line in lines for name in re.findall(r"(?:^|, )(-[-\w]+)", line.partition("  ")[0])}
    section = PAGE.read_text().partition(f"## turbosock {command}")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(-[-\w]+)", section)) == options - {"-h", "--help"}
