"""Auth: who answers for the credentials of requests; basic, bearer, digest, netrc, and functions of the user's own."""

from turbosock.client.auth.argument import AuthArgument, auth_argument
from turbosock.client.auth.authorizer import Authorizer
from turbosock.client.auth.base import Auth, AuthRequest
from turbosock.client.auth.basic import BasicAuth
from turbosock.client.auth.bearer import BearerAuth
from turbosock.client.auth.callable_auth import AuthView, CallableAuth
from turbosock.client.auth.digest import DigestAuth
from turbosock.client.auth.netrc_file import NetrcAuth

__all__ = [
    "Auth",
    "AuthArgument",
    "AuthRequest",
    "AuthView",
    "Authorizer",
    "BasicAuth",
    "BearerAuth",
    "CallableAuth",
    "DigestAuth",
    "NetrcAuth",
    "auth_argument",
]
