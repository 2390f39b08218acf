"""What the `auth=` argument means: an Auth, a pair of user and password, or a callable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from turbosock.client.auth.base import Auth
from turbosock.client.auth.basic import BasicAuth
from turbosock.client.auth.callable_auth import AuthView, CallableAuth
from turbosock.errors import InvalidOption

# False: none, whatever the client has.
AuthArgument: TypeAlias = Auth | tuple[str, str] | Callable[[AuthView], str | None] | Literal[False]


def auth_argument(auth: AuthArgument | None) -> Auth | None:
    """The Auth that an `auth=` argument asks for; None for None and False.

    Raises:
        InvalidOption: it is none of them; the message names the argument and shows nothing of it.
    """
    if auth is None or auth is False:
        return None
    if isinstance(auth, Auth):
        return auth
    if isinstance(auth, tuple):
        if len(auth) != 2:
            raise InvalidOption(f"auth: a tuple of {len(auth)} was given; give user and password")
        return BasicAuth(*auth)
    if isinstance(auth, str):
        raise InvalidOption("auth: a str was given; give a tuple of user and password, or BearerAuth(token)")
    if callable(auth):
        return CallableAuth(auth)
    raise InvalidOption(
        f"auth: a {type(auth).__name__} was given; give a tuple of user and password, an Auth, or a callable"
    )
