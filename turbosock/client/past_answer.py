"""PastAnswer: an answer that asked for another request, as `Response.history` shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turbosock.client.request import PreparedRequest
    from turbosock.protocol.http1.head import ResponseHead
    from turbosock.protocol.http1.headers import HeaderList


class PastAnswer:
    """A redirect, or a challenge; its body was not kept.

    Attributes:
        method, url: of the request that it answered; the URL without credentials.
        status_code, reason, headers: of the answer.
    """

    __slots__ = ("headers", "method", "reason", "status_code", "url")

    def __init__(self, prepared: PreparedRequest, head: ResponseHead) -> None:
        self.method: str = prepared.method
        self.url: str = prepared.url.shown
        self.status_code: int = head.status_code
        self.reason: str = head.reason
        self.headers: HeaderList = head.headers

    def __repr__(self) -> str:
        # Without the URL, whose query may be a secret.
        return f"<PastAnswer {self.method} {self.status_code}>"
