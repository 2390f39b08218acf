"""Every error that turbosock raises, in one tree.

::

    TurbosockError                      root; carries origin, code and what was being done
    ├── MisuseError                     MISUSE    the caller broke a rule; nothing was sent
    │   ├── InvalidOption (ValueError)            an argument or setting has a wrong value
    │   │   ├── InvalidUrl
    │   │   └── InvalidHeader                     method, target, field name or field value
    │   ├── StateError                            a call that its object's state does not allow
    │   │   ├── ClientClosed                      Client, Loop or listener used after close()
    │   │   ├── ResponseClosed                    body of a response asked for after close()
    │   │   └── LeaseError                        pooled memory: used after return, returned twice, overrun
    ├── NetworkError (OSError)          LOCAL or REMOTE
    │   ├── ResolveError                          the name has no address
    │   ├── ConnectError                          no address accepted
    │   ├── ProxyError                            a proxy failed or refused; `code` says which way, `proxy` who
    │   ├── ReadError                             reset or failed while reading
    │   ├── WriteError                            reset or failed while writing
    │   ├── ConnectionClosed                      the peer closed before the answer was whole
    │   └── WebSocketClosed                       a WebSocket has ended; `close_code` and `close_reason` say how
    ├── ProtocolError                   PROTOCOL  the peer broke its protocol's rules
    │   ├── BodyTruncated                         fewer bytes than announced
    │   ├── Http2Error                            a stream or connection of HTTP/2 ended early; `error_code` says why
    │   └── DecodingError                         a content coding failed, expands too far, or is not known
    ├── DeadlineError (TimeoutError)    TIMEOUT
    │   ├── ConnectTimeout  ReadTimeout  WriteTimeout  PoolTimeout  TotalTimeout
    ├── TlsError                        TLS       `reason` is a stable word for what failed
    │   ├── TlsVerificationError                  the peer's certificate was refused: expired, wrong host, pin ...
    │   ├── TlsHandshakeError                     no agreement, no TLS at all, or the peer refused us
    │   ├── TlsRecordError                        garbage after the handshake, or an alert
    │   └── TlsTruncated                          the end of the stream came without close_notify
    ├── LimitError                      LIMIT     a bound of ours was reached
    │   ├── HeadTooLarge
    │   ├── BodyTooLarge
    │   ├── PoolExhausted
    │   └── QueueFull
    ├── RedirectError                   REMOTE    a redirect that cannot be followed, or must not be
    │   └── TooManyRedirects            LIMIT     one more than max_redirects, or a loop
    ├── StatusError                     REMOTE    raise_for_status() on 4xx and 5xx; a WebSocket that was refused
    ├── AuditError                      LOCAL     an audit of allocations could not be made
    ├── CassetteError                   LOCAL     recorded exchanges are damaged, or have no answer to a request
    └── Cancelled                       LOCAL     cancel() was called

`origin` says whose fault it is, `code` is a stable word for programs, and the message says what failed,
doing what, and what to do next. URLs in messages carry no user information, no query and no fragment.
"""

from __future__ import annotations

import enum
from collections.abc import Callable


class Origin(enum.Enum):
    """Where the cause of an error lies."""

    LOCAL = "local"
    REMOTE = "remote"
    PROTOCOL = "protocol"
    TIMEOUT = "timeout"
    TLS = "tls"
    LIMIT = "limit"
    MISUSE = "misuse"


class Phase(enum.Enum):
    """What an exchange was doing when it failed."""

    NONE = ""
    QUEUE = "waiting for a connection"
    RESOLVE = "resolving the name"
    CONNECT = "connecting"
    PROXY = "going through the proxy"
    TLS = "in the TLS handshake"
    SEND = "sending the request"
    HEAD = "waiting for the response head"
    BODY = "reading the response body"


class TurbosockError(Exception):
    """The root of the tree.

    Attributes:
        origin: whose fault it is.
        code: a stable, lower-case word that programs may compare.
        method, url: the request concerned, or None; the URL is without credentials, query and fragment.
        phase: what was being done.
        bytes_done: body bytes received before the failure, or 0.
    """

    origin = Origin.LOCAL
    code = "error"

    def __init__(self, message: str = "", *, code: str | None = None, origin: Origin | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        if origin is not None:
            self.origin = origin
        self.method: str | None = None
        self.url: str | None = None
        self.phase = Phase.NONE
        self.bytes_done = 0

    def during(
        self, phase: Phase, method: str | None = None, url: str | None = None, bytes_done: int = 0
    ) -> TurbosockError:
        """Say what was being done; `url` must already be free of credentials. Returns the error itself."""
        self.phase = phase
        self.method = method
        self.url = url
        self.bytes_done = bytes_done
        return self

    def copied(self) -> TurbosockError:
        """The same of its own, without traceback: what ends several exchanges says for each what that was doing."""
        kind, arguments = self.__reduce__()
        copy = kind(*arguments)
        copy.__cause__ = self.__cause__
        return copy

    def __str__(self) -> str:
        message = super().__str__()
        if self.phase is Phase.NONE:
            return message
        subject = f"{self.method} {self.url}: " if self.method and self.url else ""
        done = f" after {self.bytes_done} body bytes" if self.bytes_done else ""
        return f"{subject}{message} (while {self.phase.value}{done})"

    def __reduce__(self) -> tuple[Callable[..., TurbosockError], tuple[object, ...]]:
        # Errors travel between processes; a response, which holds sockets, stays where it is.
        state = {name: value for name, value in self.__dict__.items() if name != "response"}
        if isinstance(self, OSError):
            state["errno"] = self.errno
        return _restored, (type(self), self.args[0] if self.args else "", state)


def _restored(kind: type[TurbosockError], message: str, state: dict[str, object]) -> TurbosockError:
    """The error that was pickled."""
    error = kind(message)
    for name, value in state.items():
        setattr(error, name, value)
    return error


class MisuseError(TurbosockError):
    """The caller broke a rule of this library; nothing was sent because of it."""

    origin = Origin.MISUSE
    code = "misuse"


class InvalidOption(MisuseError, ValueError):
    """An argument or a setting has a value that cannot work; the message names it."""

    code = "invalid_option"


class InvalidUrl(InvalidOption):
    """A URL that cannot be requested."""

    code = "invalid_url"


class InvalidHeader(InvalidOption):
    """A method, target, field name or field value with bytes that RFC 9110 forbids."""

    code = "invalid_header"


class StateError(MisuseError):
    """A call that its object's present state does not allow."""

    code = "wrong_state"


class ClientClosed(StateError):
    """A Client, Loop or listener was used after its close()."""

    code = "closed"


class ResponseClosed(StateError):
    """The body of a response was asked for after the response was closed."""

    code = "response_closed"


class LeaseError(StateError):
    """Pooled memory was used after its return, returned twice, or overrun."""

    code = "lease"


class NetworkError(TurbosockError, OSError):
    """The network failed. `errno` is the system's, or None."""

    origin = Origin.REMOTE
    code = "network"

    def __init__(
        self, message: str = "", *, errno: int | None = None, code: str | None = None, origin: Origin | None = None
    ) -> None:
        TurbosockError.__init__(self, message, code=code, origin=origin)
        self.errno = errno


class ResolveError(NetworkError):
    """The host name has no usable address."""

    code = "resolve"


class ConnectError(NetworkError):
    """No address of the origin accepted a connection."""

    code = "connect"


class ProxyError(NetworkError):
    """A proxy could not be reached, refused, failed, or answered nonsense; the origin has no part in it.

    `code` says which: "proxy_resolve" and "proxy_connect" (there is no way to the proxy itself), "proxy_auth" (it wants
    other credentials, or any), "proxy_refused" (it does not let us go there), "proxy_unreachable" (it got no connection
    to there), "proxy_unsupported" (it, or its protocol, cannot do that), "proxy_failed" (it failed by its own account),
    "proxy_closed" (it closed before its answer was whole), "proxy_protocol" (its answer is none) and
    "proxy_early_bytes" (something spoke through it before the origin could).

    Attributes:
        proxy: the proxy concerned, as a URL without credentials, or "".
        reply: its own code: an HTTP status, or a SOCKS reply; None where it gave none.
    """

    code = "proxy"

    def __init__(
        self,
        message: str = "",
        *,
        proxy: str = "",
        reply: int | None = None,
        errno: int | None = None,
        code: str | None = None,
        origin: Origin | None = None,
    ) -> None:
        super().__init__(message, errno=errno, code=code, origin=origin)
        self.proxy = proxy
        self.reply = reply


class ReadError(NetworkError):
    """Reading failed: the connection was reset, or the system refused."""

    code = "read"


class WriteError(NetworkError):
    """Writing failed: the connection was reset, or the system refused."""

    code = "write"


class ConnectionClosed(NetworkError):
    """The peer closed the connection before the answer was whole."""

    code = "connection_closed"


class WebSocketClosed(NetworkError):
    """A WebSocket has ended: nothing is received from it, or sent, any more.

    `origin` says by whose doing: LOCAL (we closed it), REMOTE (the peer did, or the connection broke, and the
    cause says how), PROTOCOL (the peer broke the rules), LIMIT (it sent more than is allowed), TIMEOUT (it answered no
    ping).

    Attributes:
        close_code: RFC 6455 §7.4; 1000 is the usual one, 1005 an end without a code, 1006 one without a word.
        close_reason: the reason beside it, or "".
        clean: whether both sides said that they close.
    """

    code = "websocket_closed"

    def __init__(
        self,
        message: str = "",
        close_code: int = 0,
        close_reason: str = "",
        *,
        clean: bool = False,
        code: str | None = None,
        origin: Origin | None = None,
    ) -> None:
        super().__init__(message, code=code, origin=origin)
        self.close_code = close_code
        self.close_reason = close_reason
        self.clean = clean


class ProtocolError(TurbosockError):
    """The peer broke the rules of its protocol. Its connection is closed and never reused."""

    origin = Origin.PROTOCOL
    code = "protocol"


class Http2Error(ProtocolError):
    """A stream or a connection of HTTP/2 ended before its time, by the peer's word or for the peer's mistake.

    Attributes:
        error_code: of RFC 9113 §7, as it was received or sent.
        stream_id: of the stream that it concerns alone; 0: the whole connection.
    """

    code = "http2"

    def __init__(
        self,
        message: str = "",
        error_code: int = 0,
        *,
        code: str | None = None,
        origin: Origin | None = None,
        stream_id: int = 0,
    ) -> None:
        super().__init__(message, code=code, origin=origin)
        self.error_code = error_code
        self.stream_id = stream_id


class BodyTruncated(ProtocolError):
    """The peer closed before the announced end of the body."""

    code = "body_truncated"


class DecodingError(ProtocolError):
    """A body cannot be decoded; `code` says why.

    Attributes:
        coding: the content coding concerned, as in Content-Encoding, or "".
        offset: bytes of that coding's input before the piece in which it failed, or -1.
    """

    code = "decoding"

    def __init__(
        self,
        message: str = "",
        *,
        coding: str = "",
        offset: int = -1,
        code: str | None = None,
        origin: Origin | None = None,
    ) -> None:
        super().__init__(message, code=code, origin=origin)
        self.coding = coding
        self.offset = offset


class DeadlineError(TurbosockError, TimeoutError):
    """A time limit passed."""

    origin = Origin.TIMEOUT
    code = "timeout"


class ConnectTimeout(DeadlineError):
    """`Timeouts.connect_s` passed before the connection stood."""

    code = "connect_timeout"


class ReadTimeout(DeadlineError):
    """`Timeouts.read_s` passed without a byte from the peer."""

    code = "read_timeout"


class WriteTimeout(DeadlineError):
    """`Timeouts.write_s` passed without the peer taking a byte."""

    code = "write_timeout"


class PoolTimeout(DeadlineError):
    """`Timeouts.pool_s` passed before a connection was free."""

    code = "pool_timeout"


class TotalTimeout(DeadlineError):
    """`Timeouts.total_s`, the deadline over the whole exchange, passed."""

    code = "total_timeout"


class TlsError(TurbosockError):
    """TLS failed: handshake, verification or record layer.

    `reason` is a stable, lower-case word for what failed, such as "expired" or "hostname_mismatch".
    """

    origin = Origin.TLS
    code = "tls"

    def __init__(
        self, message: str = "", *, reason: str = "", code: str | None = None, origin: Origin | None = None
    ) -> None:
        super().__init__(message, code=code, origin=origin)
        self.reason = reason


class TlsVerificationError(TlsError):
    """The peer's certificate was refused. `reason` is one of the words in `turbosock/tls/failures.py`."""

    code = "tls_verification"


class TlsHandshakeError(TlsError):
    """The handshake failed: no agreement on version or ciphers, no TLS at the other end, or the peer refused us."""

    code = "tls_handshake"


class TlsRecordError(TlsError):
    """What came after the handshake was no valid TLS record, or an alert that ends the connection."""

    code = "tls_record"


class TlsTruncated(TlsError):
    """The stream ended without close_notify: what was read may have been cut short by anybody on the path."""

    code = "tls_truncated"


class LimitError(TurbosockError):
    """A bound of `limits.py` or of the configuration was reached; the message names it."""

    origin = Origin.LIMIT
    code = "limit"


class HeadTooLarge(LimitError):
    """A message head is longer, or has more fields, than allowed."""

    code = "head_too_large"


class BodyTooLarge(LimitError):
    """A body is longer than allowed, or than the buffer given for it."""

    code = "body_too_large"


class PoolExhausted(LimitError):
    """A bounded pool has nothing left to lend."""

    code = "pool_exhausted"


class QueueFull(LimitError):
    """A bounded queue of requests has no room for another."""

    code = "queue_full"


class RedirectError(TurbosockError):
    """An answer redirects to where its request cannot or must not go; `code` says why."""

    origin = Origin.REMOTE
    code = "redirect"


class TooManyRedirects(RedirectError):
    """One redirect more than `max_redirects` allows, or a loop."""

    origin = Origin.LIMIT
    code = "too_many_redirects"


class StatusError(TurbosockError):
    """`raise_for_status()` met a 4xx or 5xx status, or a WebSocket was refused by any. `response` is the response."""

    origin = Origin.REMOTE
    code = "status"

    def __init__(self, message: str = "", *, response: object = None) -> None:
        super().__init__(message)
        self.response = response

    @property
    def status_code(self) -> int | None:
        """The status of the answer; None where the error came from another process."""
        code: int | None = getattr(getattr(self, "response", None), "status_code", None)
        return code


class AuditError(TurbosockError):
    """What was to be audited failed, or cannot be audited here."""

    origin = Origin.LOCAL
    code = "audit_failed"


class CassetteError(TurbosockError):
    """A cassette of recorded exchanges is damaged, or has no answer to a request (code "cassette_mismatch")."""

    origin = Origin.LOCAL
    code = "cassette"


class Cancelled(TurbosockError):
    """The exchange was cancelled by `cancel()`."""

    code = "cancelled"
