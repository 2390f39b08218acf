"""origin_of: the beginning of every URL at a target, as people write it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from turbosock.client.url import DEFAULT_PORTS

if TYPE_CHECKING:
    from turbosock.transport.connector import Target


def origin_of(target: Target) -> str:
    """Scheme, host and port, the latter where it is not the scheme's own; of a Unix socket its path."""
    if target.path is not None:
        return f"http+unix://{quote(target.path, safe='')}"
    host = f"[{target.host}]" if ":" in target.host else target.host
    port = "" if target.port == DEFAULT_PORTS[target.scheme] else f":{target.port}"
    return f"{target.scheme}://{host}{port}"
