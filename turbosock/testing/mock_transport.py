"""MockTransport: answers requests in the place of the network; what is asked for is remembered, and can be asserted.

    with MockTransport() as mock, turbosock.Client(connector=mock) as client:
        mock.route("GET", "https://api.example/users/*", json={"name": "Ada"})
        assert client.get("https://api.example/users/1").json()["name"] == "Ada"
        mock.assert_sent("GET", "https://api.example/users/1")

The bytes are real: the client's own protocol code speaks to turbosock's own server, over a Network in memory and in
virtual time, so that answers arrive as they would, and nobody waits: neither for a delay, nor for a timeout.

A request is answered by the first route that agrees with it and is not used up, else by the first answer in the queue,
else its exchange ends with a MisuseError that names it and the routes there are. An answer that is an error of
connecting refuses the connection itself, before a byte of a request, where it would answer any request there; where
that depends on the request, it ends the one that has come.

Invariants: each request is in `requests` before it is answered; what one answer does to its connection happens after
the whole request has come.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from turbosock import limits
from turbosock.client.events import EventKind
from turbosock.connection.send import Send
from turbosock.errors import InvalidOption, MisuseError, Origin, StateError, TurbosockError
from turbosock.protocol.http1.headers import HeaderItems
from turbosock.server.websocket_settings import WebSocketSettings
from turbosock.testing.answer import Answer, Reply, Step
from turbosock.testing.mock_request import MockRequest
from turbosock.testing.network import Network
from turbosock.testing.network_socket import NetworkSocket
from turbosock.testing.route import Answering, Route, UrlPattern, listed
from turbosock.testing.web_socket_script import RunningScript, WebSocketScript

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from turbosock.client.events import Event
    from turbosock.reactor.reactor import Reactor
    from turbosock.server.http_exchange import HttpExchange
    from turbosock.testing.answer import Failure
    from turbosock.testing.virtual_clock import VirtualClock
    from turbosock.transport.connector import Target
    from turbosock.transport.transport import Transport

_VERSIONS: Final = ("HTTP/1.1", "HTTP/2")
# Where a connection breaks, the first bytes of an answer have come: what is lost before them may be asked for again.
_BEGINNING: Final = b"HTTP/1.1 "
_MOMENT_S: Final = 1e-6


class MockTransport:
    """See the module; give it as `connector=`, to one Client or Loop or to several.

    Args:
        network: whose latency, bandwidth, loss and time there are; None: one of its own, with none of them. It serves
            whatever nobody else does there.
        http_version: what clients of https find agreed on: "HTTP/1.1" or "HTTP/2". Clients of http may always speak
            HTTP/2 by prior knowledge.
        strict: whether leaving the with block raises for answers that nobody asked for.

    Attributes:
        requests: what was asked, in order.
        clock: the virtual time of everything here.

    Raises:
        InvalidOption: an argument cannot work; it is named.
    """

    def __init__(self, network: Network | None = None, *, http_version: str = "HTTP/1.1", strict: bool = True) -> None:
        if network is not None and not isinstance(network, Network):
            raise InvalidOption(f"network={network!r}: give a Network, or None")
        if http_version not in _VERSIONS:
            raise InvalidOption(f"http_version={http_version!r}: give one of {', '.join(_VERSIONS)}")
        if not isinstance(strict, bool):
            raise InvalidOption(f"strict={strict!r}: give True or False")
        self._network = Network() if network is None else network
        self._owns_network = network is None
        self._strict = strict
        self._routes: list[Route] = []
        self._queue: deque[Answer | Answering] = deque()
        # A route is chosen, and counts, in one step: a connection may be asked for while a request is answered.
        self._choice = threading.Lock()
        # By the address of the client; they go with their connections.
        self._connections: WeakValueDictionary[object, NetworkSocket] = WeakValueDictionary()
        self._scripts: dict[object, tuple[Route, RunningScript]] = {}
        self._settings = WebSocketSettings(origins=("*",))
        self._faults: list[str] = []
        self._closed = False
        self.requests: list[MockRequest] = []
        self.clock: VirtualClock = self._network.clock
        self._listener = self._network.listen(
            None,
            handler=self._handle,
            alpn="h2" if http_version == "HTTP/2" else None,
            max_body_bytes=limits.MAX_MOCKED_BODY_BYTES,
        )
        self._network.on_connected = self._on_connected
        self._network.on_event = self._on_event

    # Answers

    def add(self, answer: Answer | Answering | None = None, **fields: Any) -> None:
        """Answer the next request that no route answers, once, behind those that were added before.

        Args:
            answer: an Answer, or a function that makes one of a MockRequest.
            fields: those of the Answer, where none is given.

        Raises:
            InvalidOption: an argument, or a field, cannot work; it is named.
            StateError: after close().
        """
        self._check_open("add()")
        answer = _one_of(answer, fields)
        if not isinstance(answer, Answer) and not callable(answer):
            raise InvalidOption(f"answer={answer!r}: give an Answer, or a function of a MockRequest")
        self._queue.append(answer)

    def route(
        self,
        method: str | None,
        url: UrlPattern,
        answer: Answer | Answering | None = None,
        *,
        match_headers: HeaderItems = (),
        times: int | None = None,
        **fields: Any,
    ) -> Route:
        """Answer all requests that agree with this.

        Args:
            method: as "GET"; None: any.
            url: a whole URL, a path of any host (`/users/*`), or a host; `*` is any text, and a query counts where
                there is one. Or a compiled pattern, which is looked for in the URL.
            answer, fields: as for add().
            match_headers: fields that a request must have, with these values.
            times: how many requests; None: any number.

        Returns:
            The route, which counts.

        Raises:
            InvalidOption, StateError: as add().
        """
        self._check_open("route()")
        route = Route(method, url, _one_of(answer, fields), headers=match_headers, times=times)
        self._routes.append(route)
        return route

    def websocket(
        self, url: UrlPattern, *steps: Step | Reply, match_headers: HeaderItems = (), times: int | None = None
    ) -> Route:
        """Open the WebSockets that are asked for at this URL, and go through a script with each.

        Args:
            url, match_headers, times: as for route(); ws and wss are understood.
            steps: Sends, Expects, Waits and Closes in order; or one function, which is given each message and returns
                the reply, or None.

        Returns and raises as route().
        """
        self._check_open("websocket()")
        route = Route(None, url, None, headers=match_headers, times=times, script=WebSocketScript(steps))
        self._routes.append(route)
        return route

    # What was asked

    def sent(self, method: str | None = None, url: UrlPattern = "*") -> list[MockRequest]:
        """The requests that agree with this, as in route().

        Raises:
            InvalidOption: as route().
        """
        wanted = Route(method, url, Answer())
        return [request for request in self.requests if wanted.matches(request)]

    def assert_sent(
        self,
        method: str | None = None,
        url: UrlPattern = "*",
        *,
        count: int | None = None,
        headers: HeaderItems = (),
        content: bytes | str | None = None,
    ) -> list[MockRequest]:
        """Fail unless a request was sent that agrees with all of this.

        Args:
            method, url, headers: as method, url and match_headers in route().
            count: how many of them; None: one or more.
            content: its body.

        Returns:
            Those requests.

        Raises:
            AssertionError: there is none, or another number; with what was sent instead.
            InvalidOption: as route(); or `count` is no number, or `content` neither bytes nor text.
        """
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 0):
            raise InvalidOption(f"count={count!r}: give how many requests, or None for one or more")
        if content is not None and not isinstance(content, (bytes, str)):
            raise InvalidOption(f"content: a {type(content).__name__} was given; give bytes or a str")
        wanted = Route(method, url, Answer(), headers=headers)
        body = content.encode() if isinstance(content, str) else content
        found = [each for each in self.requests if wanted.matches(each) and body in (None, each.content)]
        if (count is None and found) or len(found) == count:
            return found
        number = "a request" if count is None else f"{count} requests"
        with_body = "" if body is None else f" with the body {body!r}"
        there = "; ".join(str(each) for each in self.requests) or "none"
        raise AssertionError(f"{number} {wanted}{with_body} expected, {len(found)} sent; of all: {there}")

    def assert_all_used(self) -> None:
        """Fail where an answer was not asked for, a WebSocket went otherwise than its script, or a request nowhere.

        A route counts as used once it has answered, or `times` times where that is said.

        Raises:
            AssertionError: what is left is named.
        """
        left = [
            str(route) for route in self._routes if not route.count or (route.times is not None and not route.exhausted)
        ]
        words = [*self._faults]
        words += [f"{route}: {script.fault}" for route, script in self._scripts.values() if script.fault]
        if left:
            words.append(f"routes that were not used: {'; '.join(left)}")
        if self._queue:
            words.append(f"answers that were not used: {len(self._queue)} of the queue")
        if words:
            raise AssertionError("; ".join(words))

    # As a connector

    def connect(self, target: Target, reactor: Reactor | None, deadline_ns: int) -> Transport:
        """See Connector.connect; raises the error of connecting that any request there would be answered with."""
        self._check_open("a connection")
        refusal = self._refusal(target)
        if refusal is not None:
            raise refusal.copied()
        return self._network.connect(target, reactor, deadline_ns)

    def _refusal(self, target: Target) -> TurbosockError | None:
        """The error of connecting that the next request to a target is sure to be answered with; it counts as told."""
        with self._choice:
            for route in self._routes:
                agrees = False if route.exhausted else route.matches_all(target)
                if agrees is None:
                    return None
                if agrees:
                    if route.refusal is not None:
                        route.count += 1
                    return route.refusal
            queued = self._queue[0] if self._queue else None
            if not isinstance(queued, Answer) or queued.refusal is None:
                return None
            self._queue.popleft()
            return queued.refusal

    def _on_connected(self, far: NetworkSocket, target: Target, peer: tuple[str, int]) -> None:
        far.target = target
        self._connections[peer] = far

    # The server

    def _handle(self, exchange: HttpExchange) -> None:
        sock = self._connections[exchange.request.peer]
        assert sock.target is not None, "noted as it was connected"
        request = MockRequest(exchange.request, sock.target)
        self.requests.append(request)
        with self._choice:
            route = next((each for each in self._routes if not each.exhausted and each.matches(request)), None)
            if route is not None:
                route.count += 1
        try:
            if route is not None:
                if route.script is not None:
                    self._open(route, route.script, exchange)
                    return
                answer = route.answer_to(request)
            else:
                answer = self._from_queue(request)
        except TurbosockError as error:
            self._break(exchange, sock, error)
            return
        except Exception as error:
            failure = MisuseError(f"the answer to {request} raised {error!r}", code="answer_failed")
            failure.__cause__ = error
            self._break(exchange, sock, failure)
            return
        if answer.delay_s:
            self.clock.after(answer.delay_s, lambda: self._answer(exchange, sock, answer))
        else:
            self._answer(exchange, sock, answer)

    def _from_queue(self, request: MockRequest) -> Answer:
        with self._choice:
            queued = self._queue.popleft() if self._queue else None
        if queued is None:
            words = f"no answer for {request}: the routes there are: {listed(self._routes)}"
            self._faults.append(words)
            raise MisuseError(f"{words}; give one with route(), or an answer with add()", code="no_route")
        if isinstance(queued, Answer):
            return queued
        return Route(None, "*", queued).answer_to(request)

    def _answer(self, exchange: HttpExchange, sock: NetworkSocket, answer: Answer) -> None:
        error = answer.error
        if exchange.closed or error == "silence":
            return
        if error is not None:
            # Each exchange has an error of its own.
            self._break(exchange, sock, error.copied() if isinstance(error, TurbosockError) else error)
            return
        try:
            self._say(exchange, answer)
        except MisuseError as refused:
            # Fields that contradict the body, or each other.
            self._break(exchange, sock, refused)

    def _say(self, exchange: HttpExchange, answer: Answer) -> None:
        if answer.events is not None:
            exchange.respond_events(answer.fields(), heartbeat_s=None)
            self._go_on(exchange, deque(answer.event_blocks()), answer.interval_s)
        elif answer.chunks is not None:
            exchange.start(answer.status_code, answer.fields())
            self._go_on(exchange, deque(answer.chunks), answer.interval_s)
        else:
            exchange.respond(answer.status_code, answer.fields(), answer.body())
        self._network.turn_soon()

    def _go_on(self, exchange: HttpExchange, pieces: deque[bytes], interval_s: float) -> None:
        """Send the pieces that are due, and the end behind the last one."""
        while pieces:
            if exchange.send(pieces[0]) is Send.FULL:
                exchange.on_writable = lambda exchange: self._go_on(exchange, pieces, interval_s)
                return
            pieces.popleft()
            if pieces and interval_s:
                self.clock.after(interval_s, lambda: self._go_on(exchange, pieces, interval_s))
                self._network.turn_soon()
                return
        if not exchange.closed and not exchange.done:
            exchange.end()
        self._network.turn_soon()

    def _break(self, exchange: HttpExchange, sock: NetworkSocket, error: TurbosockError | Failure) -> None:
        """Let the connection break, or the client's exchange end with an error of its own kind."""
        if not isinstance(error, MisuseError):
            # With its beginning: of a kept connection that breaks before it, clients believe that they came too late.
            if exchange.request.http_version == "HTTP/2":
                exchange.start()
            else:
                sock.send(_BEGINNING)
        # When what was begun has left, and can have been read.
        self.clock.after(_MOMENT_S, lambda: self._cut(exchange, sock, error))

    def _cut(self, exchange: HttpExchange, sock: NetworkSocket, error: TurbosockError | Failure) -> None:
        if isinstance(error, TurbosockError):
            sock.tell_peer(lambda near: near.fail(error))
        else:
            sock.tell_peer(NetworkSocket.reset if error == "reset" else NetworkSocket.leave)
        exchange.abort()

    def _open(self, route: Route, script: WebSocketScript, exchange: HttpExchange) -> None:
        connection = exchange.upgrade_websocket(self._settings)
        if connection is not None:
            running = script.begin(connection, self.clock, self._network.turn_soon)
            connection.user = running
            self._scripts[connection] = route, running

    def _on_event(self, event: Event) -> None:
        running = getattr(event.connection, "user", None)
        if not isinstance(running, RunningScript):
            return
        if event.kind is EventKind.OPEN:
            running.go_on()
        elif event.kind is EventKind.MESSAGE:
            data = event.data
            running.on_message(data if isinstance(data, str) else bytes(data))

    # The end

    def close(self) -> None:
        """End all connections, and answer nobody any more; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._listener.close()
            self._network.on_connected = self._network.on_event = None
            if self._owns_network:
                self._network.close()

    def _check_open(self, what: str) -> None:
        if self._closed:
            raise StateError(f"{what} after the mock was closed: make a new one", origin=Origin.MISUSE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if kind is None and self._strict:
            self.assert_all_used()


def _one_of(answer: Answer | Answering | None, fields: dict[str, Any]) -> Answer | Answering:
    if answer is not None and fields:
        raise InvalidOption(f"{min(fields)}: an answer is given already; put it there")
    if answer is not None:
        return answer
    unknown = fields.keys() - Answer.__dataclass_fields__.keys()
    if unknown:
        raise InvalidOption(
            f"{min(unknown)}: an Answer has no such field; it has {', '.join(Answer.__dataclass_fields__)}"
        )
    return Answer(**fields)
