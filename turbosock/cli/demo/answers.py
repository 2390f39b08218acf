"""Answers of the demo's server, read into a buffer that is used again, and checked."""

from __future__ import annotations

from turbosock.cli.demo.leg import BODY
from turbosock.client.client import Client
from turbosock.client.exchange import ClientExchange
from turbosock.errors import ProtocolError


def fetch(client: Client, url: str, buffer: bytearray, view: memoryview) -> None:
    """GET `url`, read the body into `view`, which is `buffer`'s, and check it.

    Raises:
        TurbosockError: the request failed, or the answer is not BODY.
    """
    with client.stream("GET", url) as response:
        filled = response.readinto(view)
        while 0 < filled < len(BODY):
            count = response.readinto(view[filled:])
            if not count:
                break
            filled += count
        check(response, filled, buffer)


def check(exchange: ClientExchange, count: int, buffer: bytearray) -> None:
    """Raise ProtocolError unless the answer is 200 with BODY in the first `count` bytes of `buffer`."""
    if exchange.status_code != 200 or count != len(BODY) or not buffer.startswith(BODY):
        raise ProtocolError(
            f"{exchange.method} {exchange.url}: status {exchange.status_code} and {count} bytes of body came, "
            f"200 and other {len(BODY)} bytes were expected; this is a bug, please report it"
        )
