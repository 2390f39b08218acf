"""Real proxies for tests: tinyproxy, microsocks, Dante, and HAProxy that puts TLS before one of them.

Each is a child process on loopback, without state outside the directory it is given. They bind their ports themselves:
where another process was faster, there is another try.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from support import peers

TRIES = 5

TINYPROXY_CONFIG = """\
Port {port}
Listen 127.0.0.1
MaxClients 100
Timeout 60
LogLevel Critical
LogFile "{directory}/tinyproxy.log"
PidFile "{directory}/tinyproxy.pid"
{credentials}
"""

DANTE_CONFIG = """\
logoutput: {directory}/dante.log
internal: 127.0.0.1 port = {port}
external: 127.0.0.1
clientmethod: none
socksmethod: none
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks block {{ from: 0.0.0.0/0 to: 127.0.0.9/32 }}
socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
"""

HAPROXY_CONFIG = """\
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend secure
    bind 127.0.0.1:{port} ssl crt {certificate} alpn http/1.1
    default_backend proxy
backend proxy
    server proxy 127.0.0.1:{behind}
"""


@contextlib.contextmanager
def started(command: Callable[[int], list[str]]) -> Iterator[int]:
    """Run `command(port)` for the length of a with block; the port, once something answers there."""
    for _ in range(TRIES):
        with _claimed_port() as port:
            process = subprocess.Popen(
                command(port), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            try:
                if _answers(process, port):
                    yield port
                    return
                said = process.stderr.read().decode(errors="replace") if process.stderr is not None else ""
            finally:
                peers.stop(process)
    raise RuntimeError(f"{command(0)[0]} did not start: {said.strip()}")


@contextlib.contextmanager
def _claimed_port() -> Iterator[int]:
    """A free port that no other process of the tests takes meanwhile: it would be taken for the one that is started."""
    while True:
        port = peers.unused_port()
        with socket.socket(socket.AF_UNIX) as claim:
            if sys.platform == "linux":
                try:
                    # A name without a file, which goes with its process.
                    claim.bind(f"\0turbosock-tests-port-{port}")
                except OSError:
                    continue
            yield port
            return


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the process listens; False once it has ended."""
    deadline = time.monotonic() + peers.START_DEADLINE_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except OSError:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
                return False
        else:
            return process.poll() is None
    process.kill()
    return False


@contextlib.contextmanager
def tinyproxy(directory: Path, credentials: tuple[str, str] | None = None) -> Iterator[int]:
    """tinyproxy: forwards, and tunnels by CONNECT to any port; its port."""
    executable = peers.require("tinyproxy", "apt-get install -y tinyproxy")

    def command(port: int) -> list[str]:
        text = "" if credentials is None else f"BasicAuth {credentials[0]} {credentials[1]}"
        (directory / "tinyproxy.conf").write_text(
            TINYPROXY_CONFIG.format(port=port, directory=directory, credentials=text)
        )
        return [executable, "-d", "-c", os.fspath(directory / "tinyproxy.conf")]

    with started(command) as port:
        yield port


@contextlib.contextmanager
def microsocks(credentials: tuple[str, str] | None = None) -> Iterator[int]:
    """microsocks: SOCKS5; its port."""
    executable = peers.require("microsocks", "apt-get install -y microsocks")
    user = [] if credentials is None else ["-u", credentials[0], "-P", credentials[1]]
    with started(lambda port: [executable, "-i", "127.0.0.1", "-p", str(port), *user]) as port:
        yield port


@contextlib.contextmanager
def dante(directory: Path) -> Iterator[int]:
    """Dante: SOCKS4, 4a and 5, which does not go to 127.0.0.9; its port."""
    executable = peers.require("danted", "apt-get install -y dante-server")

    def command(port: int) -> list[str]:
        (directory / "danted.conf").write_text(DANTE_CONFIG.format(port=port, directory=directory))
        return [executable, "-f", os.fspath(directory / "danted.conf"), "-p", os.fspath(directory / "danted.pid")]

    with started(command) as port:
        yield port


@contextlib.contextmanager
def haproxy(directory: Path, certificate: str, behind: int) -> Iterator[int]:
    """HAProxy, which takes TLS off and passes the rest to the port `behind`; its port.

    Args:
        certificate: a PEM file with chain and key.
    """
    executable = peers.require("haproxy", "apt-get install -y haproxy")

    def command(port: int) -> list[str]:
        (directory / "haproxy.cfg").write_text(HAPROXY_CONFIG.format(port=port, certificate=certificate, behind=behind))
        return [executable, "-db", "-f", os.fspath(directory / "haproxy.cfg")]

    with started(command) as port:
        yield port
