"""TLS by the interpreter's own `ssl`, wrapping the socket: OpenSSL decrypts straight into the caller's buffer.

Importing this module imports `ssl` (15 ms), so nothing imports it before the first TLS connection. Chains and names
are verified by OpenSSL inside the handshake, as the context says; this file translates settings, codes and errors.

`SSLSocket.read` is two calls deep; the object below it, `_sslobj`, has the same methods without the detour and is used
where it is there. EOF without close_notify is an exception of the engine (`suppress_ragged_eofs=False`, and
OP_IGNORE_UNEXPECTED_EOF off), and becomes `truncated` here.
"""

from __future__ import annotations

import socket as socket_module
import ssl
from collections.abc import Callable
from ssl import SSLWantReadError, SSLWantWriteError
from typing import Any, Final

from turbosock import limits
from turbosock.config import ClientAuth, TlsCertificate, TlsConfig, TlsRoots, TlsServerConfig, TlsVersion
from turbosock.errors import InvalidOption, ReadError, WriteError
from turbosock.reactor.sockets import explain
from turbosock.tls.carrier import Carrier
from turbosock.tls.failures import (
    CLOSED,
    SNI_CALLBACK,
    handshake_error,
    handshake_failure,
    record_error,
    verification_error,
)
from turbosock.tls.identity import Identity
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
from turbosock.tls.trust import certifi_file, default_roots, is_pem, keylog_path

NAME: Final = "ssl"
MAX_SEND: Final = limits.MAX_TLS_SEND_BYTES

VERSIONS: Final = {TlsVersion.TLS_1_2: ssl.TLSVersion.TLSv1_2, TlsVersion.TLS_1_3: ssl.TLSVersion.TLSv1_3}
PRESENT: Final = {TlsVersion.TLS_1_2: ssl.HAS_TLSv1_2, TlsVersion.TLS_1_3: ssl.HAS_TLSv1_3}
AUTH: Final = {
    ClientAuth.NONE: ssl.VerifyMode.CERT_NONE,
    ClientAuth.OPTIONAL: ssl.VerifyMode.CERT_OPTIONAL,
    ClientAuth.REQUIRED: ssl.VerifyMode.CERT_REQUIRED,
}


class ServerSocket(ssl.SSLSocket):
    """An accepted socket that remembers what its client asked for, and what went wrong in choosing a certificate."""

    asked_name: str | None = None
    sni_failure: Exception | None = None


class SystemSession(TlsSession):
    """A session of `ssl`."""

    __slots__ = ("_engine", "_tls")

    provider = NAME
    library = ssl.OPENSSL_VERSION
    copies_per_read = 0

    def __init__(
        self, sock: socket_module.socket, context: TlsContext, identity: Identity | None, session_key: object = None
    ) -> None:
        super().__init__(context, identity, session_key)
        # A host that is neither name nor address is there only where nobody verifies it; nothing is sent for it.
        known = identity is not None and (identity.sni or identity.packed)
        hostname = identity.name if identity is not None and known else None
        self._tls: ssl.SSLSocket | ssl.SSLObject
        self._start(sock, hostname)
        self._engine: Any = getattr(self._tls, "_sslobj", None) or self._tls

    def _start(self, sock: socket_module.socket, hostname: str | None) -> None:
        """Make the engine, and note what to wait for."""
        try:
            self._tls = self.socket = self._context.native.wrap_socket(
                sock,
                server_side=self._is_server,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=False,
                server_hostname=hostname,
                session=None if self._offered is None else self._offered.native,
            )
        except OSError as error:
            raise handshake_failure(CLOSED, self.host) from error

    def handshake(self) -> int:
        try:
            self._tls.do_handshake()
        except SSLWantReadError:
            return WANTS_READ
        except SSLWantWriteError:
            return WANTS_WRITE
        except OSError as error:
            raise self._handshake_failure(error) from self._sni_failure() or error
        tls = self._tls
        cipher = tls.cipher()
        self.alpn = tls.selected_alpn_protocol()
        self.version = tls.version() or ""
        self.cipher = cipher[0] if cipher else ""
        self.session_reused = bool(tls.session_reused)
        if isinstance(tls, ServerSocket):
            self.server_name = tls.asked_name
        self._check_peer()
        self._read = self._engine.read
        self._write = self._engine.write
        return DONE

    def recv_into(self, view: WritableBuffer, count: int) -> int:
        try:
            received = self._read(count, view)
        except SSLWantReadError:
            return WANTS_READ
        except SSLWantWriteError:
            return WANTS_WRITE
        except OSError as error:
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
        except SSLWantWriteError:
            self._unsent = data
            return WANTS_WRITE
        except SSLWantReadError:
            self._unsent = data
            return WANTS_READ
        except OSError as error:
            raise self._send_failure(error) from error
        self._unsent = None
        return sent

    def pending(self) -> int:
        return self._engine.pending()  # type: ignore[no-any-return]  # the engine has no types

    def close_notify(self) -> int:
        if self._write is refuse or self._unsent is not None:
            return DONE
        try:
            self._tls.unwrap()
        except SSLWantWriteError:
            return WANTS_WRITE
        except OSError:
            # Ours is sent and the peer's is not here, or nobody is left to tell: done, either way.
            pass
        self._write = refuse
        return DONE

    def unwrap(self) -> int:
        if self._read is refuse:
            refuse()
        if self._ticket_due:
            self._keep_session()
        try:
            self._tls.unwrap()
        except SSLWantReadError:
            return WANTS_READ
        except SSLWantWriteError:
            return WANTS_WRITE
        except OSError as error:
            if is_end(error):
                raise self.truncation() from error
            raise self._read_failure(error) from error
        self._read = refuse
        self._write = refuse
        if isinstance(self._tls, ssl.SSLSocket):
            # The same descriptor, as a plain socket: SSLSocket would refuse sendmsg and the like.
            self.socket = socket_module.socket(fileno=self._tls.detach())
            self.socket.setblocking(False)
        return DONE

    def close(self) -> None:
        super().close()
        self._engine = self._tls

    @property
    def peer_certificate_der(self) -> bytes | None:
        if self._chain:
            return self._chain[0]
        return self._tls.getpeercert(binary_form=True)

    def _read_chain(self) -> tuple[bytes, ...]:
        config = self._context.config
        verified = config.verify if isinstance(config, TlsConfig) else config.client_auth is not ClientAuth.NONE
        name = "get_verified_chain" if verified else "get_unverified_chain"
        read = getattr(self._tls, name, None) or getattr(self._engine, name, None)
        found = read() if read is not None else None
        if not found:
            leaf = self._tls.getpeercert(binary_form=True)
            return (leaf,) if leaf else ()
        # Bytes from Python 3.13 on; before, objects whose public_bytes(2) is the DER (_ssl.ENCODING_DER).
        return tuple(item if isinstance(item, bytes) else item.public_bytes(2) for item in found)

    def _native_session(self) -> Any | None:
        # `ssl` copies a session for each look at it, and with OpenSSL 3.0 never frees the copy: see MAX_SESSION_READS.
        if not self._context.session_reads.take():
            return None
        session = self._tls.session
        if session is None or not (session.has_ticket or (self.version == "TLSv1.2" and session.id)):
            return None
        return session

    def _sni_failure(self) -> Exception | None:
        return self._tls.sni_failure if isinstance(self._tls, ServerSocket) else None

    def _handshake_failure(self, error: OSError) -> Exception:
        if self._sni_failure() is not None:
            return handshake_failure(SNI_CALLBACK, self.host)
        if isinstance(error, ssl.SSLCertVerificationError):
            return verification_error(error.verify_code, error.verify_message, self.host)
        if is_end(error) or not isinstance(error, ssl.SSLError):
            return handshake_failure(CLOSED, self.host)
        return handshake_error(error.reason or str(error), self.host)

    def _end(self, error: OSError) -> int:
        """A read that gave no bytes: 0 at the end of the stream, or the error of what broke."""
        if is_end(error):
            self.truncated = not isinstance(error, ssl.SSLZeroReturnError)
            return 0
        raise self._read_failure(error) from error

    def _read_failure(self, error: OSError) -> Exception:
        self._fail()
        if isinstance(error, ssl.SSLError):
            return record_error(error.reason or str(error), self.host)
        return ReadError(f"reading failed: {explain(error.errno or 0)}", errno=error.errno)

    def _send_failure(self, error: OSError) -> Exception:
        self._fail_sending()
        if isinstance(error, ssl.SSLError) and not is_end(error):
            self._fail()
            return record_error(error.reason or str(error), self.host)
        errno = None if isinstance(error, ssl.SSLError) else error.errno
        words = explain(errno) if errno else "the peer closed the connection"
        return WriteError(f"writing failed: {words}", errno=errno)


class NestedSystemSession(NestedSession, SystemSession):
    """A session of `ssl` over a carrier."""

    __slots__ = ("_incoming", "_outgoing", "_passage")

    def __init__(self, carrier: Carrier, context: TlsContext, identity: Identity, session_key: object) -> None:
        self._passage = Passage(carrier)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        super().__init__(carrier.socket, context, identity, session_key)

    def _start(self, sock: socket_module.socket, hostname: str | None) -> None:
        self.socket = sock
        self._tls = self._context.native.wrap_bio(
            self._incoming,
            self._outgoing,
            server_hostname=hostname,
            session=None if self._offered is None else self._offered.native,
        )

    def _feed_engine(self, records: memoryview) -> None:
        self._incoming.write(records)

    def _end_engine(self) -> None:
        self._incoming.write_eof()

    def _drain_engine(self) -> bytes:
        return self._outgoing.read() if self._outgoing.pending else b""


def is_end(error: OSError) -> bool:
    """Whether an error of `ssl` says that the stream is over, properly or not."""
    return isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError))


class SystemProvider(TlsProvider):
    """The interpreter's `ssl`."""

    __slots__ = ()

    name = NAME
    library = ssl.OPENSSL_VERSION
    copies_per_read = 0

    def lacks(self, config: TlsConfig | TlsServerConfig) -> str:
        for version in (config.minimum_version, config.maximum_version):
            if version is not None and not PRESENT[version]:
                return f"{ssl.OPENSSL_VERSION} has no {version.value}"
        return ""

    def _client_session(
        self, sock: socket_module.socket, context: TlsContext, identity: Identity, session_key: object
    ) -> TlsSession:
        return SystemSession(sock, context, identity, session_key)

    def _server_session(self, sock: socket_module.socket, context: TlsContext) -> TlsSession:
        return SystemSession(sock, context, None)

    def _nested_session(
        self, carrier: Carrier, context: TlsContext, identity: Identity, session_key: object
    ) -> TlsSession:
        return NestedSystemSession(carrier, context, identity, session_key)

    def _make_client(self, config: TlsConfig) -> ssl.SSLContext:
        native = empty_client_context(config)
        set_common(native, config)
        native.check_hostname = False
        native.verify_mode = ssl.VerifyMode.CERT_REQUIRED if config.verify else ssl.VerifyMode.CERT_NONE
        native.check_hostname = config.verify and config.check_hostname
        set_strictness(native, config.strict)
        if not config.session_resumption:
            native.options |= ssl.OP_NO_TICKET
        load_roots(native, config)
        for path in config.crl_files:
            load("crl_files", path, native.load_verify_locations, path)
            native.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
        if config.cert_file is not None:
            load_certificate(native, TlsCertificate(config.cert_file, config.key_file, config.key_password))
        return native

    def _make_server(self, config: TlsServerConfig) -> ssl.SSLContext:
        native = self._server_context(config, config.certificate)
        chooser = CertificateChooser(config, lambda certificate: self._server_context(config, certificate))

        def choose(sock: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
            assert isinstance(sock, ServerSocket), "sslsocket_class says so"
            sock.asked_name = name
            try:
                found = chooser.choose(name)
            except Exception as error:
                # Out of a callback of OpenSSL an exception has nowhere to go; the handshake raises it.
                sock.sni_failure = error
                return ssl.AlertDescription.ALERT_DESCRIPTION_INTERNAL_ERROR
            if found is not None:
                sock.context = found
            return None

        native.sslsocket_class = ServerSocket
        native.sni_callback = choose
        return native

    def _server_context(self, config: TlsServerConfig, certificate: TlsCertificate) -> ssl.SSLContext:
        native = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        set_common(native, config)
        native.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        native.verify_mode = AUTH[config.client_auth]
        set_strictness(native, config.strict)
        if not config.session_tickets:
            native.options |= ssl.OP_NO_TICKET
            native.num_tickets = 0
        if config.client_ca_file is not None:
            load("client_ca_file", config.client_ca_file, native.load_verify_locations, config.client_ca_file)
        if config.client_ca_data is not None:
            load("client_ca_data", None, load_data, native, config.client_ca_data)
        load_certificate(native, certificate)
        return native


def empty_client_context(config: TlsConfig) -> ssl.SSLContext:
    """Return a context that trusts nobody, or the operating system's store where that is asked for."""
    if default_roots(config) is TlsRoots.TRUSTSTORE:
        try:
            import truststore  # type: ignore[import-not-found,unused-ignore]  # an extra; it may not be installed
        except ImportError as error:
            raise InvalidOption(
                "roots=TlsRoots.TRUSTSTORE: truststore is not installed; pip install truststore"
            ) from error
        made: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return made
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def set_common(native: ssl.SSLContext, config: TlsConfig | TlsServerConfig) -> None:
    """What both sides set: versions, ciphers, ALPN, the key log, and what is never allowed."""
    native.minimum_version = VERSIONS[config.minimum_version]
    native.maximum_version = (
        VERSIONS[config.maximum_version] if config.maximum_version else ssl.TLSVersion.MAXIMUM_SUPPORTED
    )
    native.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # Named from Python 3.10 on where OpenSSL 3 has it, and set by default in some builds.
    native.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    if config.ktls and ssl.OPENSSL_VERSION_INFO >= (3, 0):
        native.options |= OP_ENABLE_KTLS
    if config.ciphers is not None:
        load("ciphers", None, native.set_ciphers, config.ciphers + ":!aNULL:!eNULL")
    if config.alpn:
        native.set_alpn_protocols(config.alpn)
    keylog = keylog_path(config)
    if keylog is not None:
        native.keylog_filename = keylog


def set_strictness(native: ssl.SSLContext, strict: bool) -> None:
    """RFC 5280 to the letter and no common name, or as OpenSSL does it by itself."""
    native.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST
    if strict:
        native.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    if ssl.HAS_NEVER_CHECK_COMMON_NAME:
        native.hostname_checks_common_name = not strict


def load_roots(native: ssl.SSLContext, config: TlsConfig) -> None:
    """Load the roots that `config` names; where nothing is verified, none."""
    if not config.verify:
        return
    roots = default_roots(config)
    if roots is TlsRoots.SYSTEM:
        native.load_default_certs()
    elif roots is TlsRoots.CERTIFI:
        native.load_verify_locations(certifi_file())
    if config.ca_file is not None:
        load("ca_file", config.ca_file, native.load_verify_locations, config.ca_file)
    if config.ca_dir is not None:
        load("ca_dir", config.ca_dir, native.load_verify_locations, None, config.ca_dir)
    if config.ca_data is not None:
        load("ca_data", None, load_data, native, config.ca_data)


def load_data(native: ssl.SSLContext, data: bytes) -> None:
    """Load certificates given as bytes."""
    native.load_verify_locations(cadata=data.decode("ascii") if is_pem(data) else data)


def load_certificate(native: ssl.SSLContext, certificate: TlsCertificate) -> None:
    """Load a chain and its key. Without a password OpenSSL would ask the terminal: an empty one is given instead."""
    password = certificate.key_password or ""
    load("cert_file", certificate.cert_file, open_nothing, certificate.cert_file)
    if certificate.key_file is None:
        load("cert_file", certificate.cert_file, look_for_key, certificate.cert_file)
    else:
        load("key_file", certificate.key_file, open_nothing, certificate.key_file)
    load(
        "cert_file, key_file or key_password",
        certificate.cert_file,
        native.load_cert_chain,
        certificate.cert_file,
        certificate.key_file,
        lambda: password,
    )


def open_nothing(path: str) -> None:
    """Raise what opening `path` raises: OpenSSL's own message does not say which of two files is missing."""
    with open(path, "rb"):
        return


def look_for_key(path: str) -> None:
    """Raise where no private key is in the PEM file at `path`: OpenSSL's own message says `PEM lib`."""
    with open(path, "rb") as file:
        if b"PRIVATE KEY-----" not in file.read():
            raise ValueError("no private key in it; give key_file")


def load(field: str, path: object, function: Callable[..., object], *arguments: object) -> None:
    """Call `function`; what fails becomes InvalidOption naming `field`, with the cause and never with a secret."""
    try:
        function(*arguments)
    except (OSError, ValueError) as error:
        where = f"={path!r}" if path is not None else ""
        words = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise InvalidOption(f"{field}{where}: {str(words).lower().replace('_', ' ')}") from error
