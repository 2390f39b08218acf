"""Https peers for tests: what a server with any fault does, played by a `ScriptedServer`, and the table of the faults.

`secure(context)` puts TLS on a script's connection; the other steps of `support.scripted_server` then work through it.
The engine is the standard library's, in memory, so that a step may also decide which bytes of a record go out.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from cryptography import x509
from OpenSSL import SSL

from support.scripted_server import (
    Peer,
    Script,
    Step,
    Stopped,
    answer,
    await_close,
    close,
    read_request,
    send,
)
from support.tls import DAY, DER, HOST, NOW, PEM, Authority, Files, Leaf, dns, ip, key_pem, raw_context, self_signed
from turbosock.config import TlsConfig, TlsVersion
from turbosock.errors import TlsError, TlsHandshakeError, TlsRecordError, TlsTruncated, TlsVerificationError
from turbosock.reactor.resolver import Resolver
from turbosock.tls import pin_of

CHUNK = 1 << 16


class TlsSocket:
    """A server's side of TLS over a connected socket, with the calls that scripts make of a socket."""

    def __init__(self, raw: socket.socket, context: ssl.SSLContext) -> None:
        self.raw = raw
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.engine = context.wrap_bio(self.incoming, self.outgoing, server_side=True)

    def _flush(self) -> None:
        data = self.outgoing.read()
        if data:
            self.raw.sendall(data)

    def _fill(self) -> None:
        data = self.raw.recv(CHUNK)
        if not data:
            raise ConnectionError("the client is gone")
        self.incoming.write(data)

    def handshake(self) -> None:
        while True:
            try:
                self.engine.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            except ssl.SSLError:
                # The alert says why.
                self._flush()
                raise
            else:
                self._flush()
                return

    def recv(self, count: int) -> bytes:
        while True:
            try:
                return self.engine.read(count)
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            except ssl.SSLZeroReturnError:
                return b""

    def encrypt(self, data: bytes) -> bytes:
        """The records of `data`, not sent."""
        self.engine.write(data)
        return self.outgoing.read()

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(data), CHUNK):
            self.raw.sendall(self.encrypt(bytes(view[start : start + CHUNK])))

    def shutdown(self, how: int) -> None:
        """Say goodbye, then close as asked."""
        try:
            self.engine.unwrap()
        except ssl.SSLError:
            # Its own part is written.
            pass
        self._flush()
        self.raw.shutdown(how)

    def setsockopt(self, level: int, name: int, value: bytes) -> None:
        self.raw.setsockopt(level, name, value)

    def close(self) -> None:
        self.raw.close()


class Seen(NamedTuple):
    """What a server learned in handshakes: the names in SNI, the clients' certificates, the protocols, resumptions."""

    names: list[str | None]
    certificates: list[bytes | None]
    protocols: list[str | None]
    resumed: list[bool]

    @classmethod
    def nothing(cls) -> Seen:
        return cls([], [], [], [])


def secure(context: ssl.SSLContext, seen: Seen | None = None) -> Step:
    """Shake hands; a client that refuses ends the script."""

    def step(peer: Peer) -> None:
        tls = TlsSocket(peer.socket, context)
        try:
            tls.handshake()
        except OSError as error:
            raise Stopped from error
        if seen is not None:
            seen.certificates.append(tls.engine.getpeercert(binary_form=True))
            seen.protocols.append(tls.engine.selected_alpn_protocol())
            seen.resumed.append(bool(tls.engine.session_reused))
        peer.socket = cast(Any, tls)

    return step


def tls_of(peer: Peer) -> TlsSocket:
    """The TLS of a connection on which `secure` was played."""
    found = cast(Any, peer.socket)
    assert isinstance(found, TlsSocket), "play secure() first"
    return found


def send_raw(data: bytes) -> Step:
    """Send bytes past TLS."""

    def step(peer: Peer) -> None:
        try:
            tls_of(peer).raw.sendall(data)
        except OSError as error:
            raise Stopped from error

    return step


def send_part(data: bytes, count: int) -> Step:
    """Send the first `count` bytes of the records of `data`."""

    def step(peer: Peer) -> None:
        send_raw(tls_of(peer).encrypt(data)[:count])(peer)

    return step


def drip_records(data: bytes, interval_s: float) -> Step:
    """Send the records of `data`, a byte each `interval_s`, until the client goes or the test ends."""

    def step(peer: Peer) -> None:
        tls = tls_of(peer)
        records = tls.encrypt(data)
        for index in range(len(records)):
            send_raw(records[index : index + 1])(peer)
            if peer.server.stopping.wait(interval_s):
                raise Stopped

    return step


def vanish(peer: Peer) -> None:
    """Close the connection without a close_notify."""
    tls_of(peer).raw.shutdown(socket.SHUT_WR)
    raise Stopped


def keep_little_in_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the kernel hold little of what a client sends, so that the engine has to wait."""
    monkeypatch.setattr(
        "turbosock.transport.connect_race.tune", lambda sock: sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    )


def take_hello(peer: Peer) -> None:
    """Read what the client begins with, and say nothing."""
    peer.receive()


def serve(*bodies: bytes) -> Script:
    """Answer a request with each of the bodies, then wait for the client to close."""
    steps: list[Step] = []
    for body in bodies:
        steps += [read_request, answer(body)]
    return (*steps, await_close)


class Pki:
    """An authority that the clients trust, and contexts of servers with its certificates.

    Attributes:
        trusting: a client that trusts it and nobody else.
    """

    def __init__(self, directory: Path) -> None:
        self.files = Files(directory)
        self.authority = Authority()
        self.trusting = TlsConfig(ca_file=self.files.write(self.authority.pem))
        self.good = self.authority.leaf([dns(HOST.encode()), dns(b"localhost"), ip(b"\x7f\0\0\1")])
        self.context = self.server(self.good)

    def server(
        self,
        leaf: Leaf | None = None,
        *,
        intermediates: bool = True,
        version: ssl.TLSVersion | None = None,
        ciphers: str | None = None,
        client_ca: bytes | None = None,
        alpn: tuple[str, ...] = (),
        seen: Seen | None = None,
    ) -> ssl.SSLContext:
        """A server's context for `leaf`, or the good certificate."""
        chosen = self.good if leaf is None else leaf
        path = self.files.write(chosen.pem(intermediates=intermediates))
        context = raw_context(path, version=version, ciphers=ciphers)
        if client_ca is not None:
            context.verify_mode = ssl.VerifyMode.CERT_REQUIRED
            context.load_verify_locations(cadata=client_ca.decode())
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if seen is not None:
            names = seen.names

            def note(_: Any, name: str | None, __: ssl.SSLContext) -> None:
                names.append(name)

            context.sni_callback = note
        return context

    def client_certificate(self, authority: Authority | None = None, password: bytes | None = None) -> str:
        """The path of a client's certificate and key."""
        leaf = (authority or self.authority).leaf(None, client=True, common_name="a client")
        return self.files.write(key_pem(leaf.key, password) + leaf.certificate.public_bytes(PEM))


def at_loopback(resolver: Resolver) -> None:
    """Let every name, and every number that looks like one, resolve to 127.0.0.1."""

    def resolve(host: str, port: int, family: int, kind: int) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, kind, 6, "", ("127.0.0.1", port))]

    resolver._getaddrinfo = resolve


@dataclass(frozen=True)
class Fault:
    """A row of the table: what the server does, how the client is set, and what the client says.

    Attributes:
        script: of the server.
        tls: the client's configuration.
        kind, reasons: the error, and the words that its `reason` may be.
        words: a part of its message.
        host: in the URL.
    """

    script: Script
    tls: TlsConfig
    kind: type[TlsError]
    reasons: tuple[str, ...]
    words: str
    host: str = HOST


GET_SCRIPT: Script = (read_request, answer(b"never"), await_close)


def _certified(pki: Pki, leaf: Leaf, reason: str, words: str, host: str = HOST) -> Fault:
    """A server whose certificate is to be refused."""
    script = (secure(pki.server(leaf)), *GET_SCRIPT)
    return Fault(script, pki.trusting, TlsVerificationError, (reason,), words, host)


def _constrained(pki: Pki, constraints: x509.NameConstraints) -> Leaf:
    return Authority("constrained", pki.authority, [(constraints, True)]).leaf()


def _incomplete(pki: Pki) -> Fault:
    leaf = Authority("between", pki.authority).leaf()
    script = (secure(pki.server(leaf, intermediates=False)), *GET_SCRIPT)
    return Fault(script, pki.trusting, TlsVerificationError, ("untrusted_root",), "left out an intermediate")


def _revoked(pki: Pki) -> Fault:
    leaf = pki.authority.leaf()
    fault = _certified(pki, leaf, "revoked", "was revoked")
    crl = pki.files.write(pki.authority.revocations(leaf))
    return replace(fault, tls=replace(pki.trusting, crl_files=(crl,)))


def _named(names: Iterable[bytes], host: str = HOST) -> Callable[[Pki], Fault]:
    """A server whose certificate has these names, asked for `host`."""
    return lambda pki: _certified(pki, pki.authority.leaf(names), "hostname_mismatch", "", host)


def _version(version: ssl.TLSVersion) -> Callable[[Pki], Fault]:
    def make(pki: Pki) -> Fault:
        context = pki.server(version=version, ciphers="ALL:@SECLEVEL=0")
        script = (secure(context), *GET_SCRIPT)
        return Fault(script, pki.trusting, TlsHandshakeError, ("protocol_version",), "versions")

    return make


def _ciphers(ciphers: str) -> Callable[[Pki], Fault]:
    def make(pki: Pki) -> Fault:
        context = pki.server(version=ssl.TLSVersion.TLSv1_2, ciphers=ciphers)
        config = replace(pki.trusting, ciphers="ALL:eNULL:aNULL")
        script = (secure(context), *GET_SCRIPT)
        return Fault(script, config, TlsHandshakeError, ("handshake_refused", "no_common_cipher"), "ciphers")

    return make


def _client_certificate(version: TlsVersion, *, shown: bool) -> Callable[[Pki], Fault]:
    """A server that asks for a certificate of its authority, and a client with none, or a stranger's."""

    def make(pki: Pki) -> Fault:
        context = pki.server(client_ca=pki.authority.pem)
        config = replace(pki.trusting, maximum_version=version)
        reasons: tuple[str, ...] = ("client_certificate_refused",)
        if shown:
            config = replace(config, cert_file=pki.client_certificate(Authority("stranger")))
        else:
            reasons = ("client_certificate_required", "handshake_refused")
        return Fault((secure(context), *GET_SCRIPT), config, TlsHandshakeError, reasons, "certificate")

    return make


def _pinned(pki: Pki) -> Fault:
    other = pin_of(pki.authority.certificate.public_bytes(DER))
    config = replace(pki.trusting, pins=(other,))
    script = (secure(pki.context), *GET_SCRIPT)
    return Fault(script, config, TlsVerificationError, ("pin_mismatch",), "none of the pins")


def _begins_with(data: bytes, reasons: tuple[str, ...], words: str) -> Callable[[Pki], Fault]:
    """A server that begins with something else than TLS."""
    return lambda pki: Fault((take_hello, send(data), await_close), pki.trusting, TlsHandshakeError, reasons, words)


def _flight_cut(pki: Pki) -> Fault:
    """A server that closes in the middle of its first flight."""

    def cut(peer: Peer) -> None:
        tls = TlsSocket(peer.socket, pki.context)
        tls.incoming.write(peer.socket.recv(CHUNK))
        try:
            tls.engine.do_handshake()
        except ssl.SSLWantReadError:
            pass
        flight = tls.outgoing.read()
        peer.socket.sendall(flight[: len(flight) // 2])

    return Fault((cut, close), pki.trusting, TlsHandshakeError, ("closed",), "closed the connection")


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


def _after_head(
    steps: Iterable[Step], kind: type[TlsError], reasons: tuple[str, ...], words: str, head: bytes = HEAD
) -> Callable[[Pki], Fault]:
    """A server that shakes hands, sends a head, and goes wrong then."""
    return lambda pki: Fault(
        (secure(pki.context), read_request, send(head), *steps), pki.trusting, kind, reasons, words
    )


def _corrupted(peer: Peer) -> None:
    tls = tls_of(peer)
    record = bytearray(tls.encrypt(b"x" * 1000))
    record[-3] ^= 1
    tls.raw.sendall(bytes(record))


def _renegotiates(pki: Pki) -> Fault:
    """A TLS 1.2 server that asks for another handshake in place of an answer."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(pki.good.certificate)
    context.use_privatekey(pki.good.key)

    def insist(peer: Peer) -> None:
        connection = SSL.Connection(context, None)
        connection.set_accept_state()
        raw = peer.socket

        def step(action: Callable[[], object]) -> None:
            """Take a step to its end, moving bytes between engine and socket."""
            while True:
                try:
                    action()
                except SSL.WantReadError:
                    _flush(connection, raw)
                    data = raw.recv(CHUNK)
                    if not data:
                        raise Stopped from None
                    connection.bio_write(data)
                else:
                    _flush(connection, raw)
                    return

        try:
            step(connection.do_handshake)
            step(lambda: connection.recv(CHUNK))
            connection.renegotiate()
            step(connection.do_handshake)
            step(lambda: connection.recv(CHUNK))
        except SSL.Error:
            # The client has refused; OpenSSL says so with an alert of its own.
            _flush(connection, raw)

    return Fault((insist, close), pki.trusting, TlsError, ("alert", "handshake_refused", "malformed"), "")


def _flush(connection: SSL.Connection, raw: socket.socket) -> None:
    try:
        while True:
            raw.sendall(connection.bio_read(CHUNK))
    except SSL.WantReadError:
        return


FAULTS: dict[str, Callable[[Pki], Fault]] = {
    "expired": lambda pki: _certified(
        pki, pki.authority.leaf(not_before=NOW - 3 * DAY, not_after=NOW - DAY), "expired", "has expired"
    ),
    "not yet valid": lambda pki: _certified(
        pki, pki.authority.leaf(not_before=NOW + DAY, not_after=NOW + 2 * DAY), "not_yet_valid", "not valid yet"
    ),
    "wrong host": _named([dns(b"other.example.com")]),
    "no names": lambda pki: _certified(pki, pki.authority.leaf(None, common_name=HOST), "hostname_mismatch", ""),
    "self-signed": lambda pki: _certified(pki, self_signed(), "self_signed", "signed itself"),
    "untrusted root": lambda pki: _certified(
        pki, Authority("stranger").leaf(), "untrusted_root", "no trusted authority"
    ),
    "incomplete chain": _incomplete,
    "revoked": _revoked,
    "name not permitted": lambda pki: _certified(
        pki,
        _constrained(pki, x509.NameConstraints([x509.DNSName("example.net")], None)),
        "name_constraints",
        "outside what its authority may sign",
    ),
    "name excluded": lambda pki: _certified(
        pki,
        _constrained(pki, x509.NameConstraints(None, [x509.DNSName("example.com")])),
        "name_constraints",
        "may not sign",
    ),
    "NUL in a name": _named([dns(HOST.encode() + b"\0.evil.org")]),
    "address as a name": _named([dns(b"127.0.0.1")], "127.0.0.1"),
    "wildcard over two labels": _named([dns(b"*.com")]),
    "wildcard in a label": _named([dns(b"s*r.example.com")]),
    "wildcard in the middle": _named([dns(b"server.*.com")]),
    "wildcard for the whole": _named([dns(b"*")]),
    "TLS 1.0": _version(ssl.TLSVersion.TLSv1),
    "TLS 1.1": _version(ssl.TLSVersion.TLSv1_1),
    "NULL ciphers": _ciphers("eNULL:@SECLEVEL=0"),
    "anonymous ciphers": _ciphers("aNULL:@SECLEVEL=0"),
    "client certificate missing, TLS 1.2": _client_certificate(TlsVersion.TLS_1_2, shown=False),
    "client certificate missing, TLS 1.3": _client_certificate(TlsVersion.TLS_1_3, shown=False),
    "client certificate refused, TLS 1.2": _client_certificate(TlsVersion.TLS_1_2, shown=True),
    "client certificate refused, TLS 1.3": _client_certificate(TlsVersion.TLS_1_3, shown=True),
    "pin that does not match": _pinned,
    "plaintext HTTP": _begins_with(b"HTTP/1.1 400 Bad Request\r\n\r\n", ("not_tls",), "does not speak TLS"),
    "plaintext SSH": _begins_with(b"SSH-2.0-OpenSSH_9.2\r\n", ("not_tls",), "does not speak TLS"),
    "noise in a handshake record": _begins_with(b"\x16\x03\x03\x00\x08" + b"\xff" * 8, ("malformed",), "broke"),
    "application data too early": _begins_with(
        b"\x17\x03\x03\x00\x08" + b"\xff" * 8, ("malformed", "not_tls"), "handshake"
    ),
    "unknown kind of record": _begins_with(
        b"\x63\x03\x03\x00\x04" + b"\xff" * 4, ("malformed", "not_tls"), "handshake"
    ),
    "close in the hello": lambda pki: Fault(
        (take_hello, close), pki.trusting, TlsHandshakeError, ("closed",), "closed the connection"
    ),
    "flight cut in half": _flight_cut,
    "plaintext inside TLS": _after_head(
        (send_raw(b"HTTP/1.1 200 OK\r\n\r\n"), await_close), TlsRecordError, ("malformed", "not_tls"), "broke"
    ),
    "record with a flipped bit": _after_head((_corrupted, await_close), TlsRecordError, ("malformed",), "changed"),
    "close without close_notify": _after_head(
        (send(b"as much as came"), vanish),
        TlsTruncated,
        ("truncated",),
        "without close_notify",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ),
    "record cut in half, close-delimited": _after_head(
        (send_part(b"x" * 1000, 500), vanish),
        TlsTruncated,
        ("truncated",),
        "without close_notify",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ),
    "renegotiation": _renegotiates,
}


class KeyUpdater:
    """`openssl s_server` with a good certificate, whose side of the conversation a test types."""

    def __init__(self, pki: Pki) -> None:
        path = pki.files.write(pki.good.pem())
        self.process = subprocess.Popen(
            ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", path, "-key", path, "-naccept", "1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        self.port = int(self.await_line(b"ACCEPT").rpartition(b":")[2])

    def await_line(self, start: bytes) -> bytes:
        """The next line of its output that begins with `start`."""
        assert self.process.stdout is not None
        while not (line := self.process.stdout.readline()).startswith(start):
            assert line, "openssl s_server ended early"
        return line.strip()

    def type(self, text: bytes) -> None:
        """Type at its terminal: text for the client, or a command such as "K" for a key update."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
