"""HopLog: every request of a run and its answer, for -v and for -I: redirects, challenges and retries included."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from turbosock.cli.shown_head import shown_head
from turbosock.client.middleware import Middleware
from turbosock.tls import TlsInfo

if TYPE_CHECKING:
    from turbosock.client.middleware.chained import Chained


class HopLog(Middleware):
    """Tells of each exchange as its answer comes, or as it fails without one.

    Args:
        say: takes lines for people; None: nothing is told.

    Attributes:
        heads: of all answers, as they came.
    """

    def __init__(self, say: Callable[[str], object] | None) -> None:
        self._say = say
        self.heads: list[bytes] = []

    def answered(self, exchange: Chained) -> None:
        head = exchange.head
        assert head is not None, "links are told of heads"
        self.heads.append(head.shown)
        if self._say is None:
            return
        way = "".join([f"* through {proxy.url}\n" for proxy in exchange.prepared.origin.key.hops])
        if exchange.tls is not None:
            way += _agreement(exchange.tls)
        sent = exchange.prepared.head
        if head.version == 20:
            # It went in another form, with the same content.
            sent = sent.replace(b" HTTP/1.1\r\n", b" HTTP/2\r\n", 1)
        self._say(way + shown_head(sent, ">") + shown_head(head.shown, "<"))

    def leave(self, exchange: Chained) -> None:
        if self._say is not None and exchange.error is not None and exchange.head is None:
            # What is said of it in the end tells of the last one alone.
            self._say(f"* {exchange.method} {exchange.prepared.url.safe} failed: {exchange.error.code}\n")


def _agreement(tls: TlsInfo) -> str:
    """What was agreed on with the server, in one line."""
    session = "resumed" if tls.resumed else "new session"
    alpn = f"ALPN {tls.alpn}" if tls.alpn else "no ALPN"
    return f"* {tls.version}, {tls.cipher}, {alpn}, {session}, by {tls.provider} ({tls.library})\n"
