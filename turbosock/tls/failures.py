"""What TLS engines say when they fail, in one vocabulary.

Both providers end in OpenSSL, in different versions and with different spellings. Here, and only here, its verification
codes (X509_V_ERR_*, the same numbers in every release) and its reasons become the words of `TlsError.reason`, each with
what happened and what to do about it. An unknown code keeps OpenSSL's own words. Nothing here holds key material.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from turbosock.errors import TlsError, TlsHandshakeError, TlsRecordError, TlsVerificationError

HOSTNAME_MISMATCH: Final = 62
ADDRESS_MISMATCH: Final = 64


class Finding(NamedTuple):
    """A stable word, what it means, and what to do."""

    reason: str
    words: str
    advice: str


_UNTRUSTED = "give the authority's certificate with ca_file if you trust it"
_CONSTRAINED = "the authority may not sign for this name; nothing but another certificate helps"
_STRICT = "have it reissued, or pass strict=False for an old private authority"

_EXPIRED = Finding("expired", "the certificate has expired", "renew it; if it has not, set this machine's clock")
_EARLY = Finding("not_yet_valid", "the certificate is not valid yet", "set this machine's clock, or wait")
_WEAK = Finding("weak_key", "a key or hash in the chain is too weak", "have the certificate reissued")
_CRL = Finding("crl_invalid", "the revocation list is not valid now", "fetch a fresh one and give it with crl_files")
_PURPOSE = Finding("wrong_purpose", "the certificate is not meant for this use", "use one made for TLS servers")
_MALFORMED = Finding("malformed", "the certificate breaks RFC 5280", _STRICT)

VERIFICATION: Final = {
    3: Finding("no_crl", "no revocation list covers it", "give the list of its issuer with crl_files"),
    7: Finding("bad_signature", "a signature in the chain is wrong", "somebody changed it; do not trust it"),
    9: _EARLY,
    10: _EXPIRED,
    11: _CRL,
    12: _CRL,
    18: Finding(
        "self_signed",
        "the certificate signed itself",
        "give it with ca_file, or pin it with verify=False, if you trust it",
    ),
    19: Finding("untrusted_root", "the chain ends in an authority that is not trusted", _UNTRUSTED),
    20: Finding(
        "untrusted_root",
        "no trusted authority signed it, or the server left out an intermediate certificate",
        _UNTRUSTED + "; else have the server send its whole chain",
    ),
    21: Finding("incomplete_chain", "its issuer is not known", "have the server send its whole chain"),
    22: Finding("chain_too_long", "the chain is too long", "have the server send the shortest chain"),
    23: Finding("revoked", "the certificate was revoked", "its owner must replace it; do not trust it"),
    25: Finding("path_length", "an authority stands deeper than its issuer allows", "have the chain reissued"),
    26: _PURPOSE,
    47: Finding("name_constraints", "a name is outside what its authority may sign", _CONSTRAINED),
    48: Finding("name_constraints", "a name is one that its authority may not sign", _CONSTRAINED),
    49: Finding("name_constraints", "the name constraints cannot be checked", _CONSTRAINED),
    51: Finding("name_constraints", "the name constraints are of an unknown kind", _CONSTRAINED),
    52: Finding("name_constraints", "the name constraints are not well formed", _CONSTRAINED),
    53: Finding("name_constraints", "a name cannot be held against the name constraints", _CONSTRAINED),
    HOSTNAME_MISMATCH: Finding(
        "hostname_mismatch", "the certificate is for other names", "use a name that it holds, or set server_name"
    ),
    ADDRESS_MISMATCH: Finding(
        "hostname_mismatch", "the certificate does not name this address", "use the server's name, or set server_name"
    ),
    66: _WEAK,
    67: _WEAK,
    68: _WEAK,
    79: Finding("not_an_authority", "a certificate that may not sign others did", "have the chain reissued"),
    # From here to 94: what only VERIFY_X509_STRICT looks at.
    **dict.fromkeys(range(80, 95), _MALFORMED),
}

NO_CERTIFICATE: Final = Finding("no_certificate", "the server showed no certificate", "it offers no identity at all")
PIN_MISMATCH: Final = Finding(
    "pin_mismatch", "none of the pins is the key of its certificate", "if its owner changed the key, change the pins"
)
REFUSED: Final = Finding("refused_by_callback", "verify_callback refused it", "ask whoever wrote the callback")


def verification_error(code: int, words: str, host: str) -> TlsVerificationError:
    """Return the error for OpenSSL's verification `code`; `words` are OpenSSL's, for codes that are not known here."""
    known = VERIFICATION.get(code)
    if known is None:
        known = Finding("untrusted", words or f"OpenSSL's verification code {code}", "look at it: openssl s_client")
    return refusal(known, host)


def refusal(finding: Finding, host: str, detail: str = "") -> TlsVerificationError:
    """Return the error for a certificate that was refused for `finding`."""
    whose = f"the certificate of {host}" if host else "the client's certificate"
    return TlsVerificationError(f"{whose} is refused: {finding.words}{detail}; {finding.advice}", reason=finding.reason)


_CERTIFICATE_ALERT = "the peer refused our certificate"
_ASK = "see which client certificates it accepts, and give one with cert_file and key_file"
_VERSIONS = "see minimum_version and maximum_version, and what the peer speaks"

# Parts of OpenSSL's reasons in lower case, "_" as " ", in the order in which they are looked for.
HANDSHAKE: Final = (
    ("http request", Finding("not_tls", "the client speaks plain HTTP", "use https:// to reach this port")),
    ("wrong version number", Finding("not_tls", "the peer does not speak TLS here", "check the port; maybe http://")),
    ("packet length too long", Finding("not_tls", "the peer does not speak TLS here", "check the port; maybe http://")),
    ("record layer failure", Finding("not_tls", "what came is no TLS record", "check the port; maybe http://")),
    (
        "certificate required",
        Finding("client_certificate_required", "the peer asks for a client certificate", _ASK),
    ),
    ("peer did not return a certificate", Finding("no_client_certificate", "the client showed no certificate", _ASK)),
    ("alert unknown ca", Finding("client_certificate_refused", _CERTIFICATE_ALERT + ": unknown authority", _ASK)),
    ("alert certificate expired", Finding("client_certificate_refused", _CERTIFICATE_ALERT + ": expired", _ASK)),
    ("alert certificate revoked", Finding("client_certificate_refused", _CERTIFICATE_ALERT + ": revoked", _ASK)),
    ("alert bad certificate", Finding("client_certificate_refused", _CERTIFICATE_ALERT + ": bad", _ASK)),
    ("alert certificate unknown", Finding("client_certificate_refused", _CERTIFICATE_ALERT, _ASK)),
    ("alert unsupported certificate", Finding("client_certificate_refused", _CERTIFICATE_ALERT, _ASK)),
    ("alert access denied", Finding("client_certificate_refused", _CERTIFICATE_ALERT + ": access denied", _ASK)),
    (
        "alert no application protocol",
        Finding(
            "no_application_protocol", "the peer speaks none of the protocols in alpn or http_versions", "offer another"
        ),
    ),
    ("unrecognized name", Finding("unrecognized_name", "the peer has no certificate for this name", "check the name")),
    ("alert protocol version", Finding("protocol_version", "the peer refused our TLS versions", _VERSIONS)),
    ("unsupported protocol", Finding("protocol_version", "no TLS version in common", _VERSIONS)),
    ("wrong ssl version", Finding("protocol_version", "no TLS version in common", _VERSIONS)),
    ("inappropriate fallback", Finding("protocol_version", "no TLS version in common", _VERSIONS)),
    ("no protocols available", Finding("protocol_version", "no TLS version is left to offer", _VERSIONS)),
    ("no shared cipher", Finding("no_common_cipher", "no cipher in common", "see `ciphers`, and the peer's")),
    ("no ciphers available", Finding("no_common_cipher", "no cipher is left to offer", "see `ciphers`")),
    ("wrong cipher returned", Finding("no_common_cipher", "the peer chose a cipher that was not offered", "see it")),
    (
        "alert handshake failure",
        Finding(
            "handshake_refused",
            "the peer found nothing to agree on (ciphers, versions, or a missing client certificate)",
            "see `ciphers` and what the peer speaks; if it wants one, give cert_file",
        ),
    ),
    ("alert insufficient security", Finding("no_common_cipher", "our ciphers are too weak for the peer", "see them")),
)

CLOSED: Final = Finding("closed", "the peer closed the connection", "see its log; it may speak no TLS here")
SNI_CALLBACK: Final = Finding("sni_callback", "no certificate could be chosen", "see the cause of this error")
_GARBAGE: Final = "the peer broke the protocol, or something between changed the bytes"


def spell(reason: str) -> str:
    """Return OpenSSL's reason as words: "WRONG_VERSION_NUMBER" and "wrong version number" are the same."""
    return reason.lower().replace("_", " ").strip()


def _find(reason: str) -> Finding:
    words = spell(reason)
    for part, finding in HANDSHAKE:
        if part in words:
            return finding
    if "alert" in words:
        return Finding("alert", f"the peer refused: {words}", "see its log")
    return Finding("malformed", f"{_GARBAGE}: {words or 'no reason given'}", "see its log")


def handshake_error(reason: str, host: str) -> TlsHandshakeError:
    """Return the error for a handshake that OpenSSL ended for `reason`."""
    return handshake_failure(_find(reason), host)


def handshake_failure(finding: Finding, host: str) -> TlsHandshakeError:
    """Return the error for a handshake that ended for `finding`."""
    whom = f" with {host}" if host else ""
    return TlsHandshakeError(
        f"the TLS handshake{whom} failed: {finding.words}; {finding.advice}", reason=finding.reason
    )


def wrong_protocol(protocol: str, host: str) -> TlsHandshakeError:
    """Return the error for a server that chose, among those offered, a protocol which nothing here speaks."""
    words = f"it chose {protocol}, which is not spoken here"
    return handshake_failure(Finding("no_application_protocol", words, "leave it out of alpn"), host)


def record_error(reason: str, host: str) -> TlsError:
    """Return the error for a stream that OpenSSL ended for `reason`.

    TLS 1.3 tells a client only after its handshake that its certificate was missing or refused: still a handshake's.
    """
    finding = _find(reason)
    if finding.reason.startswith(("client_certificate", "handshake_refused")):
        return handshake_failure(finding, host)
    whom = f" with {host}" if host else ""
    return TlsRecordError(f"the TLS connection{whom} broke: {finding.words}; {finding.advice}", reason=finding.reason)
