"""Which certificate a server shows to the name that a client asks for (RFC 6066 section 3).

The callback of the configuration first, then its names: the exact one, then a wildcard over its first label. What is
found is the engine's own context for that certificate, made once; None means the certificate that everybody gets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from turbosock import limits
from turbosock.config import TlsCertificate, TlsServerConfig
from turbosock.errors import InvalidOption
from turbosock.tls.cache import LruCache
from turbosock.tls.trust import file_stamps


class CertificateChooser:
    """Chooses among the certificates of one server configuration.

    Args:
        config: says what there is; the certificates of its mapping are read now.
        make: makes the engine's context for one certificate.
    """

    __slots__ = ("_by_name", "_callback", "_from_callback", "_make")

    def __init__(self, config: TlsServerConfig, make: Callable[[TlsCertificate], Any]) -> None:
        self._callback = config.sni_callback
        self._make = make
        self._by_name = {name: make(certificate) for name, certificate in config.certificate_pairs}
        self._from_callback: LruCache[Any] = LruCache(limits.MAX_TLS_CONTEXTS)

    def choose(self, name: str | None) -> Any | None:
        """Return the context for the client that asked for `name`, or None for the default.

        Raises:
            InvalidOption: the callback returned something else than a TlsCertificate or None. What it raises, raises.
        """
        name = name.lower().removesuffix(".") if name else None
        if self._callback is not None:
            certificate = self._callback(name)
            if certificate is not None:
                if not isinstance(certificate, TlsCertificate):
                    raise InvalidOption(f"sni_callback returned {certificate!r}: return a TlsCertificate or None")
                key = (certificate, file_stamps((certificate.cert_file, certificate.key_file)))
                return self._from_callback.get_or_make(key, lambda: self._make(certificate))
        if name is None:
            return None
        found = self._by_name.get(name)
        if found is None:
            found = self._by_name.get("*." + name.partition(".")[2])
        return found
