"""Default headers: the fields that a request carries without being asked (RFC 9110 sections 10.1.5 and 12.5.1)."""

from __future__ import annotations

from turbosock.config import Config
from turbosock.version import __version__


def default_headers(config: Config) -> list[tuple[str, str]]:
    """The fields that every request carries unless it, or the configuration, names them itself."""
    given = {name.lower() for name, _ in config.header_pairs}
    fields = [("User-Agent", f"turbosock/{__version__}"), ("Accept", "*/*")]
    return [field for field in fields if field[0].lower() not in given] + list(config.header_pairs)
