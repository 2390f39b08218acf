"""Certificates with any fault, peers on socket pairs, and handshakes taken step by step: for tests of TLS.

Everything runs in one thread on connected socket pairs, so nothing waits and nothing depends on time: a side that has
nothing to read says so, and the other one is stepped.
"""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from turbosock.config import TlsCertificate, TlsConfig, TlsServerConfig
from turbosock.errors import TurbosockError
from turbosock.tls import DONE, WANTS_READ, WANTS_WRITE, TlsProvider, TlsSession
from turbosock.tls.carrier import SocketCarrier

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM
DER = serialization.Encoding.DER
SAN_OID = ObjectIdentifier("2.5.29.17")
HOST = "server.example.com"
MAX_STEPS = 200


def element(tag: int, content: bytes) -> bytes:
    """One element of DER."""
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def dns(name: bytes) -> bytes:
    """A dNSName, whatever its bytes."""
    return element(0x82, name)


def ip(packed: bytes) -> bytes:
    """An iPAddress, whatever its length."""
    return element(0x87, packed)


def uri(text: bytes) -> bytes:
    """A uniformResourceIdentifier."""
    return element(0x86, text)


def alternative_names(names: Iterable[bytes]) -> x509.UnrecognizedExtension:
    """A subjectAltName of these encoded names: an encoder that checks would refuse half of them."""
    return x509.UnrecognizedExtension(SAN_OID, element(0x30, b"".join(names)))


def key_usage(*, signs: bool) -> x509.KeyUsage:
    """What an authority (`signs`) or a server may do with its key."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


# One key for every leaf: what differs between certificates is never the key, except where a test says so.
LEAF_KEY = ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    """A private key as PEM, encrypted if there is a password."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption)


class Leaf(NamedTuple):
    """A certificate, what stands between it and the root, and its key."""

    certificate: x509.Certificate
    intermediates: tuple[x509.Certificate, ...]
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(DER)

    def pem(self, *, intermediates: bool = True) -> bytes:
        """Key and chain in one PEM."""
        chain = (self.certificate, *(self.intermediates if intermediates else ()))
        return key_pem(self.key) + b"".join(item.public_bytes(PEM) for item in chain)


class Authority:
    """A certificate authority that signs whatever it is asked to."""

    def __init__(
        self,
        name: str = "test authority",
        parent: Authority | None = None,
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    ) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key_id = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        signer = parent or self
        self.above: tuple[x509.Certificate, ...] = () if parent is None else parent.chain
        self.is_root = parent is None
        builder = (
            x509.CertificateBuilder(signer.name, self.name, self.key.public_key(), x509.random_serial_number())
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(key_usage(signs=True), critical=True)
            .add_extension(self.key_id, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer.key_id), False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        self.certificate = builder.sign(signer.key, hashes.SHA256())

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """What a server sends after its own certificate: everything below the root."""
        return () if self.is_root else (self.certificate, *self.above)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    def leaf(
        self,
        names: Iterable[bytes] | None = (dns(HOST.encode()),),
        *,
        common_name: str = "leaf",
        not_before: datetime.datetime = NOW - DAY,
        not_after: datetime.datetime = NOW + DAY,
        key: ec.EllipticCurvePrivateKey = LEAF_KEY,
        client: bool = False,
        key_identifier: bool = True,
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    ) -> Leaf:
        """Return a certificate of this authority; `names` are encoded, None leaves subjectAltName out."""
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = (
            x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_after)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if names is not None:
            builder = builder.add_extension(alternative_names(names), critical=False)
        if key_identifier:
            identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self.key_id)
            builder = builder.add_extension(identifier, critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return Leaf(builder.sign(self.key, hashes.SHA256()), self.chain, key)

    def revocations(self, *revoked: Leaf, next_update: datetime.datetime = NOW + DAY) -> bytes:
        """Return this authority's revocation list as PEM."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(NOW - 2 * DAY)
            .next_update(next_update)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self.key_id), critical=False)
        )
        for leaf in revoked:
            entry = x509.RevokedCertificateBuilder(leaf.certificate.serial_number, NOW - DAY)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(PEM)


def self_signed(names: Iterable[bytes] = (dns(HOST.encode()),), *, authority: bool = False) -> Leaf:
    """Return a certificate that signed itself."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    key_id = x509.SubjectKeyIdentifier.from_public_key(LEAF_KEY.public_key())
    certificate = (
        x509.CertificateBuilder(name, name, LEAF_KEY.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(key_usage(signs=authority), critical=True)
        .add_extension(alternative_names(names), critical=False)
        .add_extension(key_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        .sign(LEAF_KEY, hashes.SHA256())
    )
    return Leaf(certificate, (), LEAF_KEY)


class Files:
    """Writes PEM files under names of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.count = 0

    def write(self, data: bytes) -> str:
        self.count += 1
        path = self.directory / f"{self.count}.pem"
        path.write_bytes(data)
        return os.fspath(path)

    def certificate(self, leaf: Leaf, *, intermediates: bool = True) -> TlsCertificate:
        return TlsCertificate(self.write(leaf.pem(intermediates=intermediates)))


class Shaking(Protocol):
    """Whatever takes a handshake in steps."""

    def handshake(self) -> int: ...

    def close(self) -> None: ...


Outcome = int | Exception


def shake(client: Shaking, server: Shaking) -> tuple[Outcome, Outcome]:
    """Step both sides until each is done, has failed, or waits for ever; a side that fails is closed.

    Returns:
        For each side DONE, the code it is stuck with, or the error.
    """
    sides = [client, server]
    outcomes: list[Outcome] = [WANTS_READ, WANTS_READ]
    for _ in range(MAX_STEPS):
        for index, side in enumerate(sides):
            outcome = outcomes[index]
            if isinstance(outcome, Exception) or outcome == DONE:
                continue
            try:
                outcomes[index] = side.handshake()
            except (TurbosockError, OSError) as error:
                outcomes[index] = error
                side.close()
        if all(isinstance(outcome, Exception) or outcome == DONE for outcome in outcomes):
            break
    return outcomes[0], outcomes[1]


class RawServer:
    """A server of the standard library, for what turbosock's own does not do: old versions, bad ciphers."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        sock.setblocking(False)
        self.socket = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

    def handshake(self) -> int:
        try:
            self.socket.do_handshake()
        except ssl.SSLWantReadError:
            return WANTS_READ
        except ssl.SSLWantWriteError:
            return WANTS_WRITE
        return DONE

    def close(self) -> None:
        self.socket.close()


def raw_context(
    leaf_file: str | None, *, version: ssl.TLSVersion | None = None, ciphers: str | None = None
) -> ssl.SSLContext:
    """A server's context of the standard library that allows what it is asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if leaf_file is not None:
        context.load_cert_chain(leaf_file)
    if ciphers is not None:
        context.set_ciphers(ciphers)
    if version is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = version
            context.maximum_version = version
    return context


class MemoryServer:
    """A server of the standard library in memory: a test decides which of its bytes arrive, and when."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.engine = context.wrap_bio(self.incoming, self.outgoing, server_side=True)

    def answer(self, data: bytes) -> bytes:
        """Take bytes from the client, go on with the handshake; return the bytes for the client."""
        self.incoming.write(data)
        try:
            self.engine.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        self.engine.write(data)
        return self.outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        self.incoming.write(data)
        return self.engine.read(1 << 20)

    def say_goodbye(self) -> bytes:
        try:
            self.engine.unwrap()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()


def receive_waiting(sock: socket.socket) -> bytes:
    """Everything that has arrived at a non-blocking socket."""
    found = bytearray()
    while True:
        try:
            piece = sock.recv(1 << 16)
        except BlockingIOError:
            return bytes(found)
        if not piece:
            return bytes(found)
        found += piece


class Wire(NamedTuple):
    """A client whose peer is bytes in a test's hands."""

    client: TlsSession
    far: socket.socket
    server: MemoryServer

    def shake(self) -> None:
        """Complete the handshake."""
        for _ in range(MAX_STEPS):
            code = self.client.handshake()
            answer = self.server.answer(receive_waiting(self.far))
            if answer:
                self.far.sendall(answer)
            if code == DONE:
                return
        raise AssertionError("the handshake did not end")


class Network:
    """Makes connected sessions of one provider, and closes what a test has left open."""

    def __init__(self, provider: TlsProvider) -> None:
        self.provider = provider
        self._opened: list[Callable[[], None]] = []

    def pair(self) -> tuple[socket.socket, socket.socket]:
        near, far = socket.socketpair()
        self._opened += [near.close, far.close]
        return near, far

    def client(self, sock: socket.socket, config: TlsConfig, host: str = HOST, pool_key: object = None) -> TlsSession:
        session = self.provider.wrap(sock, self.provider.client_context(config), host, 443, pool_key)
        self._opened.append(session.close)
        return session

    def server(self, sock: socket.socket, config: TlsServerConfig) -> TlsSession:
        session = self.provider.wrap_server(sock, self.provider.server_context(config))
        self._opened.append(session.close)
        return session

    def sessions(
        self, config: TlsConfig, server: TlsServerConfig, host: str = HOST, pool_key: object = None
    ) -> tuple[TlsSession, TlsSession]:
        """A client and a server of this provider, connected, before their handshake."""
        near, far = self.pair()
        return self.client(near, config, host, pool_key), self.server(far, server)

    def connected(self, config: TlsConfig, server: TlsServerConfig) -> tuple[TlsSession, TlsSession]:
        """The same after it."""
        sessions = self.sessions(config, server)
        outcomes = shake(*sessions)
        if outcomes != (DONE, DONE):
            raise AssertionError(f"no handshake: {outcomes}")
        return sessions

    def raw(self, config: TlsConfig, context: ssl.SSLContext, host: str = HOST) -> tuple[TlsSession, RawServer]:
        """A client, and a server of the standard library."""
        near, far = self.pair()
        server = RawServer(far, context)
        self._opened.append(server.close)
        return self.client(near, config, host), server

    def wire(self, config: TlsConfig, context: ssl.SSLContext) -> Wire:
        """A client, and a server in memory."""
        near, far = self.pair()
        far.setblocking(False)
        return Wire(self.client(near, config), far, MemoryServer(context))

    def close(self) -> None:
        for close in reversed(self._opened):
            close()


class CarriedNetwork(Network):
    """The same with clients whose records go over a carrier."""

    def client(self, sock: socket.socket, config: TlsConfig, host: str = HOST, pool_key: object = None) -> TlsSession:
        sock.setblocking(False)
        context = self.provider.client_context(config)
        session = self.provider.wrap_carrier(SocketCarrier(sock), context, host, 443, pool_key)
        self._opened.append(session.close)
        return session


def receive(session: TlsSession, count: int = 1 << 16) -> bytes | int:
    """One read: its bytes, or its code if that is negative."""
    buffer = bytearray(count)
    received = session.recv_into(memoryview(buffer), count)
    return received if received < 0 else bytes(buffer[:received])
