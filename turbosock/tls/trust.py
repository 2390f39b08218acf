"""What both providers decide alike about trust: where roots come from, which keys are pinned, what files have changed.

Pins (RFC 7469): SHA-256 of a SubjectPublicKeyInfo. They are checked after the engine has verified the chain and before
a byte of the application moves, on resumed connections too. A mismatch is an error, or one line of log where the
configuration says report only.
"""

from __future__ import annotations

import base64
import importlib
import os
from collections.abc import Iterable, Sequence

from turbosock.config import PinScope, TlsConfig, TlsRoots, TlsServerConfig
from turbosock.errors import InvalidOption
from turbosock.tls.certificate import public_key_pin
from turbosock.tls.failures import PIN_MISMATCH, refusal

PEM_MARK = b"-----BEGIN"
PEM_END = b"-----END CERTIFICATE-----"


def pin_of(der: bytes) -> str:
    """Return the pin of the certificate `der` as `TlsConfig.pins` takes it: "sha256/" and base64.

    Raises:
        ValueError: `der` is no certificate.
    """
    return "sha256/" + base64.b64encode(public_key_pin(der)).decode()


def check_pins(config: TlsConfig, chain: Sequence[bytes], host: str) -> None:
    """Raise TlsVerificationError unless a pin of `config` is the key of `chain` (DER, leaf first) in its scope."""
    seen = []
    for der in chain[:1] if config.pin_scope is PinScope.LEAF else chain:
        try:
            pin = pin_of(der)
        except ValueError:
            # The engine accepted it and this reader cannot read it: it matches nothing.
            continue
        if pin in config.pins:
            return
        seen.append(pin)
    error = refusal(PIN_MISMATCH, host, f" (it has {', '.join(seen) or 'none that can be read'})")
    if not config.pins_report_only:
        raise error
    # As in selector.py.
    from turbosock.logs import area

    area("tls").warning("pins_report_only: %s", error, extra={"host": host, "reason": PIN_MISMATCH, "pins": seen})


def default_roots(config: TlsConfig) -> TlsRoots | None:
    """Return which roots to load beside those given; None where the given ones replace them, or nothing is verified."""
    if not config.verify or (config.has_own_roots and not config.add_to_system_roots):
        return None
    return config.roots


def certifi_file() -> str:
    """Return the path of certifi's list of roots.

    Raises:
        InvalidOption: the package is not installed.
    """
    try:
        certifi = importlib.import_module("certifi")
    except ImportError as error:
        raise InvalidOption("roots=TlsRoots.CERTIFI: certifi is not installed; pip install certifi") from error
    return str(certifi.where())


def is_pem(data: bytes) -> bool:
    """Whether certificates given as bytes are PEM; DER otherwise."""
    return PEM_MARK in data


def split_pem(data: bytes) -> list[bytes]:
    """Return each certificate of a PEM bundle with its own BEGIN and END lines."""
    blocks = []
    for part in data.split(PEM_END)[:-1]:
        start = part.rfind(b"-----BEGIN CERTIFICATE-----")
        if start >= 0:
            blocks.append(part[start:] + PEM_END + b"\n")
    return blocks


def keylog_path(config: TlsConfig | TlsServerConfig) -> str | None:
    """Return where secrets are logged, if anywhere; the file is made readable by its owner only.

    Raises:
        InvalidOption: it cannot be written.
    """
    named = config.keylog_file
    path = os.fspath(named) if named is not None else os.environ.get("SSLKEYLOGFILE") or None
    if path is None:
        return None
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
    except OSError as error:
        name = "keylog_file" if named is not None else "SSLKEYLOGFILE"
        raise InvalidOption(f"{name}={path!r}: cannot be written: {error.strerror}") from error
    return path


def surroundings(config: TlsConfig | TlsServerConfig) -> tuple[str | None, ...]:
    """Return what a context depends on beside its configuration: the environment that OpenSSL reads, the key log."""
    return (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"), keylog_path(config))


def file_stamps(paths: Iterable[str | os.PathLike[str] | None]) -> tuple[tuple[int, int, int] | None, ...]:
    """Return what tells whether files have changed: a renewed certificate under the same name is another context."""
    stamps: list[tuple[int, int, int] | None] = []
    for path in paths:
        if path is None:
            stamps.append(None)
            continue
        try:
            status = os.stat(path)
        except OSError:
            # Whoever opens it will say what is wrong with it.
            stamps.append(None)
            continue
        stamps.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(stamps)
