"""Loggers by area: `turbosock.client`, `turbosock.pool`, `turbosock.server` and so on.

A library does not decide where messages go: the root, `turbosock`, has a NullHandler, so that a program that has not
set logging up sees nothing. What a message is made of is also in its record's attributes (`extra`). URLs are without
credentials, query and fragment; no message has a header, a body, or what an error of a callback says.
"""

from __future__ import annotations

import logging

logging.getLogger("turbosock").addHandler(logging.NullHandler())


def area(name: str) -> logging.Logger:
    """The logger of one area."""
    return logging.getLogger(f"turbosock.{name}")
