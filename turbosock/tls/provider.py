"""The interface of a TLS engine: contexts made from settings, and sessions that wrap connected sockets.

Calling order of a session::

    1. session = provider.wrap(sock, context, host, port)     takes the socket over; `session.socket` from now on
       or provider.wrap_carrier(carrier, ...)                 the same over a session that stands: TLS inside TLS
    2. handshake() until DONE                                 wait for what WANTS_READ or WANTS_WRITE says
    3. recv_into(), send(), pending()                         as a non-blocking socket, with codes for would-block
    4. close_notify() until DONE, then close()                or unwrap(), to go on in plaintext

Every step returns at once: the deadline of a stalled handshake is the caller's. Codes are negative, counts are not.
After a read, `pending()` bytes are inside the engine, where no poller sees them: read until it is 0 or the caller's
budget is spent, and keep the connection on a ready list meanwhile.

Invariants:
    - Not a byte of the application is read or written before the handshake, with all checks, is DONE: OpenSSL would
      otherwise shake hands by itself inside a read, past the pins.
    - After WANTS_* from `send`, the engine retries the bytes of that very call, at their address: the session holds
      them (a `bytearray` under a view cannot be resized meanwhile), and the caller repeats its call until it gets a
      count.
    - A context is never changed after its first use, and two configurations that differ in anything never share one.
    - A session that failed is good for close() only; one whose send failed because the socket did may be read on, for
      what the peer said before it went.
"""

from __future__ import annotations

import socket as socket_module
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from turbosock import limits
from turbosock.config import TlsConfig, TlsServerConfig, TlsVerdict
from turbosock.errors import StateError, TlsTruncated, TlsVerificationError
from turbosock.tls import ktls
from turbosock.tls.cache import LruCache, SessionCache, SessionReads
from turbosock.tls.failures import NO_CERTIFICATE, REFUSED, refusal
from turbosock.tls.identity import Identity
from turbosock.tls.trust import check_pins, file_stamps, surroundings

if TYPE_CHECKING:
    from turbosock.tls.carrier import Carrier

DONE: Final = 0
WANTS_READ: Final = -1
WANTS_WRITE: Final = -2

WritableBuffer = memoryview | bytearray
# Reads after which a server that has sent no ticket is taken to send none: each look costs an allocation.
TICKET_TRIES: Final = 3

ReadableBuffer = bytes | bytearray | memoryview


class TlsInfo(NamedTuple):
    """What was agreed on, for people.

    Attributes:
        provider: "ssl" or "pyOpenSSL".
        library: its OpenSSL.
        version, cipher, alpn: as negotiated; alpn is None where nothing was.
        resumed: an earlier session went on.
        ktls: "off", "active", "sending only", "receiving only", "requested, not active" or "requested, not known".
        copies_per_read: copies of each byte between the engine and the caller's buffer, beside the engine's own.
    """

    provider: str
    library: str
    version: str
    cipher: str
    alpn: str | None
    resumed: bool
    ktls: str
    copies_per_read: int


class StoredSession(NamedTuple):
    """A session to resume, and the chain of the server that gave it: a resumed handshake does not show it again."""

    native: Any
    chain: tuple[bytes, ...]


class TlsContext:
    """A configuration made ready for use by one provider; shared by all connections under it.

    Attributes:
        config: what it was made from.
        native: the engine's context.
        sessions: what may be resumed, by host; None where nothing is.
        session_reads: how often an engine that pays for it in memory may still read a session for that.
    """

    __slots__ = ("config", "native", "session_reads", "sessions")

    def __init__(self, config: TlsConfig | TlsServerConfig, native: Any) -> None:
        self.config = config
        self.native = native
        self.session_reads = SessionReads()
        self.sessions: SessionCache[StoredSession] | None = None
        if isinstance(config, TlsConfig) and config.resumes:
            self.sessions = SessionCache(limits.MAX_TLS_SESSIONS)


def refuse(*_: object) -> int:
    """Stand in for the engine before the handshake is done, and after the end."""
    raise StateError("this TLS session cannot move bytes: its handshake is not done, it failed, or it was closed")


class TlsSession(ABC):
    """TLS on one connected, non-blocking socket. Not safe to share between threads.

    Attributes:
        socket: the socket to wait for; use it for nothing else. It is closed by close().
        host: whom it belongs to; empty on the server's side.
        alpn: the protocol agreed on, or None. Known when the handshake is DONE, as are the next three.
        version, cipher: "TLSv1.3", "TLS_AES_256_GCM_SHA384".
        session_reused: an earlier session was resumed.
        server_name: on the server's side, the host that the client named, or None.
        truncated: `recv_into` returned 0 without a close_notify from the peer: what came may have been cut short.
    """

    __slots__ = (
        "_chain",
        "_context",
        "_identity",
        "_is_server",
        "_offered",
        "_read",
        "_session_key",
        "_ticket_due",
        "_unsent",
        "_write",
        "alpn",
        "cipher",
        "host",
        "server_name",
        "session_reused",
        "socket",
        "truncated",
        "version",
    )

    provider: ClassVar[str]
    library: ClassVar[str]
    copies_per_read: ClassVar[int]
    # Whether it is inside another one, so that `hides()` is worth asking.
    nested: ClassVar[bool] = False

    def __init__(self, context: TlsContext, identity: Identity | None, session_key: object) -> None:
        self.socket: socket_module.socket
        self.host = identity.name if identity is not None else ""
        self.alpn: str | None = None
        self.version = ""
        self.cipher = ""
        self.session_reused = False
        self.server_name: str | None = None
        self.truncated = False
        self._context = context
        self._identity = identity
        self._is_server = identity is None
        self._session_key = session_key
        self._chain: tuple[bytes, ...] | None = None
        self._offered: StoredSession | None = None
        if context.sessions is not None and identity is not None:
            self._offered = context.sessions.get(session_key)
        self._ticket_due = 0
        self._unsent: ReadableBuffer | None = None
        self._read: Callable[[int, Any], int] = refuse
        self._write: Callable[[Any], int] = refuse

    @abstractmethod
    def handshake(self) -> int:
        """Take the next step of the handshake: DONE, WANTS_READ or WANTS_WRITE.

        Raises:
            TlsVerificationError: the peer's certificate is refused; `reason` says why.
            TlsHandshakeError: there is no agreement, or no TLS at the other end.
        """

    @abstractmethod
    def recv_into(self, view: WritableBuffer, count: int) -> int:
        """Decrypt up to `count` (at least 1) bytes into the start of `view`.

        Returns:
            The count; 0 at the end of the stream (`truncated` tells whether it was a proper one); WANTS_READ, or
            WANTS_WRITE where the engine must answer the peer first.

        Raises:
            TlsRecordError: what came is no valid record.
            TlsHandshakeError: the client certificate is missing or refused, which TLS 1.3 tells only now.
            ReadError: the socket failed. Before Python 3.13 `ssl` takes a reset for an end: 0 and `truncated`.
        """

    @abstractmethod
    def send(self, data: ReadableBuffer) -> int:
        """Encrypt and send some of `data`, which is not empty: at most `limits.MAX_TLS_SEND_BYTES` in one call.

        After WANTS_*, nothing may be sent but the same bytes again, in the same memory.

        Returns:
            How many of its bytes were taken; WANTS_WRITE or WANTS_READ: none is known to be.

        Raises:
            WriteError, TlsRecordError: the connection broke. StateError: other bytes than those of the call before.
        """

    @abstractmethod
    def pending(self) -> int:
        """Return how many decrypted bytes wait inside the engine."""

    def hides(self) -> bool:
        """Whether bytes of the peer may wait below the engine, still encrypted, where no poller sees them."""
        return False

    @abstractmethod
    def close_notify(self) -> int:
        """Tell the peer that no more will be sent: DONE or WANTS_WRITE. Its own close_notify is not waited for."""

    @abstractmethod
    def unwrap(self) -> int:
        """Close both directions of TLS and keep the socket: DONE, WANTS_READ or WANTS_WRITE.

        When DONE, `socket` is in plaintext and the caller's. Unread bytes of the peer are an error.
        """

    def forget_tickets(self) -> None:
        """Keep nothing of this connection for resumption: it is another process's."""
        self._ticket_due = 0

    def close(self) -> None:
        """Close the socket, without a close_notify, and forget the engine; a second call does nothing."""
        if self._ticket_due:
            self._keep_session()
        self._read = refuse
        self._write = refuse
        self._unsent = None
        self.socket.close()

    @property
    @abstractmethod
    def peer_certificate_der(self) -> bytes | None:
        """The peer's own certificate, or None if it showed none."""

    @property
    def peer_chain_der(self) -> tuple[bytes, ...]:
        """The peer's chain, its own certificate first: up to the root where it was verified, else as it was sent."""
        if self._chain is None:
            self._chain = self._read_chain()
        return self._chain

    def info(self) -> TlsInfo:
        """Return what was agreed on."""
        return TlsInfo(
            self.provider,
            self.library,
            self.version,
            self.cipher,
            self.alpn,
            self.session_reused,
            ktls.state(self.socket, self._context.config.ktls),
            self.copies_per_read,
        )

    def truncation(self) -> TlsTruncated:
        """Return the error for a stream whose end needed a close_notify and came without."""
        return TlsTruncated(
            f"{self.host or 'the client'} closed without close_notify: what came may have been cut short by anybody on "
            "the path; ask again, or do not rely on the end of the connection for the end of a message",
            reason="truncated",
        )

    @abstractmethod
    def _read_chain(self) -> tuple[bytes, ...]:
        """The chain, asked of the engine."""

    @abstractmethod
    def _native_session(self) -> Any | None:
        """A session of the engine that can be resumed, or None if there is none yet."""

    def _check_peer(self) -> None:
        """The checks beside the engine's own, when its handshake is done; the engine is refused until they pass."""
        config = self._context.config
        if not isinstance(config, TlsConfig):
            return
        if self.session_reused and self._offered is not None:
            self._chain = self._offered.chain
        if config.verify and self.peer_certificate_der is None:
            raise refusal(NO_CERTIFICATE, self.host)
        try:
            if config.pins:
                check_pins(config, self.peer_chain_der, self.host)
            if config.verify_callback is not None:
                verdict = TlsVerdict.VERIFIED if config.verify else TlsVerdict.UNVERIFIED
                if not self._ask(config.verify_callback, verdict):
                    raise refusal(REFUSED, self.host)
        except TlsVerificationError:
            if self._context.sessions is not None:
                self._context.sessions.discard(self._session_key)
            raise
        self._ticket_due = TICKET_TRIES if self._context.sessions is not None else 0

    def _ask(self, callback: Callable[[tuple[bytes, ...], TlsVerdict, str], bool], verdict: TlsVerdict) -> bool:
        try:
            return callback(self.peer_chain_der, verdict, self.host)
        except Exception as error:
            raise refusal(REFUSED, self.host, f" (it raised {type(error).__name__})") from error

    def _keep_session(self) -> None:
        """Remember how to resume. TLS 1.3 sends tickets after the handshake: with the first bytes, or never."""
        sessions = self._context.sessions
        native = self._native_session()
        self._ticket_due -= 1
        if native is None or sessions is None:
            return
        self._ticket_due = 0
        sessions.put(self._session_key, StoredSession(native, self.peer_chain_der))

    def _fail(self) -> None:
        """After an error of the engine: it has no sensible answer any more, and the session is not to be resumed."""
        self._ticket_due = 0
        self._read = refuse
        self._write = refuse

    def _fail_sending(self) -> None:
        """After an error of the socket under a send: the session is not to be resumed, but may be read to its end."""
        self._ticket_due = 0
        self._write = refuse

    def _same_bytes(self, data: ReadableBuffer) -> ReadableBuffer:
        """What the engine is still to send, which is the start of `data`."""
        unsent = self._unsent
        assert unsent is not None, "a resend follows a send that would have blocked"
        if len(data) < len(unsent):
            raise StateError(
                f"send() of {len(data)} bytes while {len(unsent)} wait for the socket: repeat the call that would have "
                "blocked, with the same bytes"
            )
        return unsent


class TlsProvider(ABC):
    """One TLS engine.

    Attributes:
        name: "ssl" or "pyOpenSSL".
        library: the OpenSSL behind it.
        contexts: those made, by configuration.
    """

    __slots__ = ("contexts",)

    name: ClassVar[str]
    library: ClassVar[str]
    copies_per_read: ClassVar[int]

    def __init__(self) -> None:
        self.contexts: LruCache[TlsContext] = LruCache(limits.MAX_TLS_CONTEXTS)

    def client_context(self, config: TlsConfig) -> TlsContext:
        """Return the context for `config`; equal configurations share one while the files they name stay the same.

        Raises:
            InvalidOption: a file is missing or wrong, a password does not open its key; the message names the field.
        """
        files = (config.ca_file, config.ca_dir, config.cert_file, config.key_file, *config.crl_files)
        key = (config, surroundings(config), file_stamps(files))
        return self.contexts.get_or_make(key, lambda: TlsContext(config, self._make_client(config)))

    def server_context(self, config: TlsServerConfig) -> TlsContext:
        """Return the context for `config`, as `client_context` does; named certificates are read now, too."""
        files = [config.client_ca_file]
        for certificate in (config.certificate, *(item for _, item in config.certificate_pairs)):
            files += [certificate.cert_file, certificate.key_file]
        key = (config, surroundings(config), file_stamps(files))
        return self.contexts.get_or_make(key, lambda: TlsContext(config, self._make_server(config)))

    def wrap(
        self, sock: socket_module.socket, context: TlsContext, host: str, port: int, pool_key: object = None
    ) -> TlsSession:
        """Start TLS as a client on the connected socket `sock`, which becomes non-blocking and the session's.

        Args:
            host: as in the URL; verified, and sent as SNI, unless `TlsConfig.server_name` says otherwise.
            pool_key: hashable; sessions are resumed only between equal ones (and equal hosts, ports and settings).

        Raises:
            InvalidOption: `host` is none. TlsVerificationError: no certificate could name it.
        """
        identity = _identity(context, host)
        sock.setblocking(False)
        return self._client_session(sock, context, identity, (identity.name, host.lower(), port, pool_key))

    def wrap_carrier(
        self, carrier: Carrier, context: TlsContext, host: str, port: int, pool_key: object = None
    ) -> TlsSession:
        """Start TLS as a client over `carrier`, a session with a proxy mostly, which becomes the session's.

        Arguments and errors are those of `wrap`.
        """
        identity = _identity(context, host)
        return self._nested_session(carrier, context, identity, (identity.name, host.lower(), port, pool_key))

    def wrap_server(self, sock: socket_module.socket, context: TlsContext) -> TlsSession:
        """Start TLS as a server on the accepted socket `sock`, which becomes non-blocking and the session's."""
        assert isinstance(context.config, TlsServerConfig), "a client's context wraps with wrap"
        sock.setblocking(False)
        return self._server_session(sock, context)

    def lacks(self, config: TlsConfig | TlsServerConfig) -> str:
        """Return what of `config` this engine cannot offer, in words; empty if nothing."""
        return ""

    @abstractmethod
    def _make_client(self, config: TlsConfig) -> Any: ...

    @abstractmethod
    def _make_server(self, config: TlsServerConfig) -> Any: ...

    @abstractmethod
    def _client_session(
        self, sock: socket_module.socket, context: TlsContext, identity: Identity, session_key: object
    ) -> TlsSession: ...

    @abstractmethod
    def _nested_session(
        self, carrier: Carrier, context: TlsContext, identity: Identity, session_key: object
    ) -> TlsSession: ...

    @abstractmethod
    def _server_session(self, sock: socket_module.socket, context: TlsContext) -> TlsSession: ...


def _identity(context: TlsContext, host: str) -> Identity:
    """Whom a client's context expects at `host`."""
    config = context.config
    assert isinstance(config, TlsConfig), "a server's context wraps with wrap_server"
    return Identity.of(config.server_name or host, check=config.verify and config.check_hostname)
