"""Real peers for tests and benchmarks: nginx and CPython's http.server, each a child process on loopback.

A peer that is not installed makes its test skip with the line that installs it; with TURBOSOCK_REQUIRE_PEERS=1 the
test fails instead, so that a continuous run cannot pass by skipping. No peer needs root, none keeps state outside the
directory it is given, and each is stopped by its own process id.

nginx is handed a socket that already listens (its NGINX variable, which its own binary upgrade uses), so a port is
never free between being chosen and being bound.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

START_DEADLINE_S = 15.0
STOP_DEADLINE_S = 10.0

NGINX_INSTALL = "apt-get install -y nginx"
SLOWHTTPTEST_INSTALL = "apt-get install -y slowhttptest"

SMALL_BODY = bytes(range(48, 48 + 64)) + b"0123456789abcdefghijklmnopqrstuvwxyz"
BIG_BLOCK = bytes((i * 131 + (i >> 8)) & 0xFF for i in range(65536))


def require(executable: str, install_line: str) -> str:
    """Path of `executable`; without it the test skips, or fails where TURBOSOCK_REQUIRE_PEERS=1."""
    path = shutil.which(executable) or shutil.which(executable, path="/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        _miss(f"{executable} is not installed; {install_line}")
    return path


def _miss(message: str) -> NoReturn:
    # The benchmarks use this file too, in an environment without pytest.
    import pytest

    if os.environ.get("TURBOSOCK_REQUIRE_PEERS") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@dataclass(frozen=True, slots=True)
class Peer:
    """A running server.

    Attributes:
        host, port: where it listens; the port is 0 where it listens on a Unix socket.
        socket_path: its Unix socket, or None.
        root: the directory that it serves.
        uploads: where nginx stores what is PUT under /upload/.
        pid: its process.
        ca_file: the authority to trust, where it speaks TLS; None where it does not.
    """

    host: str
    port: int
    socket_path: Path | None
    root: Path
    uploads: Path
    pid: int
    ca_file: Path | None = None

    def url(self, path: str = "/") -> str:
        """The URL of `path` on this peer; over a Unix socket the host is only a name."""
        scheme = "http" if self.ca_file is None else "https"
        return f"{scheme}://{self.host}:{self.port}{path}" if self.port else f"{scheme}://{self.host}{path}"

    def connect(self, timeout_s: float = 10.0) -> socket.socket:
        """A plain blocking socket connected to this peer."""
        if self.socket_path is None:
            return socket.create_connection((self.host, self.port), timeout_s)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout_s)
        connection.connect(os.fspath(self.socket_path))
        return connection


NGINX_CONFIG = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
{process}
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 12288; }}
http {{
    access_log off;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout {keepalive_s}s;
    keepalive_requests {keepalive_requests};
    open_file_cache max=64 inactive=600s;
    open_file_cache_valid 600s;
    server_tokens off;
    client_max_body_size 0;
    client_body_buffer_size 1m;
    client_body_temp_path {directory}/temp-body;
    proxy_temp_path {directory}/temp-proxy;
    fastcgi_temp_path {directory}/temp-fastcgi;
    uwsgi_temp_path {directory}/temp-uwsgi;
    scgi_temp_path {directory}/temp-scgi;
    server {{
        listen {listen};
{tls}
        server_name localhost;
        root {directory}/root;
        location = /ready {{ return 204; }}
        location = /empty {{ return 204; }}
        location = /redirect {{ return 302 /100; }}
        location = /missing {{ return 404 "missing\\n"; }}
        location = /reflect {{
            return 200 "$request_method $request_uri $server_protocol\\nhost: $http_host\\nlength: $content_length\\n";
        }}
        location = /close {{ keepalive_timeout 0; return 200 "closing\\n"; }}
        location = /chunked {{ ssi on; ssi_types *; try_files /100 =404; }}
        location = /slow {{ limit_rate 4k; try_files /slow =404; }}
        location = /discard {{ return 204; }}
        location /upload/ {{ alias {directory}/uploads/; dav_methods PUT DELETE; create_full_put_path on; }}
{locations}
    }}
}}
"""


# Tickets without a cache on the server: the ticket alone resumes (RFC 8446 section 4.6.1, RFC 5077).
NGINX_TLS = """\
        ssl_certificate {directory}/certificate.pem;
        ssl_certificate_key {directory}/key.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_tickets on;
"""


def _write_pattern(path: Path, size: int) -> None:
    with path.open("wb") as file:
        whole, rest = divmod(size, len(BIG_BLOCK))
        for _ in range(whole):
            file.write(BIG_BLOCK)
        file.write(BIG_BLOCK[:rest])


def big_body(size: int) -> bytes:
    """The bytes that /big answers with, for a peer started with `big_bytes=size`."""
    return (BIG_BLOCK * (size // len(BIG_BLOCK) + 1))[:size]


def _wait_until_answering(peer: Peer, process: subprocess.Popen[bytes], request: bytes) -> None:
    """Return when `request` gets any answer; raise RuntimeError with the peer's own words when it does not."""
    deadline = time.monotonic() + START_DEADLINE_S
    while process.poll() is None and (left_s := deadline - time.monotonic()) > 0:
        try:
            with peer.connect(left_s) as connection:
                connection.sendall(request)
                if connection.recv(1):
                    return
        except OSError:
            # Not listening yet, or gone: wait a moment for its end, then look again.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
    process.kill()
    process.wait()
    said = process.stderr.read().decode(errors="replace") if process.stderr is not None else ""
    raise RuntimeError(f"the peer did not start within {START_DEADLINE_S} s: {said.strip()}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that a peer runs in."""
    process.terminate()
    try:
        process.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


@contextlib.contextmanager
def nginx(
    directory: Path,
    *,
    unix: bool = False,
    big_bytes: int = 8 * 1024 * 1024,
    keepalive_s: int = 75,
    keepalive_requests: int = 1_000_000_000,
    locations: str = "",
    core: int | None = None,
    tls: Path | None = None,
    http2: bool = False,
) -> Iterator[Peer]:
    """Run nginx for the length of a with block.

    It answers /100 (100 bytes, `SMALL_BODY`), /big (`big_bytes` bytes, `big_body`), /chunked (the 100 bytes in
    chunks), /slow (64 KiB at 4 KiB a second), /empty (204), /missing (404), /redirect (302 to /100), /close (and
    closes), /reflect (what it understood of the request), /discard (204 to any method, the body thrown away), and
    stores what is PUT under /upload/NAME in `Peer.uploads`.

    Args:
        directory: an empty directory for its files.
        unix: listen on a Unix socket in `directory`, not on a loopback port.
        keepalive_s, keepalive_requests: when it closes an idle or a well-used connection.
        locations: more nginx configuration for the server block.
        core: the processor that it runs on; any, if None.
        tls: a directory with certificate.pem, key.pem and ca.pem: it speaks TLS 1.2 and 1.3, with session tickets.
        http2: it speaks HTTP/2: over TLS to those who ask for it by ALPN, and without TLS nothing else.
    """
    executable = require("nginx", NGINX_INSTALL)
    root, uploads = directory / "root", directory / "uploads"
    root.mkdir(parents=True)
    uploads.mkdir()
    (root / "100").write_bytes(SMALL_BODY)
    _write_pattern(root / "slow", 65536)
    _write_pattern(root / "big", big_bytes)

    socket_path = directory / "nginx.sock" if unix else None
    listener = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
    with listener:
        if socket_path is not None:
            listener.bind(os.fspath(socket_path))
            port, listen = 0, f"unix:{socket_path}"
        else:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            listen = f"127.0.0.1:{port} backlog=4096"
        if tls is not None:
            listen += " ssl"
        if http2:
            # A parameter of `listen`, which releases since 1.25.1 still take, with a warning.
            listen += " http2"
        listener.listen(4096)
        # Root would hand its worker to an unprivileged user, who cannot read a private directory.
        process_lines = ["user root;"] if os.geteuid() == 0 else []
        if core is not None:
            process_lines.append(f"worker_cpu_affinity 1{'0' * core};")
        configuration = directory / "nginx.conf"
        configuration.write_text(
            NGINX_CONFIG.format(
                directory=directory,
                process="\n".join(process_lines),
                listen=listen,
                tls="" if tls is None else NGINX_TLS.format(directory=tls),
                keepalive_s=keepalive_s,
                keepalive_requests=keepalive_requests,
                locations=locations,
            )
        )
        process = subprocess.Popen(
            [executable, "-p", os.fspath(directory), "-c", os.fspath(configuration), "-e", "stderr"],
            env={**os.environ, "NGINX": f"{listener.fileno()};"},
            pass_fds=(listener.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    ca_file = None if tls is None else tls / "ca.pem"
    peer = Peer("127.0.0.1" if port else "localhost", port, socket_path, root, uploads, process.pid, ca_file)
    try:
        # Where it speaks TLS this gets a 400 in plaintext, and where HTTP/2 a GOAWAY: answers both.
        _wait_until_answering(peer, process, b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        yield peer
    finally:
        stop(process)


@contextlib.contextmanager
def http_server(directory: Path, *, protocol: str = "HTTP/1.1") -> Iterator[Peer]:
    """Run `python -m http.server` over `directory` for the length of a with block; `protocol` is what it speaks."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--directory", os.fspath(directory), "--protocol", protocol],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], START_DEADLINE_S)
        # "Serving HTTP on 127.0.0.1 port 40000 (http://127.0.0.1:40000/) ..."
        words = process.stdout.readline().split() if readable else []
        if b"port" not in words:
            raise RuntimeError(f"http.server did not say within {START_DEADLINE_S} s where it listens")
        port = int(words[words.index(b"port") + 1])
        yield Peer("127.0.0.1", port, None, directory, directory, process.pid)
    finally:
        stop(process)


def unused_port() -> int:
    """A loopback port on which nothing listens now, for tests of refused connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
