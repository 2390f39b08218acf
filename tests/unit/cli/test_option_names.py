"""Messages of the library, told by the command."""

from __future__ import annotations

import pytest

from turbosock.cli.option_names import in_options


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("ca_file='no.pem': no such file", "--cacert='no.pem': no such file"),
        (
            "give it with ca_file, or pin it with verify=False, if",
            "give it with --cacert, or pin it with --insecure, if",
        ),
        ("pins: 'abc' is no pin", "--pin: 'abc' is no pin"),
        ("as http_versions=('HTTP/2',) does", "as --http2-prior-knowledge does"),
        ("it redirects: give follow_redirects=True, or", "it redirects: give --location, or"),
        ("the status 403; see `response` of this error", "the status 403"),
        ("open it with websocket(), or", "open it with `turbosock ws`, or"),
        ("no private key in it; give key_file", "no private key in it; give --key"),
    ],
)
def test_setting_in_a_message_is_told_as_its_option(message: str, told: str) -> None:
    assert in_options(message) == told


@pytest.mark.parametrize("message", ["GET http://host/ca_file: no", "/tmp/key_file: no", "hairpins", "cert_file_x"])
def test_word_that_is_no_setting_stays(message: str) -> None:
    assert in_options(message) == message
