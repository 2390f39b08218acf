"""Forms: the fields that `data=` gives, and their urlencoded body (WHATWG URL §5.2)."""

from __future__ import annotations

from urllib.parse import urlencode

from turbosock.client.url import text_pairs
from turbosock.errors import InvalidOption

FORM_TYPE = "application/x-www-form-urlencoded"


def form_fields(data: object) -> list[tuple[str | bytes, str | bytes]]:
    """The fields of a form, from a mapping or pairs; a list or tuple repeats its key, None leaves it out.

    Raises:
        InvalidOption: `data` is neither.
    """
    try:
        return text_pairs(data)
    except InvalidOption as error:
        raise InvalidOption("data: give a mapping, pairs of key and value, str or bytes") from error


def urlencoded(data: object) -> bytes:
    """The urlencoded body of a form.

    Raises:
        InvalidOption: `data` is no form, or a text in it is not UTF-8.
    """
    try:
        return urlencode(form_fields(data)).encode()
    except UnicodeEncodeError as error:
        raise InvalidOption("data: a text holds a lone surrogate, which is half a character") from error
