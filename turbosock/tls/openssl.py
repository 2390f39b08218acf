"""TLS by pyOpenSSL: the fallback where the interpreter's `ssl` is missing or too old.

The same checks with the same answers as the system provider: OpenSSL verifies the chain, and the name is verified here
(`identity.matches`), inside the verification callback, so that a wrong host ends the handshake with an alert and before
a client certificate is shown.

It costs more: `recv_into` of pyOpenSSL decrypts into a temporary of its own and copies from there (one copy and one
allocation a read, bounded here to a record), and every call passes through cffi. `send` copies nothing: it encrypts at
most one record a call, from the caller's memory.

Which peer a callback of OpenSSL is about is told by the connection's app data, a `Checks`, which refers to no session.
"""

from __future__ import annotations

import socket as socket_module
from collections.abc import Callable
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto

from turbosock import limits
from turbosock.config import ClientAuth, TlsCertificate, TlsConfig, TlsRoots, TlsServerConfig, TlsVersion
from turbosock.errors import InvalidOption, ReadError, TlsError, WriteError
from turbosock.reactor.sockets import explain
from turbosock.tls import certificate as der_certificate
from turbosock.tls.carrier import Carrier
from turbosock.tls.failures import (
    ADDRESS_MISMATCH,
    CLOSED,
    HOSTNAME_MISMATCH,
    SNI_CALLBACK,
    handshake_error,
    handshake_failure,
    record_error,
    verification_error,
)
from turbosock.tls.identity import Identity, matches
from turbosock.tls.ktls import OP_ENABLE_KTLS
from turbosock.tls.nested import NestedSession, Passage
from turbosock.tls.provider import (
    DONE,
    WANTS_READ,
    WANTS_WRITE,
    ReadableBuffer,
    TlsContext,
    TlsProvider,
    TlsSession,
    WritableBuffer,
    refuse,
)
from turbosock.tls.sni import CertificateChooser
from turbosock.tls.trust import certifi_file, default_roots, is_pem, keylog_path, split_pem

NAME: Final = "pyOpenSSL"
LIBRARY: Final = SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode("ascii", "replace")
RECORD_BYTES: Final = limits.TLS_RECORD_BYTES
MAX_SEND: Final = limits.MAX_TLS_SEND_BYTES
# The interpreter's own choice for TLS 1.2 (PEP 644 and Python 3.10's ssl), so that both providers agree on the same.
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
VERSIONS: Final = {TlsVersion.TLS_1_2: SSL.TLS1_2_VERSION, TlsVersion.TLS_1_3: SSL.TLS1_3_VERSION}
KEY_MARK: Final = b"PRIVATE KEY-----"
AUTH: Final = {
    ClientAuth.NONE: SSL.VERIFY_NONE,
    ClientAuth.OPTIONAL: SSL.VERIFY_PEER,
    ClientAuth.REQUIRED: SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
}


class Checks:
    """What the callbacks of one connection need, and what they found.

    Attributes:
        identity: whose certificate is expected; None where no name is checked.
        common_name: whether the common name may stand in for missing names.
        code: OpenSSL's code of the first thing wrong, or 0.
        asked: whether a certificate was verified at all; a resumed handshake has none.
        asked_name, failure: on a server, the name in SNI, and what choosing a certificate raised.
    """

    __slots__ = ("asked", "asked_name", "code", "common_name", "failure", "identity")

    def __init__(self, identity: Identity | None, common_name: bool) -> None:
        self.identity = identity
        self.common_name = common_name
        self.code = 0
        self.asked = False
        self.asked_name: str | None = None
        self.failure: Exception | None = None

    def verify(self, certificate: crypto.X509, code: int, depth: int, good: bool) -> bool:
        """Whether OpenSSL may go on with `certificate` at `depth`, of which it found `code`."""
        self.asked = True
        if not good:
            self.code = self.code or code or 1
            return False
        if depth == 0 and self.identity is not None and not self._is_named(certificate, self.identity):
            self.code = ADDRESS_MISMATCH if self.identity.packed else HOSTNAME_MISMATCH
            return False
        return True

    def _is_named(self, certificate: crypto.X509, identity: Identity) -> bool:
        try:
            names = der_certificate.names(as_der(certificate))
        except ValueError:
            # Names that cannot be read name nobody.
            return False
        return matches(identity, names, common_name=self.common_name)


def checks_of(connection: SSL.Connection) -> Checks:
    """Return the Checks of a connection."""
    checks = connection.get_app_data()
    assert isinstance(checks, Checks), "every connection is made with one"
    return checks


def as_der(certificate: crypto.X509) -> bytes:
    """Return a certificate as DER."""
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def verify_strictly(connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, good: int) -> bool:
    """Verify as the connection's Checks say; the callback of OpenSSL."""
    return checks_of(connection).verify(certificate, code, depth, bool(good))


def verify_nothing(connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, good: int) -> bool:
    """Note that a certificate was shown, and accept it; the callback of OpenSSL where `verify` is False."""
    checks_of(connection).asked = True
    return True


def words_of(error: SSL.Error) -> str:
    """Return OpenSSL's reason for an error of pyOpenSSL: the first in its queue."""
    queue = error.args[0] if error.args else ()
    for entry in queue if isinstance(queue, (list, tuple)) else ():
        if isinstance(entry, tuple) and len(entry) == 3 and entry[2]:
            return str(entry[2])
    return ""


def forget_errors() -> None:
    """Empty this thread's queue of OpenSSL's errors.

    OpenSSL notes a failed write there, and pyOpenSSL, which looks at the socket's own error, leaves it: the next call
    that fails, of whatever connection, would be told that reason. Loading nothing fails, and takes the queue with it.
    """
    try:
        crypto.load_certificate(crypto.FILETYPE_PEM, b"")
    except crypto.Error:
        return


class PyOpenSslSession(TlsSession):
    """A session of pyOpenSSL."""

    __slots__ = ("_checks", "_connection")

    provider = NAME
    library = LIBRARY
    copies_per_read = 1

    def __init__(
        self, sock: socket_module.socket, context: TlsContext, identity: Identity | None, session_key: object = None
    ) -> None:
        super().__init__(context, identity, session_key)
        self.socket = sock
        connection = self._connect(sock)
        config = context.config
        named = isinstance(config, TlsConfig) and config.verify and config.check_hostname
        self._checks = Checks(identity if named else None, not config.strict)
        connection.set_app_data(self._checks)
        self._connection = connection
        if identity is None:
            connection.set_accept_state()
            return
        connection.set_connect_state()
        if identity.sni is not None:
            connection.set_tlsext_host_name(identity.sni.encode("ascii"))
        if self._offered is not None:
            connection.set_session(self._offered.native)

    def _connect(self, sock: socket_module.socket) -> SSL.Connection:
        """The engine."""
        return SSL.Connection(self._context.native, sock)

    def handshake(self) -> int:
        connection = self._connection
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            return WANTS_READ
        except SSL.WantWriteError:
            return WANTS_WRITE
        except SSL.Error as error:
            raise self._handshake_failure(error) from self._checks.failure or error
        self.alpn = connection.get_alpn_proto_negotiated().decode("ascii", "replace") or None
        self.version = connection.get_protocol_version_name()
        self.cipher = connection.get_cipher_name() or ""
        self.server_name = self._checks.asked_name
        # A handshake in full verifies a certificate, even where nothing comes of it.
        self.session_reused = self._offered is not None and not self._checks.asked
        if self._checks.failure is not None:
            raise self._handshake_failure(SSL.Error()) from self._checks.failure
        self._check_peer()
        self._read = connection.recv_into
        self._write = connection.send
        return DONE

    def recv_into(self, view: WritableBuffer, count: int) -> int:
        if self._read is refuse:
            refuse()
        try:
            received = self._connection.recv_into(view, count if count < RECORD_BYTES else RECORD_BYTES)
        except SSL.WantReadError:
            return WANTS_READ
        except SSL.WantWriteError:
            return WANTS_WRITE
        except SSL.Error as error:
            return self._end(error)
        if self._ticket_due:
            self._keep_session()
        return received

    def send(self, data: ReadableBuffer) -> int:
        if self._unsent is not None:
            data = self._same_bytes(data)
        elif len(data) > MAX_SEND:
            data = memoryview(data)[:MAX_SEND]
        try:
            sent = self._write(data)
        except SSL.WantWriteError:
            self._unsent = data
            return WANTS_WRITE
        except SSL.WantReadError:
            self._unsent = data
            return WANTS_READ
        except SSL.Error as error:
            raise self._send_failure(error) from error
        self._unsent = None
        return sent

    def pending(self) -> int:
        return self._connection.pending()

    def close_notify(self) -> int:
        if self._write is refuse or self._unsent is not None:
            return DONE
        try:
            self._connection.shutdown()
        except SSL.WantWriteError:
            return WANTS_WRITE
        except SSL.Error:
            # Nobody is left to tell.
            pass
        self._write = refuse
        return DONE

    def unwrap(self) -> int:
        if self._read is refuse:
            refuse()
        if self._ticket_due:
            self._keep_session()
        connection = self._connection
        try:
            # The first call sends ours, the second one looks for the peer's.
            if not connection.shutdown() and not connection.shutdown():
                return WANTS_READ
        except SSL.WantReadError:
            return WANTS_READ
        except SSL.WantWriteError:
            return WANTS_WRITE
        except SSL.ZeroReturnError:
            pass
        except SSL.SysCallError as error:
            raise self.truncation() from error
        except SSL.Error as error:
            raise self._read_failure(error) from error
        self._read = refuse
        self._write = refuse
        return DONE

    def close(self) -> None:
        if self._read is not refuse:
            # OpenSSL forgets the session of a connection that ends without this, and it is the one kept for later.
            self._connection.set_shutdown(SSL.SENT_SHUTDOWN)
        super().close()

    @property
    def peer_certificate_der(self) -> bytes | None:
        if self._chain:
            return self._chain[0]
        certificate = self._connection.get_peer_certificate()
        return None if certificate is None else as_der(certificate)

    def _read_chain(self) -> tuple[bytes, ...]:
        config = self._context.config
        verified = config.verify if isinstance(config, TlsConfig) else config.client_auth is not ClientAuth.NONE
        chain = self._connection.get_verified_chain() if verified else self._connection.get_peer_cert_chain()
        found = tuple(as_der(certificate) for certificate in chain or ())
        leaf = self.peer_certificate_der
        # On the server's side OpenSSL's chain of what was sent leaves the leaf out.
        return (leaf, *found) if leaf is not None and (not found or found[0] != leaf) else found

    def _native_session(self) -> Any | None:
        return self._connection.get_session()

    def _handshake_failure(self, error: SSL.Error) -> TlsError:
        checks = self._checks
        if checks.failure is not None:
            return handshake_failure(SNI_CALLBACK, self.host)
        if checks.code:
            return verification_error(checks.code, "", self.host)
        if isinstance(error, (SSL.SysCallError, SSL.ZeroReturnError)):
            forget_errors()
            return handshake_failure(CLOSED, self.host)
        return handshake_error(words_of(error), self.host)

    def _end(self, error: SSL.Error) -> int:
        """A read that gave no bytes: 0 at the end of the stream, or the error of what broke."""
        # Asked again after its end, OpenSSL fails without a reason.
        if isinstance(error, SSL.ZeroReturnError) or self.truncated:
            return 0
        if self._write is refuse and not words_of(error):
            # After a failed write, releases from 3.2 on read nothing more, and give no reason.
            self.truncated = True
            return 0
        if isinstance(error, SSL.SysCallError) and error.args[0] == -1:
            self.truncated = True
            return 0
        raise self._read_failure(error) from error

    def _read_failure(self, error: SSL.Error) -> Exception:
        self._fail()
        if isinstance(error, SSL.SysCallError):
            return ReadError(f"reading failed: {explain(error.args[0])}", errno=error.args[0])
        return record_error(words_of(error), self.host)

    def _send_failure(self, error: SSL.Error) -> Exception:
        self._fail_sending()
        if isinstance(error, SSL.ZeroReturnError) or (isinstance(error, SSL.SysCallError) and error.args[0] == -1):
            return WriteError("writing failed: the peer closed the connection")
        if isinstance(error, SSL.SysCallError):
            forget_errors()
            return WriteError(f"writing failed: {explain(error.args[0])}", errno=error.args[0])
        self._fail()
        return record_error(words_of(error), self.host)


class NestedPyOpenSslSession(NestedSession, PyOpenSslSession):
    """A session of pyOpenSSL over a carrier."""

    __slots__ = ("_passage",)

    def __init__(self, carrier: Carrier, context: TlsContext, identity: Identity, session_key: object) -> None:
        self._passage = Passage(carrier)
        super().__init__(carrier.socket, context, identity, session_key)

    def _connect(self, sock: socket_module.socket) -> SSL.Connection:
        # Without a socket its bytes stay in memory.
        return SSL.Connection(self._context.native, None)

    def _feed_engine(self, records: memoryview) -> None:
        if records:
            self._connection.bio_write(records)  # type: ignore[arg-type,unused-ignore]  # any buffer is taken

    def _end_engine(self) -> None:
        self._connection.bio_shutdown()

    def _drain_engine(self) -> bytes:
        try:
            return self._connection.bio_read(MAX_SEND)
        except SSL.WantReadError:
            return b""


class PyOpenSslProvider(TlsProvider):
    """pyOpenSSL, on the OpenSSL that `cryptography` brings."""

    __slots__ = ()

    name = NAME
    library = LIBRARY
    copies_per_read = 1

    def _client_session(
        self, sock: socket_module.socket, context: TlsContext, identity: Identity, session_key: object
    ) -> TlsSession:
        return PyOpenSslSession(sock, context, identity, session_key)

    def _server_session(self, sock: socket_module.socket, context: TlsContext) -> TlsSession:
        return PyOpenSslSession(sock, context, None)

    def _nested_session(
        self, carrier: Carrier, context: TlsContext, identity: Identity, session_key: object
    ) -> TlsSession:
        return NestedPyOpenSslSession(carrier, context, identity, session_key)

    def _make_client(self, config: TlsConfig) -> SSL.Context:
        native = SSL.Context(SSL.TLS_CLIENT_METHOD)
        set_common(native, config)
        if config.verify:
            native.set_verify(SSL.VERIFY_PEER, verify_strictly)
        else:
            native.set_verify(SSL.VERIFY_NONE, verify_nothing)
        if not config.session_resumption:
            native.set_options(SSL.OP_NO_TICKET)
        if config.alpn:
            native.set_alpn_protos([protocol.encode("ascii") for protocol in config.alpn])
        load_roots(native, config)
        flags = crypto.X509StoreFlags.CRL_CHECK if config.crl_files else 0
        for path in config.crl_files:
            load("crl_files", path, native.load_verify_locations, path)
        set_store_flags(native, config.strict, flags)
        if config.cert_file is not None:
            load_certificate(native, TlsCertificate(config.cert_file, config.key_file, config.key_password))
        return native

    def _make_server(self, config: TlsServerConfig) -> SSL.Context:
        native = self._server_context(config, config.certificate)
        chooser = CertificateChooser(config, lambda certificate: self._server_context(config, certificate))
        # Without a certificate no handshake succeeds: what a callback of OpenSSL's has in place of an exception.
        barren = SSL.Context(SSL.TLS_SERVER_METHOD)

        def choose(connection: SSL.Connection) -> None:
            checks = checks_of(connection)
            name = connection.get_servername()
            checks.asked_name = name.decode("ascii", "replace") if name else None
            try:
                found = chooser.choose(checks.asked_name)
            except Exception as error:
                checks.failure = error
                found = barren
            if found is not None:
                connection.set_context(found)

        native.set_tlsext_servername_callback(choose)
        return native

    def _server_context(self, config: TlsServerConfig, certificate: TlsCertificate) -> SSL.Context:
        native = SSL.Context(SSL.TLS_SERVER_METHOD)
        set_common(native, config)
        native.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
        native.set_session_id(b"turbosock")
        native.set_verify(AUTH[config.client_auth], verify_strictly)
        if not config.session_tickets:
            native.set_options(SSL.OP_NO_TICKET)
            native.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        if config.client_ca_file is not None:
            load("client_ca_file", config.client_ca_file, native.load_verify_locations, config.client_ca_file)
        if config.client_ca_data is not None:
            load("client_ca_data", None, load_data, native, config.client_ca_data)
        set_store_flags(native, config.strict, 0)
        if config.alpn:
            native.set_alpn_select_callback(alpn_chooser(config.alpn))
        load_certificate(native, certificate)
        return native


def alpn_chooser(accepted: tuple[str, ...]) -> Callable[[SSL.Connection, list[bytes]], Any]:
    """Return the callback that picks the first of `accepted` that a client offers, or none."""
    names = [protocol.encode("ascii") for protocol in accepted]

    def choose(connection: SSL.Connection, offered: list[bytes]) -> Any:
        for name in names:
            if name in offered:
                return name
        return SSL.NO_OVERLAPPING_PROTOCOLS

    return choose


def set_common(native: SSL.Context, config: TlsConfig | TlsServerConfig) -> None:
    """What both sides set: versions, ciphers, the key log, and what is never allowed."""
    native.set_min_proto_version(VERSIONS[config.minimum_version])
    native.set_max_proto_version(VERSIONS[config.maximum_version] if config.maximum_version else 0)
    native.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    if config.ktls:
        native.set_options(OP_ENABLE_KTLS)
    ciphers = CIPHERS if config.ciphers is None else config.ciphers + ":!aNULL:!eNULL"
    load("ciphers", None, native.set_cipher_list, ciphers.encode("ascii"))
    path = keylog_path(config)
    if path is not None:
        native.set_keylog_callback(keylog_writer(path))


def keylog_writer(path: str) -> Callable[[SSL.Connection, bytes], None]:
    """Return the callback that appends a line of secrets to the file at `path`."""

    def write(connection: SSL.Connection, line: bytes) -> None:
        with open(path, "ab") as file:
            file.write(line + b"\n")

    return write


def set_store_flags(native: SSL.Context, strict: bool, flags: int) -> None:
    """RFC 5280 to the letter, or as OpenSSL does it by itself; `flags` beside."""
    store = native.get_cert_store()
    assert store is not None, "a context has its store from the start"
    store.set_flags(flags | (crypto.X509StoreFlags.X509_STRICT if strict else 0))


def load_roots(native: SSL.Context, config: TlsConfig) -> None:
    """Load the roots that `config` names; where nothing is verified, none."""
    if not config.verify:
        return
    roots = default_roots(config)
    if roots is TlsRoots.SYSTEM:
        native.set_default_verify_paths()
    elif roots is TlsRoots.CERTIFI:
        native.load_verify_locations(certifi_file())
    elif roots is TlsRoots.TRUSTSTORE:
        raise InvalidOption("roots=TlsRoots.TRUSTSTORE works with the system provider only; use SYSTEM or CERTIFI")
    if config.ca_file is not None:
        load("ca_file", config.ca_file, native.load_verify_locations, config.ca_file)
    if config.ca_dir is not None:
        load("ca_dir", config.ca_dir, native.load_verify_locations, None, config.ca_dir)
    if config.ca_data is not None:
        load("ca_data", None, load_data, native, config.ca_data)


def load_data(native: SSL.Context, data: bytes) -> None:
    """Load certificates given as bytes."""
    store = native.get_cert_store()
    assert store is not None, "a context has its store from the start"
    pem = is_pem(data)
    parts = split_pem(data) if pem else [data]
    if not parts:
        raise ValueError("no certificate in it")
    for part in parts:
        store.add_cert(crypto.load_certificate(crypto.FILETYPE_PEM if pem else crypto.FILETYPE_ASN1, part))


def load_certificate(native: SSL.Context, certificate: TlsCertificate) -> None:
    """Load a chain and its key."""
    load("cert_file", certificate.cert_file, native.use_certificate_chain_file, certificate.cert_file)
    if certificate.key_file is None:
        load("cert_file or key_password", certificate.cert_file, load_key, native, certificate.cert_file, certificate)
    else:
        load("key_file or key_password", certificate.key_file, load_key, native, certificate.key_file, certificate)
    load("key_file", certificate.key_file, native.check_privatekey)


def load_key(native: SSL.Context, path: str, certificate: TlsCertificate) -> None:
    """Load the private key in the PEM file at `path`, which may hold certificates beside it."""
    with open(path, "rb") as file:
        data = file.read()
    start = data.rfind(b"-----BEGIN ", 0, max(data.find(KEY_MARK), 0))
    if start < 0:
        raise ValueError("no private key in it")
    key = open_key(data[start:], certificate.key_password)
    try:
        native.use_privatekey(key)
    except TypeError:
        # Releases before 25.0 take their own objects only, which later ones warn of.
        native.use_privatekey(crypto.PKey.from_cryptography_key(key))


def open_key(pem: bytes, password: str | bytes | None) -> Any:
    """Return the key in `pem`; as OpenSSL does it, a password for a key that is not encrypted is not looked at."""
    if password is not None:
        secret = password.encode() if isinstance(password, str) else password
        try:
            return serialization.load_pem_private_key(pem, secret)
        except TypeError:
            # Not encrypted.
            pass
    try:
        return serialization.load_pem_private_key(pem, None)
    except TypeError as error:
        raise ValueError("the key is encrypted; give key_password") from error


def load(field: str, path: object, function: Callable[..., object], *arguments: object) -> None:
    """Call `function`; what fails becomes InvalidOption naming `field`, with the cause and never with a secret."""
    try:
        function(*arguments)
    except (SSL.Error, crypto.Error, OSError, ValueError) as error:
        where = f"={path!r}" if path is not None else ""
        words = words_of(error) if isinstance(error, SSL.Error) else getattr(error, "strerror", None) or str(error)
        raise InvalidOption(f"{field}{where}: {words or 'cannot be loaded'}") from error
