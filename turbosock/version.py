"""The version, in one place for the package, its User-Agent and its packaging."""

from __future__ import annotations

__version__ = "0.1.0"
