"""TracedResponse: tells the function of httpx's `trace` extension what an exchange does, by the names of httpcore.

An event has begun ("connection.connect_tcp.started") and then is "complete", or "failed". Those of a connection are not
told where one was kept. What the function raises ends the exchange, as in httpx.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from turbosock.errors import Phase, TurbosockError
from turbosock.integrations.httpx_response import ForwardedResponse

if TYPE_CHECKING:
    from turbosock.client.client import Client

Trace = Callable[[str, Mapping[str, Any]], object]

_EVENTS: Final = {
    Phase.CONNECT: "connection.connect_tcp",
    Phase.PROXY: "proxy.connect",
    Phase.TLS: "connection.start_tls",
    Phase.SEND: "{}.send_request_headers",
    Phase.HEAD: "{}.receive_response_headers",
    Phase.BODY: "{}.receive_response_body",
}


class TracedResponse(ForwardedResponse):
    """See the module.

    Args:
        trace: called with the name of an event and what belongs to it.
        request: the library's, which belongs to those of a request.
    """

    __slots__ = ("_event", "_phase", "_request", "_trace")

    def __init__(self, client: Client, trace: Trace, request: object) -> None:
        self._trace = trace
        self._request = request
        self._event = ""
        self._phase = Phase.NONE
        super().__init__(client)

    @property
    def phase(self) -> Phase:
        """What the exchange is doing."""
        return self._phase

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._phase = phase
        self._complete()
        event = _EVENTS.get(phase, "")
        if event:
            self._event = event.format("http2" if self.stream_id else "http11")
            self._trace(f"{self._event}.started", {"request": self._request})

    def _complete(self) -> None:
        event, self._event = self._event, ""
        if not event:
            return
        head = self.head
        if event.endswith("response_headers") and head is not None:
            answer = (head.status_code, list(head.headers.raw))
            value: object = (self.http_version.encode(), head.status_code, head.reason.encode("latin-1"), answer[1])
            self._trace(f"{event}.complete", {"return_value": value})
        else:
            self._trace(f"{event}.complete", {"return_value": None})

    def explained(self, error: TurbosockError) -> TurbosockError:
        error = super().explained(error)
        event, self._event = self._event, ""
        if event:
            self._trace(f"{event}.failed", {"exception": error})
        return error

    def close(self) -> None:
        was_open = not self.closed
        super().close()
        if was_open:
            self._complete()
            prefix = "http2" if self.stream_id else "http11"
            self._trace(f"{prefix}.response_closed.started", {})
            self._trace(f"{prefix}.response_closed.complete", {"return_value": None})
