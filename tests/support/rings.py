"""Whether a Client or a Loop has all its rings back."""

from __future__ import annotations

from turbosock import Client, Loop


def rings_are_free(owner: Client | Loop) -> bool:
    """Every ring that was made is idle; without pooling each is made for its one use, and nothing can be said."""
    rings = owner.rings.stats()
    return rings.made == rings.idle or not owner.config.zero_alloc
