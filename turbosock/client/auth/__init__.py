"""Auth: who answers for the credentials of requests; basic, bearer, and functions of the user's own.

Digest and netrc stand in modules of their own, which nobody imports who does not use them.
"""

from turbosock.client.auth.argument import AuthArgument, auth_argument
from turbosock.client.auth.authorizer import Authorizer
from turbosock.client.auth.base import Auth, AuthRequest
from turbosock.client.auth.basic import BasicAuth
from turbosock.client.auth.bearer import BearerAuth
from turbosock.client.auth.callable_auth import AuthView, CallableAuth

__all__ = [
    "Auth",
    "AuthArgument",
    "AuthRequest",
    "AuthView",
    "Authorizer",
    "BasicAuth",
    "BearerAuth",
    "CallableAuth",
    "auth_argument",
]
