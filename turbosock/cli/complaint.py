"""complaint: an error of the library as the one line that the command says of it, with what to do in its end.

Most messages end with that, "…; raise it or ask for less", or have it from what the system said, "…: check that the
server runs, and its port (ECONNREFUSED)". Where one does not, its exit status knows.
"""

from __future__ import annotations

import re
from typing import Final

from turbosock.cli.exit_status import ExitStatus, status_of
from turbosock.cli.option_names import in_options
from turbosock.errors import TurbosockError

HINTS: Final = {
    ExitStatus.RESOLVE: "check the host's name",
    ExitStatus.CONNECT: "check host and port, and that the server runs",
    ExitStatus.TIMEOUT: "try later, or give more time by -m",
    ExitStatus.NETWORK: "try again",
    ExitStatus.PROTOCOL: "check scheme, port and path: something else may answer there",
    ExitStatus.TLS: "check the host's name, and whom --cacert trusts",
    ExitStatus.LIMIT: "ask for less, or in parts",
    ExitStatus.HTTP_STATUS: "check the path and the credentials",
    ExitStatus.PROXY: "check -x, or the proxies of the environment",
}
# The marks of a message that has a hint.
_HINTED: Final = re.compile(r"; |\(E[A-Z0-9]+\)")


def complaint(error: TurbosockError) -> str:
    """What failed, doing what, and what to do, in the command's own words."""
    said = in_options(str(error))
    hint = HINTS.get(status_of(error))
    return said if hint is None or _HINTED.search(said) else f"{said}; {hint}"
