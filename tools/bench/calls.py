"""System calls, as `strace -c` counts them."""

from __future__ import annotations


def parse_strace(text: str) -> dict[str, int]:
    """Calls by name in the table that `strace -c` writes."""
    calls = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
            calls[words[-1]] = int(words[3])
    return calls
