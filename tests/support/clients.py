"""Clients for tests over loopback: both transport modes, with pooled and with plain memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from turbosock import Client, Config, Timeouts, TransportMode

VARIANTS = [
    pytest.param((mode, zero_alloc), id=f"{mode.value}-{'pooled' if zero_alloc else 'plain'}")
    for mode in TransportMode
    for zero_alloc in (True, False)
]

# No test waits longer than this for a bug; a test of a limit sets its own.
TIMEOUTS = Timeouts(connect_s=10, read_s=10, write_s=10, pool_s=10, total_s=15)

MakeClient = Callable[..., Client]


def variant_config(variant: tuple[TransportMode, bool], **options: object) -> Config:
    """The configuration of one variant; `options` are Config's own."""
    mode, zero_alloc = variant
    base = Config(transport=mode, zero_alloc=zero_alloc, timeouts=TIMEOUTS)
    return dataclasses.replace(base, **options)  # type: ignore[arg-type]  # the fields check themselves
