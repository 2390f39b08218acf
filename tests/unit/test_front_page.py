"""The front page: what `import turbosock` gives, and what it leaves until it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import turbosock


def test_cookies_are_imported_when_they_are_asked_for() -> None:
    program = (
        "import sys, turbosock\n"
        "assert 'Cookies' in dir(turbosock) and 'http.cookiejar' not in sys.modules\n"
        "turbosock.Client().close()\n"
        "assert 'http.cookiejar' not in sys.modules\n"
        "from turbosock import Cookies\n"
        "assert Cookies is turbosock.Cookies and Cookies.__module__ == 'turbosock.client.cookies'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Cookie'"):
        getattr(turbosock, "Cookie")  # noqa: B009  # a type checker would see it


def test_every_public_name_is_listed() -> None:
    assert set(turbosock.__all__) <= set(dir(turbosock))
