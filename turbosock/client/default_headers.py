"""Default headers: the fields that a request carries without being asked (RFC 9110 §10.1.5, §12.5.1, §12.5.3)."""

from __future__ import annotations

from turbosock.config import Config
from turbosock.version import __version__


def default_headers(config: Config) -> list[tuple[str, str]]:
    """The fields that every request carries unless it, or the configuration, names them itself."""
    given = {name.lower() for name, _ in config.header_pairs}
    fields = [("User-Agent", f"turbosock/{__version__}"), ("Accept", "*/*")]
    if config.decode:
        # Not with the module: looking for the libraries takes 15 ms.
        from turbosock.protocol.content.registry import accept_encoding

        fields.append(("Accept-Encoding", accept_encoding()))
    return [field for field in fields if field[0].lower() not in given] + list(config.header_pairs)
