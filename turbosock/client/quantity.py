"""Quantities as people read them: bytes, rates and times with a unit and three digits or so."""

from __future__ import annotations

from turbosock.limits import KIB


def bytes_text(count: float) -> str:
    """`count` bytes with a binary unit: "512 B", "1.5 MiB"."""
    if count < KIB:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= KIB
        if count < KIB:
            return f"{count:.1f} {unit}"
    return f"{count / KIB:.1f} TiB"


def time_text(duration_s: float) -> str:
    """A duration with its unit: "850 µs", "1.23 ms", "2.50 s"."""
    if duration_s < 0.001:
        return f"{duration_s * 1e6:.0f} µs"
    if duration_s < 1:
        return f"{duration_s * 1e3:.2f} ms"
    return f"{duration_s:.2f} s"


def left_text(duration_s: float) -> str:
    """A remaining time in whole units: "42 s", "3:05 min", "2:10 h"."""
    whole_s = round(duration_s)
    if whole_s < 60:
        return f"{whole_s} s"
    if whole_s < 3600:
        return f"{whole_s // 60}:{whole_s % 60:02} min"
    return f"{whole_s // 3600}:{whole_s % 3600 // 60:02} h"
