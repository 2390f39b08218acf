"""Carrier: what carries an exchange of a listener: a connection of HTTP/1, or a stream of HTTP/2.

The exchange checks what its handler may call, and when; the carrier puts it into the words of its protocol. A carrier
carries one exchange at a time, and calls the handler and its callbacks for it.

Invariant: an exception of a handler ends its own exchange and no other; an interrupt closes the connection and passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock.errors import BodyTooLarge, HeadTooLarge, StateError, TurbosockError
from turbosock.logs import area
from turbosock.protocol.http1.serialize import REASONS, response_head

if TYPE_CHECKING:
    from turbosock.connection.message_strategy import MessageOwner
    from turbosock.connection.send import Send
    from turbosock.connection.websocket_connection import WebSocketConnection
    from turbosock.protocol.http1.headers import HeaderItems, HeaderList
    from turbosock.protocol.http1.serialize import Fields
    from turbosock.server.http_exchange import Callback, HttpExchange
    from turbosock.server.http_listener import HttpListener
    from turbosock.server.websocket_settings import WebSocketSettings
    from turbosock.transport.transport import SaeaTransport

logger = area("server")

PLAIN_TEXT: Final = ((b"Content-Type", b"text/plain"),)


class Carrier:
    """Mixed into both kinds; see the module.

    Attributes:
        listener: whose it is.
        exchange: what the handler was given and has not answered whole, or what has not left whole.
    """

    __slots__ = ()

    # Each kind has these as slots of its own.
    listener: HttpListener
    exchange: HttpExchange | None
    _body_error: TurbosockError | None

    # What the exchange asks for; it has checked its arguments, and that it is open.

    def answer(
        self, status_code: int, headers: HeaderItems | None, length: int, data: bytes | memoryview, size: int
    ) -> Send:
        """Send a whole answer; `length` is as in `ResponseHeads.head`, and `data`, of `size` bytes, may be left out.

        Raises:
            InvalidOption, InvalidHeader: an argument cannot be sent; nothing has changed.
        """
        raise AssertionError("each kind does it in its own way")

    def start_answer(self, status_code: int, headers: HeaderItems | None, length: int) -> Send:
        """Send the head of an answer; arguments and errors are those of `answer`."""
        raise AssertionError("as above")

    def send_piece(self, data: bytes | memoryview, size: int, framing: int) -> Send:
        """Send the next piece of a body that is framed so, whole or not at all."""
        raise AssertionError("as above")

    def end_answer(self, framing: int, trailers: Fields) -> Send:
        """End an answer that was begun.

        Raises:
            InvalidHeader: a trailer is not valid; nothing has changed.
        """
        raise AssertionError("as above")

    def upgrade_websocket(
        self, exchange: HttpExchange, settings: WebSocketSettings, headers: HeaderList
    ) -> WebSocketConnection | None:
        """As `HttpExchange.upgrade_websocket`."""
        listener = self.listener
        messages = listener.messages
        if messages is None:
            raise StateError("upgrade_websocket() needs a listener of a Loop: make it with loop.listen()")
        answer = settings.answer(exchange.request)
        if answer.agreement is None:
            listener.refused += 1
            exchange.respond(answer.status_code, (*answer.fields, *PLAIN_TEXT), answer.refusal.encode() + b"\n")
            return None
        head = response_head(answer.status_code, None, (*answer.fields, *headers.raw))
        opened = settings.connection(messages, self._owner, answer, exchange.request)
        return self._open_websocket(exchange, opened, head)

    def _open_websocket(self, exchange: HttpExchange, opened: WebSocketConnection, head: bytes) -> WebSocketConnection:
        """Send the head, and give the connection, or stream, over to the WebSocket; raises LimitError."""
        raise AssertionError("as above")

    @property
    def _owner(self) -> MessageOwner:
        """Whose a WebSocket will be that is opened here."""
        raise AssertionError("as above")

    def abort(self) -> None:
        """End the exchange without another byte."""
        raise AssertionError("as above")

    @property
    def transport(self) -> SaeaTransport:
        """The accepted connection."""
        raise AssertionError("as above")

    @property
    def body_complete(self) -> bool:
        """Whether the body of the request has been read whole."""
        raise AssertionError("as above")

    def read_body(self, view: memoryview) -> int:
        """As `HttpExchange.readinto`."""
        raise AssertionError("as above")

    # The handler

    def close_connection(self) -> None:
        """Close the connection, and tell nobody."""
        raise AssertionError("as above")

    def _refuse(self, status_code: int) -> None:
        """Answer in the handler's place."""
        raise AssertionError("as above")

    def _call(self, callback: Callback | None, exchange: HttpExchange) -> None:
        if callback is None:
            return
        try:
            callback(exchange)
        except Exception as error:
            self._on_handler_error(exchange, error)
        except BaseException:
            self.close_connection()
            raise

    def _on_handler_error(self, exchange: HttpExchange, error: Exception) -> None:
        if error is self._body_error:
            # The client's doing, which the handler left to the listener.
            self._forget_body_error()
            if exchange.started:
                self.abort()
            elif self.exchange is exchange:
                self._refuse(status_of(error))
            return
        request = exchange.request
        # The query may hold secrets; the path says which handler it was.
        logger.error("the handler failed on %s %s", request.method, request.path, exc_info=error)
        if self.exchange is not exchange:
            return
        if exchange.started:
            self.abort()
        else:
            exchange.respond(500, PLAIN_TEXT, status_text(500))

    def _forget_body_error(self) -> None:
        raise AssertionError("as above")


def status_of(error: Exception) -> int:
    """How a request that raised `error` is answered (RFC 9112 §3, RFC 6585 §5)."""
    if isinstance(error, HeadTooLarge):
        return 431
    if isinstance(error, BodyTooLarge):
        return 413
    code = getattr(error, "code", "")
    if code == "bad_version":
        return 505
    if code == "bad_transfer_encoding":
        return 501
    return 400


def status_text(status_code: int) -> bytes:
    """A short body for an answer of the listener's own."""
    return b"%d %b\n" % (status_code, REASONS[status_code])
