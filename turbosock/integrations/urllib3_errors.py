"""turbosock's errors as urllib3's, which are what requests and its users know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from urllib3 import exceptions

from turbosock import errors

if TYPE_CHECKING:
    from urllib3.connectionpool import ConnectionPool

_CONNECTING = (errors.Phase.QUEUE, errors.Phase.RESOLVE, errors.Phase.CONNECT, errors.Phase.PROXY, errors.Phase.TLS)


def urllib3_error(error: errors.TurbosockError, pool: ConnectionPool, url: str) -> Exception:
    """The exception of urllib3 that says the same; misuse, which is the caller's, is handed back as it is.

    Args:
        pool: what urllib3's exceptions name as the place where it happened.
        url: of the request.
    """
    text = str(error)
    if isinstance(error, errors.DeadlineError):
        if isinstance(error, errors.ConnectTimeout) or error.phase in _CONNECTING:
            return exceptions.ConnectTimeoutError(pool, text)
        # In urllib3's words, which programs look for.
        return exceptions.ReadTimeoutError(pool, url, f"Read timed out. ({text})")
    if isinstance(error, errors.ProxyError):
        return exceptions.ProxyError(text, error)
    if isinstance(error, errors.ResolveError):
        return exceptions.NewConnectionError(pool, text)  # type: ignore[arg-type]  # it only names it
    if isinstance(error, errors.ConnectError):
        return exceptions.NewConnectionError(pool, text)  # type: ignore[arg-type]  # as above
    if isinstance(error, errors.TlsError):
        return exceptions.SSLError(error)
    if isinstance(error, errors.DecodingError):
        return exceptions.DecodeError(text, error)
    if isinstance(error, errors.ClientClosed):
        return exceptions.ClosedPoolError(pool, text)
    if error.code == "bad_content_length" or isinstance(error, errors.InvalidHeader):
        return exceptions.InvalidHeader(text)
    if isinstance(error, errors.InvalidUrl):
        return exceptions.LocationValueError(text)
    if isinstance(error, errors.MisuseError):
        return error
    return exceptions.ProtocolError(text, error)
