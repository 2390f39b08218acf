"""in_options: a message of the library as one of the command, which has options where the library has settings."""

from __future__ import annotations

import re
from typing import Final

_OPTIONS: Final = {
    "ca_file": "--cacert",
    "cert_file": "--cert",
    "follow_redirects=True": "--location",
    "http_versions=('HTTP/2',)": "--http2-prior-knowledge",
    "key_file": "--key",
    "last_event_id": "--last-event-id",
    "max_message": "--max-message",
    "no_proxy": "--noproxy",
    "pins": "--pin",
    "verify=False": "--insecure",
    "websocket()": "`turbosock ws`",
}
_FOR_PROGRAMS: Final = "; see `response` of this error"
# Whole words, and none inside a URL or a path.
_SETTING: Final = re.compile(rf"(?<![^ ])(?:{'|'.join(map(re.escape, _OPTIONS))})(?![^ =:,;])")


def in_options(message: str) -> str:
    """The message with the names of options, `--cacert`, in place of those of settings, `ca_file`."""
    return _SETTING.sub(lambda match: _OPTIONS[match[0]], message.removesuffix(_FOR_PROGRAMS))
