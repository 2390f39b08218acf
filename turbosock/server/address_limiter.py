"""AddressLimiter: at most so many datagrams a second from one host, for any number of hosts, in bounded memory.

The table has one number for each host: when its bucket will be full again (the generic cell rate algorithm, as in
`pool/token_bucket.py`, which also keeps turns for later; here there is no later). Hosts whose bucket is full are
forgotten, because a new one is as good. While the table is full of others, hosts that are not in it are refused: a
flood from made-up addresses cannot push out those that were there before.

Invariant: at most `max_hosts` numbers; looking for hosts to forget takes its time at most once in SWEEP_NS.
"""

from __future__ import annotations

from typing import Final

from turbosock.reactor.clock import NS_PER_MS, NS_PER_S

SWEEP_NS: Final = 100 * NS_PER_MS


class AddressLimiter:
    """Says of each datagram whether it may pass; times are nanoseconds of one clock.

    Args:
        rate_per_s: datagrams of one host, in the long run.
        burst: datagrams of one host at once.
        max_hosts: hosts that are remembered.
    """

    __slots__ = ("_depth_ns", "_full_at", "_max_hosts", "_step_ns", "_swept_ns")

    def __init__(self, rate_per_s: float, burst: int, max_hosts: int) -> None:
        self._step_ns = max(1, round(NS_PER_S / rate_per_s))
        self._depth_ns = self._step_ns * (burst - 1)
        self._max_hosts = max_hosts
        self._full_at: dict[str, int] = {}
        self._swept_ns = -SWEEP_NS

    def __len__(self) -> int:
        return len(self._full_at)

    def passes(self, host: str, now_ns: int) -> bool:
        """Whether a datagram from `host` may pass; if so, it has."""
        full_at = self._full_at.get(host, -1)
        if full_at <= now_ns:
            if full_at < 0 and len(self._full_at) >= self._max_hosts and not self._sweep(now_ns):
                return False
            self._full_at[host] = now_ns + self._step_ns
            return True
        if full_at - now_ns > self._depth_ns:
            return False
        self._full_at[host] = full_at + self._step_ns
        return True

    def _sweep(self, now_ns: int) -> bool:
        """Forget the hosts whose bucket is full; whether there is room now."""
        if now_ns - self._swept_ns < SWEEP_NS:
            return False
        self._swept_ns = now_ns
        self._full_at = {host: full_at for host, full_at in self._full_at.items() if full_at > now_ns}
        return len(self._full_at) < self._max_hosts
