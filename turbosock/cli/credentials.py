"""Credentials of `turbosock get`: -u, with a password asked for where none is given, --digest and --bearer.

A password on the command line can be seen by everybody who may list processes; one that is asked for cannot. No message
repeats what was given.
"""

from __future__ import annotations

import getpass
import warnings
from collections.abc import Callable

from turbosock.client.auth import Auth, BasicAuth, BearerAuth
from turbosock.client.auth.digest import DigestAuth
from turbosock.errors import InvalidOption


def credentials(
    user: str | None,
    bearer: str | None,
    digest: bool,
    headers: list[tuple[str, str]],
    ask: Callable[[], str] | None = None,
) -> Auth | None:
    """Who answers for the credentials; None: nobody was named.

    Args:
        user: "user:password", or "user" alone, whose password `ask` knows.
        bearer: a token.
        digest: prove the password instead of sending it.
        headers: the user's own fields.
        ask: asks for a password; None: `ask_password`.

    Raises:
        InvalidOption: options that exclude each other, or need one another, or cannot be sent.
    """
    if digest and user is None:
        raise InvalidOption("--digest without -u: it proves a password; give both")
    if user is None and bearer is None:
        return None
    option = "--bearer" if user is None else "-u"
    if user is not None and bearer is not None:
        raise InvalidOption("-u, --bearer: a request has one Authorization; give one of them")
    if any(name.lower() == "authorization" for name, _ in headers):
        raise InvalidOption(f"{option}, -H: a request has one Authorization; give one of them")
    try:
        if bearer is not None:
            return BearerAuth(bearer)
        assert user is not None, "one of the two was given"
        name, colon, password = user.partition(":")
        if not colon:
            password = (ask or ask_password)()
        return DigestAuth(name, password) if digest else BasicAuth(name, password)
    except InvalidOption as error:
        raise InvalidOption(f"{option}: {str(error).partition(': ')[2] or error}") from None


def ask_password() -> str:
    """The password that is typed on the terminal, unseen.

    Raises:
        InvalidOption: there is no terminal to ask on.
    """
    try:
        with warnings.catch_warnings():
            # What getpass does next would show what is typed.
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass("turbosock: password: ")
    except (getpass.GetPassWarning, EOFError, OSError):
        raise InvalidOption("password: there is no terminal to ask for one; give user:password") from None
