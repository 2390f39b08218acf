"""Which version of HTTP a new connection speaks (RFC 9113 §3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.errors import ProtocolError

if TYPE_CHECKING:
    from turbosock.config import Config
    from turbosock.pool.origin_pool import OriginKey
    from turbosock.transport.transport import Transport


def has_prior_knowledge(config: Config, key: OriginKey) -> bool:
    """Whether HTTP/2 is spoken to this origin without asking (RFC 9113 §3.3)."""
    return config.http_versions == ("HTTP/2",) and key.scheme == "http" and not (key.forwarded or key.upgrades)


def speaks_http2(transport: Transport, config: Config, key: OriginKey) -> bool:
    """Whether HTTP/2 was agreed on, or is known to be understood.

    Raises:
        ProtocolError: nothing else may be spoken, and the server does not agree to it.
    """
    tls = transport.tls
    if tls is not None and tls.alpn == "h2":
        return True
    if has_prior_knowledge(config, key):
        return True
    if config.http_versions == ("HTTP/2",) and not (key.forwarded or key.upgrades):
        raise ProtocolError("the server did not agree to HTTP/2; allow HTTP/1.1 in http_versions", code="http2_refused")
    return False
