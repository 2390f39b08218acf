"""What is hidden of fields and URLs, and what is left as it is."""

from __future__ import annotations

import pytest

from turbosock.observe.hidden import shown_url, shown_value


@pytest.mark.parametrize(
    "key",
    [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-auth-token",
        "x-api-key",
        "client-secret",
        "token",
        "x-auth-key",
        "ocp-apim-subscription-key",
    ],
)
def test_value_of_a_secret_field_is_hidden(key: str) -> None:
    assert shown_value(key, "s3cr3t") == "(hidden)"


@pytest.mark.parametrize("key", ["accept", "www-authenticate", "x-tokens", "sec-websocket-key", "idempotency-key", "ü"])
def test_value_of_another_field_is_not(key: str) -> None:
    assert shown_value(key, "value") == "value"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:s3cr3t@host/path", "http://(hidden)@host/path"),
        ("//user@host/", "//(hidden)@host/"),
        ("http://host/a@b?c=d@e#f@g", "http://host/a@b?c=d@e#f@g"),
        ("/path?access_token=s3cr3t&page=2", "/path?access_token=(hidden)&page=2"),
        ("/path?page=2&X-Amz-Signature=s3cr3t", "/path?page=2&X-Amz-Signature=(hidden)"),
        ("/path?API_KEY=s3cr3t#id_token=s3cr3t&x=y", "/path?API_KEY=(hidden)#id_token=(hidden)&x=y"),
        ("/path?key=s3cr3t&code=s3cr3t&sig=s3cr3t", "/path?key=(hidden)&code=(hidden)&sig=(hidden)"),
        ("/token=x/key=y?monkey=1&tokens=2&barcode=3", "/token=x/key=y?monkey=1&tokens=2&barcode=3"),
        ("/path?token", "/path?token"),
        ("http://host/?next=https://user:s3cr3t@other/&x=y", "http://host/?next=https://(hidden)@other/&x=y"),
    ],
)
def test_url_is_shown_without_what_is_secret_in_it(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_urls_inside_of_a_field_are_shown_as_urls() -> None:
    link = '<https://u:s3cr3t@host/?token=s3cr3t>; rel="next", <https://host/a@b>'
    shown = '<https://(hidden)@host/?token=(hidden)>; rel="next", <https://host/a@b>'
    assert shown_value("link", link) == shown
    assert shown_value("link", shown) == shown


def test_location_is_shown_as_a_url() -> None:
    assert shown_value("location", "https://u:s3cr3t@host/?token=s3cr3t") == "https://(hidden)@host/?token=(hidden)"
