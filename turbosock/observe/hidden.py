"""What is written about an exchange for people and tools without its secrets: values of fields, targets and URLs.

Hidden are the values of the standard credential and cookie fields, of fields and query parameters whose name says that
they are secrets, and the user information of URLs; in bodies that are written, texts under such names, too. A secret
under a name that says nothing is not recognised.
"""

from __future__ import annotations

import re
from typing import Final

from turbosock.protocol.http1.headers import SECRET_KEYS

HIDDEN: Final = "(hidden)"
# Beside the standard fields, the names that services give to their own secrets end in one of these.
_SECRET_ENDINGS: Final = (
    "token",
    "api-key",
    "apikey",
    "secret",
    "password",
    "access-key",
    "auth-key",
    "subscription-key",
)
# Fields whose value is a URL, which may hold user information.
_URL_KEYS: Final = frozenset(("location", "content-location", "referer"))
_USER_INFORMATION: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*@")
# The same of URLs inside of others, and inside of fields such as Link.
_INNER_USER_INFORMATION: Final = re.compile(r"(?<=://)[^/?#\s]*@")
# How the names of secrets end in queries, forms and JSON.
SECRET_NAME_ENDINGS: Final = r"(?:token|secret|password|passwd|signature|credential|(?:api|access|private)[-_]?key)"
# Parameters of queries, and of what OAuth puts behind a '#'.
_SECRET_PARAMETER: Final = re.compile(rf"(?i)(?<=[?&#;])((?:[^=&#;]*{SECRET_NAME_ENDINGS}|key|sig|code)=)[^&#;>]*")


def shown_value(key: str, value: str) -> str:
    """The value of the field `key` (in lower case), or what stands for it."""
    if key.encode("latin-1", "replace") in SECRET_KEYS or key.endswith(_SECRET_ENDINGS):
        return HIDDEN
    return shown_url(value) if key in _URL_KEYS or "://" in value else value


def shown_url(url: str) -> str:
    """A URL, a reference or a request target without user information and without the parameters that are secrets."""
    url = _INNER_USER_INFORMATION.sub(f"{HIDDEN}@", _USER_INFORMATION.sub(rf"\1//{HIDDEN}@", url))
    return _SECRET_PARAMETER.sub(rf"\1{HIDDEN}", url)
