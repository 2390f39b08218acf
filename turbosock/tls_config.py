"""Settings of TLS for both sides: frozen, validated where they are made, hashable and picklable.

`TlsConfig` says whom a client trusts and what it shows of itself; `TlsServerConfig` is a listener's certificates.
Every field is part of equality and of the hash: two connections may share a pool slot, a context or a session only
if all of it is equal. Nothing here imports `ssl`; files are read when a context is made from the settings.
A wrong value raises InvalidOption naming the field. Passwords never show in a repr.

What TLS itself forbids by now (RFC 8996: TLS 1.0 and 1.1; renegotiation; compression) cannot be switched on.
"""

from __future__ import annotations

import base64
import binascii
import enum
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from turbosock import limits
from turbosock.errors import InvalidOption

PIN_PREFIX = "sha256/"
PIN_BYTES = 32


class TlsProviderMode(enum.Enum):
    """Which TLS engine is used.

    SYSTEM_PREFERRED: the interpreter's `ssl`; pyOpenSSL where that is missing or lacks the versions asked for.
    SYSTEM_ONLY: `ssl`, or an error.
    PYOPENSSL_ONLY: pyOpenSSL, or an error.
    """

    SYSTEM_PREFERRED = "system_preferred"
    SYSTEM_ONLY = "system_only"
    PYOPENSSL_ONLY = "pyopenssl_only"


class TlsVersion(enum.Enum):
    """The versions of TLS that are spoken. Older ones are refused whatever is asked (RFC 8996)."""

    TLS_1_2 = "TLSv1.2"
    TLS_1_3 = "TLSv1.3"


class TlsRoots(enum.Enum):
    """Where trusted roots come from when none are given.

    SYSTEM: OpenSSL's default file and directory, and SSL_CERT_FILE and SSL_CERT_DIR.
    CERTIFI: Mozilla's list, from the package `certifi`.
    TRUSTSTORE: the operating system's store, through the package `truststore` (system provider on Linux only).
    """

    SYSTEM = "system"
    CERTIFI = "certifi"
    TRUSTSTORE = "truststore"


class PinScope(enum.Enum):
    """Which certificates a pin may match: the server's own (LEAF), or any of the verified chain (CHAIN)."""

    LEAF = "leaf"
    CHAIN = "chain"


class TlsVerdict(enum.Enum):
    """What the engine found of a peer's certificates, as a verification callback is told.

    VERIFIED: chain and name are good. UNVERIFIED: nothing was checked, because of `verify=False`.
    """

    VERIFIED = "verified"
    UNVERIFIED = "unverified"


class ClientAuth(enum.Enum):
    """Whether a listener asks its clients for a certificate."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


VerifyCallback = Callable[[tuple[bytes, ...], TlsVerdict, str], bool]


def _option_of(config: object, name: str, kind: type, words: str) -> None:
    value = getattr(config, name)
    if not isinstance(value, kind):
        raise InvalidOption(f"{name}={value!r}: give {words}")


def _check_flags(config: object, *names: str) -> None:
    for name in names:
        _option_of(config, name, bool, "True or False")


def _check_paths(config: object, *names: str) -> None:
    """Turn every path into a str, so that equal settings are equal however they were written."""
    for name in names:
        value = getattr(config, name)
        if value is None:
            continue
        if isinstance(value, (str, os.PathLike)):
            path = os.fspath(value)
            if isinstance(path, str) and path and "\0" not in path:
                object.__setattr__(config, name, path)
                continue
        raise InvalidOption(f"{name}={value!r}: give the path of a file or directory, or None")


def _tuple_of_text(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise InvalidOption(f"{name}={value!r}: give a tuple of str")
    items = tuple(value)
    for item in items:
        if not isinstance(item, str):
            raise InvalidOption(f"{name}: {item!r} is no str")
    return items


def _check_versions(config: TlsConfig | TlsServerConfig) -> None:
    words = "TlsVersion.TLS_1_2 or TlsVersion.TLS_1_3 (older versions are broken and not offered)"
    _option_of(config, "minimum_version", TlsVersion, words)
    if config.maximum_version is not None:
        _option_of(config, "maximum_version", TlsVersion, words + ", or None for the newest")
        if config.maximum_version.value < config.minimum_version.value:
            raise InvalidOption(
                f"maximum_version={config.maximum_version.value} is below minimum_version="
                f"{config.minimum_version.value}: raise the first or lower the second"
            )


def _check_ciphers(ciphers: object) -> None:
    if ciphers is None:
        return
    if not isinstance(ciphers, str) or not ciphers.strip() or not ciphers.isascii() or "\0" in ciphers:
        raise InvalidOption(f"ciphers={ciphers!r}: give an OpenSSL cipher list, for example 'ECDHE+AESGCM', or None")
    if "seclevel" in ciphers.lower():
        raise InvalidOption("ciphers: @SECLEVEL is not a choice of ciphers; leave it out")


def _check_alpn(config: TlsConfig | TlsServerConfig) -> None:
    protocols = _tuple_of_text("alpn", config.alpn)
    for protocol in protocols:
        # RFC 7301 section 3.1: one length byte before each name.
        if not 1 <= len(protocol) <= 255 or not protocol.isascii():
            raise InvalidOption(f"alpn: {protocol!r} is no protocol name; give 1 to 255 ASCII characters")
    if sum(len(protocol) + 1 for protocol in protocols) > limits.MAX_ALPN_BYTES:
        raise InvalidOption(f"alpn: the names are longer than {limits.MAX_ALPN_BYTES} bytes together")
    object.__setattr__(config, "alpn", protocols)


def _check_password(password: object) -> None:
    # The value stays out of the message.
    if password is not None and not isinstance(password, (str, bytes)):
        raise InvalidOption("key_password: give a str, bytes or None")
    if password is not None and len(password) > limits.MAX_KEY_PASSWORD_BYTES:
        raise InvalidOption(f"key_password: longer than {limits.MAX_KEY_PASSWORD_BYTES} bytes")


def _check_data(config: object, name: str) -> None:
    value = getattr(config, name)
    if value is None:
        return
    if not isinstance(value, (bytes, bytearray, memoryview)) or len(value) == 0:
        raise InvalidOption(f"{name}: give certificates as bytes, PEM or one in DER, or None")
    object.__setattr__(config, name, bytes(value))


def _check_host(name: str, value: str) -> None:
    if not value.isascii():
        raise InvalidOption(f"{name}={value!r}: give its ASCII form (labels that start with xn--)")
    if not 1 <= len(value) <= limits.MAX_HOST_LENGTH or value.startswith(".") or min(value) <= " ":
        raise InvalidOption(f"{name}={value!r}: give a host name or an IP address")


def canonical_pin(pin: str) -> str:
    """Return `pin` (SHA-256 of a SubjectPublicKeyInfo, hex or "sha256/" and base64, RFC 7469) as the latter.

    Raises:
        InvalidOption: it is neither.
    """
    try:
        digest = base64.b64decode(pin[len(PIN_PREFIX) :], validate=True) if pin.startswith(PIN_PREFIX) else None
        if digest is None:
            digest = bytes.fromhex(pin.replace(":", ""))
    except (ValueError, binascii.Error):
        digest = b""
    if len(digest) != PIN_BYTES:
        raise InvalidOption(f"pins: {pin!r} is no pin; give 'sha256/' and 44 base64 characters, or 64 hex digits")
    return PIN_PREFIX + base64.b64encode(digest).decode()


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Whom a client trusts, and what it shows of itself.

    Attributes:
        provider: the TLS engine.
        verify: check the server's chain and name. False accepts anybody; pins are still checked.
        check_hostname: check that the certificate is for the host; without it any certificate of a trusted CA will do.
        strict: RFC 5280 to the letter (VERIFY_X509_STRICT) and no look at the common name. False is for old CAs.
        minimum_version, maximum_version: versions of TLS that are acceptable; None is the newest.
        ciphers: an OpenSSL cipher list for TLS 1.2; ciphers without encryption or authentication are always removed.
        ca_file, ca_dir, ca_data: trusted roots as a PEM file, a directory made by `openssl rehash`, or bytes (PEM, or
            one certificate in DER). They replace the roots of `roots` unless `add_to_system_roots`.
        roots: where roots come from when none are given.
        crl_files: PEM files of revocation lists. With any, the server's certificate must be covered by one of them.
        cert_file, key_file, key_password: the client's certificate chain and its key (in the same file if None), PEM.
        server_name: the name sent in SNI and verified in place of the URL's host.
        alpn: protocols offered, most wanted first. A connection decides what it can speak where this is empty.
        keylog_file: where secrets are appended for Wireshark; SSLKEYLOGFILE is honoured where this is None.
        verify_callback: called with (chain as DER, leaf first; TlsVerdict; host) after the engine's own checks have
            passed, on every connection, resumed ones included. False refuses the connection; it cannot accept what
            the engine refused. Picklable only if it is.
        pins: SHA-256 of acceptable SubjectPublicKeyInfos; one of them must be there.
        pin_scope: where.
        pins_report_only: log a mismatch (logger turbosock.tls) and go on.
        session_resumption: resume sessions of earlier connections to the same host with the same settings.
        session_with_client_cert: resume also where a client certificate was shown.
        ktls: let the kernel encrypt, where kernel and OpenSSL can. `TlsInfo.ktls` tells whether it does.
    """

    provider: TlsProviderMode = TlsProviderMode.SYSTEM_PREFERRED
    verify: bool = True
    check_hostname: bool = True
    strict: bool = True
    minimum_version: TlsVersion = TlsVersion.TLS_1_2
    maximum_version: TlsVersion | None = None
    ciphers: str | None = None
    ca_file: str | os.PathLike[str] | None = None
    ca_dir: str | os.PathLike[str] | None = None
    ca_data: bytes | None = field(default=None, repr=False)
    add_to_system_roots: bool = False
    roots: TlsRoots = TlsRoots.SYSTEM
    crl_files: tuple[str, ...] = ()
    cert_file: str | os.PathLike[str] | None = None
    key_file: str | os.PathLike[str] | None = None
    key_password: str | bytes | None = field(default=None, repr=False)
    server_name: str | None = None
    alpn: tuple[str, ...] = ()
    keylog_file: str | os.PathLike[str] | None = None
    verify_callback: VerifyCallback | None = None
    pins: tuple[str, ...] = ()
    pin_scope: PinScope = PinScope.LEAF
    pins_report_only: bool = False
    session_resumption: bool = True
    session_with_client_cert: bool = False
    ktls: bool = False

    def __post_init__(self) -> None:
        _option_of(self, "provider", TlsProviderMode, "a TlsProviderMode")
        _option_of(self, "roots", TlsRoots, "a TlsRoots")
        _option_of(self, "pin_scope", PinScope, "PinScope.LEAF or PinScope.CHAIN")
        _check_flags(self, "verify", "check_hostname", "strict", "add_to_system_roots", "pins_report_only")
        _check_flags(self, "session_resumption", "session_with_client_cert", "ktls")
        _check_versions(self)
        _check_ciphers(self.ciphers)
        _check_paths(self, "ca_file", "ca_dir", "cert_file", "key_file", "keylog_file")
        _check_data(self, "ca_data")
        _check_alpn(self)
        _check_password(self.key_password)
        self._check_roots()
        self._check_pins()
        if self.key_file is not None and self.cert_file is None:
            raise InvalidOption("key_file without cert_file: a key is nothing without its certificate; give both")
        if self.key_password is not None and self.cert_file is None:
            raise InvalidOption("key_password without cert_file: there is no key to open with it")
        if self.server_name is not None:
            _option_of(self, "server_name", str, "a host name, or None")
            _check_host("server_name", self.server_name)
        if self.verify_callback is not None and not callable(self.verify_callback):
            raise InvalidOption(f"verify_callback={self.verify_callback!r}: give a callable or None")

    def _check_roots(self) -> None:
        crl_files = self.crl_files
        if isinstance(crl_files, (str, bytes)) or not isinstance(crl_files, Iterable):
            raise InvalidOption(f"crl_files={crl_files!r}: give a tuple of paths")
        object.__setattr__(
            self,
            "crl_files",
            _tuple_of_text("crl_files", [os.fspath(p) if isinstance(p, os.PathLike) else p for p in crl_files]),
        )
        if self.add_to_system_roots and not self.has_own_roots:
            raise InvalidOption("add_to_system_roots=True with nothing to add: give ca_file, ca_dir or ca_data")
        if self.crl_files and not self.verify:
            raise InvalidOption("crl_files with verify=False: nothing would be checked; leave one of them out")

    def _check_pins(self) -> None:
        pins = _tuple_of_text("pins", self.pins)
        if len(pins) > limits.MAX_PINS:
            raise InvalidOption(f"pins: {len(pins)} of them; give at most {limits.MAX_PINS}")
        # Sorted and unique: the order of pins means nothing, so it must not split pools.
        object.__setattr__(self, "pins", tuple(sorted({canonical_pin(pin) for pin in pins})))
        if pins and self.pin_scope is PinScope.CHAIN and not self.verify:
            raise InvalidOption(
                "pin_scope=PinScope.CHAIN with verify=False: anybody can append a pinned certificate to an unverified "
                "chain; use PinScope.LEAF"
            )

    @property
    def has_own_roots(self) -> bool:
        """Whether roots are given here, which replace the system's unless they are added to them."""
        return self.ca_file is not None or self.ca_dir is not None or self.ca_data is not None

    @property
    def resumes(self) -> bool:
        """Whether sessions are kept and resumed under these settings."""
        return self.session_resumption and (self.cert_file is None or self.session_with_client_cert)


@dataclass(frozen=True, slots=True)
class TlsCertificate:
    """A server's certificate chain (PEM, its own certificate first) and key; the key is in the same file if None."""

    cert_file: str | os.PathLike[str]
    key_file: str | os.PathLike[str] | None = None
    key_password: str | bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.cert_file is None:
            raise InvalidOption("cert_file=None: give the path of a PEM file")
        _check_paths(self, "cert_file", "key_file")
        _check_password(self.key_password)


SniCallback = Callable[[str | None], TlsCertificate | None]


@dataclass(frozen=True, slots=True)
class TlsServerConfig:
    """A listener's certificates, and what it asks of its clients.

    Attributes:
        certificate: shown to clients that name no host, or one that is not in `certificates`.
        certificates: by host name, `*.example.com` included; a mapping, kept as pairs.
        sni_callback: called with the host that the client named (lower case) or None; returns a TlsCertificate, or None
            for what `certificates` and `certificate` say. If it raises, the handshake fails and the error is its cause.
        alpn: protocols accepted, most wanted first.
        client_auth: whether clients show a certificate.
        client_ca_file, client_ca_data: who signs client certificates, PEM.
        strict: as in TlsConfig, for client certificates.
        session_tickets: let clients resume.
        provider, minimum_version, maximum_version, ciphers, keylog_file, ktls: as in TlsConfig.
    """

    certificate: TlsCertificate
    certificates: Mapping[str, TlsCertificate] | Iterable[tuple[str, TlsCertificate]] = ()
    sni_callback: SniCallback | None = None
    alpn: tuple[str, ...] = ()
    client_auth: ClientAuth = ClientAuth.NONE
    client_ca_file: str | os.PathLike[str] | None = None
    client_ca_data: bytes | None = field(default=None, repr=False)
    strict: bool = True
    provider: TlsProviderMode = TlsProviderMode.SYSTEM_PREFERRED
    minimum_version: TlsVersion = TlsVersion.TLS_1_2
    maximum_version: TlsVersion | None = None
    ciphers: str | None = None
    session_tickets: bool = True
    keylog_file: str | os.PathLike[str] | None = None
    ktls: bool = False

    def __post_init__(self) -> None:
        _option_of(self, "certificate", TlsCertificate, "a TlsCertificate")
        _option_of(self, "client_auth", ClientAuth, "a ClientAuth")
        _option_of(self, "provider", TlsProviderMode, "a TlsProviderMode")
        _check_flags(self, "strict", "session_tickets", "ktls")
        _check_versions(self)
        _check_ciphers(self.ciphers)
        _check_paths(self, "client_ca_file", "keylog_file")
        _check_data(self, "client_ca_data")
        _check_alpn(self)
        self._check_certificates()
        if self.sni_callback is not None and not callable(self.sni_callback):
            raise InvalidOption(f"sni_callback={self.sni_callback!r}: give a callable or None")
        has_ca = self.client_ca_file is not None or self.client_ca_data is not None
        if self.client_auth is ClientAuth.NONE and has_ca:
            raise InvalidOption("client_ca_file with client_auth=ClientAuth.NONE: no client would be asked")
        if self.client_auth is not ClientAuth.NONE and not has_ca:
            raise InvalidOption(
                f"client_auth={self.client_auth}: say who signs the clients' certificates, with client_ca_file or "
                "client_ca_data"
            )

    def _check_certificates(self) -> None:
        items = self.certificates.items() if isinstance(self.certificates, Mapping) else self.certificates
        try:
            pairs = tuple((name, certificate) for name, certificate in items)
        except (TypeError, ValueError) as error:
            raise InvalidOption("certificates: give a mapping from host name to TlsCertificate") from error
        for name, certificate in pairs:
            if not isinstance(name, str) or not isinstance(certificate, TlsCertificate):
                raise InvalidOption(f"certificates: {name!r} needs a host name and a TlsCertificate")
            _check_host("certificates", name)
        if len(pairs) > limits.MAX_SERVER_CERTIFICATES:
            raise InvalidOption(f"certificates: {len(pairs)} of them; give at most {limits.MAX_SERVER_CERTIFICATES}")
        # A tuple of pairs keeps the configuration hashable whatever was given.
        object.__setattr__(self, "certificates", tuple((name.lower().rstrip("."), item) for name, item in pairs))

    @property
    def certificate_pairs(self) -> tuple[tuple[str, TlsCertificate], ...]:
        """The named certificates as (lower-case name, certificate) pairs."""
        return self.certificates  # type: ignore[return-value]  # __post_init__ made it this
