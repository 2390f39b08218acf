"""Messages and values that others wrote, read where they lie: $TURBOSOCK_VECTORS, else ../shared/vectors.

They are not part of this repository. Where they are missing a test skips and says so; with
TURBOSOCK_REQUIRE_PEERS=1 it fails instead, so that a continuous run cannot pass by skipping.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent.parent


def directory() -> Path:
    """Where the vectors are expected."""
    named = os.environ.get("TURBOSOCK_VECTORS")
    return Path(named) if named else CHECKOUT.parent / "shared" / "vectors"


def load_cases(file_name: str) -> list[dict[str, Any]]:
    """The cases of one vector file, or an empty list where it is missing; see `require`."""
    path = directory() / file_name
    if not path.is_file():
        return []
    cases: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["cases"]
    return cases


def require(file_name: str) -> Path:
    """The path of a vector file; skips the test without it, or fails where TURBOSOCK_REQUIRE_PEERS=1."""
    path = directory() / file_name
    if not path.is_file():
        sentence = f"test vectors {file_name} are missing; set TURBOSOCK_VECTORS to the directory that holds them"
        if os.environ.get("TURBOSOCK_REQUIRE_PEERS") == "1":
            pytest.fail(sentence)
        pytest.skip(sentence)
    return path
