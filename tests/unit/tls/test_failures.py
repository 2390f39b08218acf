"""Every reason has words and advice, and both spellings of OpenSSL's reasons mean the same."""

from __future__ import annotations

import pytest

from turbosock.errors import Origin, TlsHandshakeError, TlsRecordError
from turbosock.tls import failures


@pytest.mark.parametrize("code", failures.VERIFICATION)
def test_verification_error_says_whose_what_and_what_to_do(code: int) -> None:
    error = failures.verification_error(code, "", "a.example")
    finding = failures.VERIFICATION[code]
    assert str(error) == f"the certificate of a.example is refused: {finding.words}; {finding.advice}"
    assert error.reason == finding.reason
    assert error.code == "tls_verification"
    assert error.origin is Origin.TLS


def test_verification_error_of_an_unknown_code_keeps_openssl_s_words() -> None:
    error = failures.verification_error(9999, "it smells", "")
    assert error.reason == "untrusted"
    assert "the client's certificate is refused: it smells" in str(error)
    assert "9999" in str(failures.verification_error(9999, "", "a.example"))


@pytest.mark.parametrize(
    ("spellings", "reason"),
    [
        (("WRONG_VERSION_NUMBER", "wrong version number"), "not_tls"),
        (("HTTP_REQUEST", "http request"), "not_tls"),
        (("TLSV1_ALERT_PROTOCOL_VERSION", "tlsv1 alert protocol version"), "protocol_version"),
        (("SSLV3_ALERT_HANDSHAKE_FAILURE", "ssl/tls alert handshake failure"), "handshake_refused"),
        (("TLSV13_ALERT_CERTIFICATE_REQUIRED", "tlsv13 alert certificate required"), "client_certificate_required"),
        (("TLSV1_ALERT_UNKNOWN_CA", "tlsv1 alert unknown ca"), "client_certificate_refused"),
        (("TLSV1_ALERT_NO_APPLICATION_PROTOCOL", "tlsv1 alert no application protocol"), "no_application_protocol"),
        (("TLSV1_UNRECOGNIZED_NAME", "tlsv1 unrecognized name"), "unrecognized_name"),
        (("SSLV3_ALERT_CLOSE_NOTIFY", "ssl/tls alert unexpected message"), "alert"),
        (("BAD_RECORD_TYPE", "something new"), "malformed"),
        (("", " "), "malformed"),
    ],
)
def test_handshake_error_is_the_same_in_both_spellings(spellings: tuple[str, str], reason: str) -> None:
    for spelling in spellings:
        error = failures.handshake_error(spelling, "a.example")
        assert error.reason == reason
        assert str(error).startswith("the TLS handshake with a.example failed: ")


def test_record_error_of_a_late_alert_about_certificates_is_the_handshake_s() -> None:
    late = failures.record_error("TLSV13_ALERT_CERTIFICATE_REQUIRED", "a.example")
    assert isinstance(late, TlsHandshakeError)
    assert isinstance(failures.record_error("BAD_RECORD_MAC", "a.example"), TlsRecordError)
