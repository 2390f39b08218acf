"""Client: the blocking face. One object for a whole program, shared by its threads.

    client = turbosock.Client()
    client.get("http://host/path").content                  # owned bytes
    with client.stream("GET", "http://host/big") as response:
        count = response.readinto(view)                     # what has arrived; 0 at the end

A call runs on the thread that made it: it takes a connection of the origin, or dials one, and steps it until the
answer is there or the deadline passes. No other thread touches that connection meanwhile, except to cancel it.

Requests, downloads and event streams are here, and the end. What a Client is made of is in `client_base.py`, how it
comes to its connections in `client_connections.py`, WebSockets and prewarming in `client_opening.py`.

Invariants: a connection serves one exchange at a time; every call ends within its total deadline; after `close()`
every call raises ClientClosed, and those that were waiting wake up with it.
"""

from __future__ import annotations

import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Unpack

from turbosock.buffers.caller import caller_line
from turbosock.client.cancel_token import CancelToken
from turbosock.client.client_opening import ClientOpening
from turbosock.client.flow import Flow
from turbosock.client.request import Preparer
from turbosock.client.request_options import ClientOptions, DownloadOptions, RequestOptions, check_options
from turbosock.client.response import Response
from turbosock.client.stats import ClientStats
from turbosock.client.timeout_argument import DEFAULT, TimeoutArgument
from turbosock.config import Timeouts
from turbosock.connection.body_source import body_source
from turbosock.errors import ClientClosed, InvalidOption, StateError

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from turbosock.client.blocking_event_stream import BlockingEventStream
    from turbosock.client.download import ProgressArgument
    from turbosock.client.event_stream import ReconnectArgument
    from turbosock.client.request import Headers
    from turbosock.proxy_config import ProxyHops


class Client(ClientOpening):
    """A blocking HTTP client; safe to share between threads.

    Args:
        config: everything it can be told; the defaults suit most programs.
        middleware: links around every exchange, outermost first; see `turbosock.Middleware`.
        connector: makes the connections instead of the network, or stands around them; None: the network.
        redirects: how far redirects are followed; None: not, unless a request asks for it.
        retries: when requests are sent again; None: never, but for a kept connection that turns out to be closed.
        auth: for requests that have none of their own: as in `request`.
        cookies: the jar, which several clients may share; None: one of its own; False: none.

    Raises:
        InvalidOption: an argument is not what it should be; it is named.
    """

    __slots__ = ()

    # Requests

    def request(
        self,
        method: str,
        url: str,
        *,
        timeout: TimeoutArgument = DEFAULT,
        cancel: CancelToken | None = None,
        **options: Unpack[RequestOptions],
    ) -> Response:
        """Send a request and read the answer whole.

        Args:
            method, url: of the request.
            timeout: seconds for everything, redirects and retries included, or a Timeouts.
            cancel: lets another thread end the call.
            params: added to the URL's query: a mapping, pairs or a str.
            headers: a mapping or pairs; they replace default fields of the same name.
            content: the body: bytes, any buffer (sent without a copy), str, a binary file, or an iterable of buffers.
            data: a form as a mapping or pairs; anything else is taken as `content`.
            json: an object to send as JSON, by `Config.serializer`.
            files: a form with files, and with the fields of `data`: a mapping or pairs of name and file, or a
                MultipartForm; a file is bytes, a binary file or an iterable, or (filename, content[, content type[,
                headers]]).
            progress: called as `progress(sent, total)` with the body's bytes when some have left; `total` is None where
                it is not known. What it raises ends the exchange.
            on_informational: called as `on_informational(status_code, headers)` for each 1xx answer before the final
                one: 100 (Continue), 103 (Early Hints, RFC 8297). What it raises ends the exchange.
            auth: (user, password) for basic authentication, an Auth, or a callable, instead of the client's own; False:
                none. It is for the origin of the URL alone.
            cookies: names and values for this request, beside those of the client's jar; for its origin alone.
            follow_redirects: True or False; None: as the client does.
            proxy: a proxy's URL, several in a row, or a Proxy: instead of the client's; False: none.
            host_map, local_address: as in Config, instead of them.

        Returns:
            The response, yours to keep; its body is in `content`.

        Raises:
            InvalidOption: an argument cannot work; it names the argument, and nothing was sent.
            RedirectError: a redirect cannot be followed.
            TurbosockError: the exchange failed.
        """
        response = self._response_type(self)
        if cancel is not None:
            response.make_cancellable()
        self._perform(response, method, url, timeout, cancel, options)
        try:
            response.gather()
        finally:
            if cancel is not None:
                cancel.detach(response)
        response.closed = True
        return response

    def stream(
        self,
        method: str,
        url: str,
        *,
        timeout: TimeoutArgument = DEFAULT,
        cancel: CancelToken | None = None,
        **options: Unpack[RequestOptions],
    ) -> Response:
        """Send a request and return once the head of the answer is there; arguments and errors are `request`'s.

        Returns:
            The response, for a `with` block or an explicit `close()`; its body is still to be read.
        """
        response = self._responses.rent()
        response.forget()
        if self._names_lines:
            response.taken_at = f"; it was taken at {caller_line()}"
        if cancel is not None:
            response.make_cancellable()
        elif timeout is DEFAULT and not options and method == "GET" and type(url) is str and not self.closed:
            prepared = self._session.find_get(url)
            if prepared is not None:
                response.perform(prepared, None, self._timeouts)
                if response.head.special:  # type: ignore[union-attr]  # perform() ends with a head, or raises
                    response.pursue(Flow(self._session))
                return response
        self._perform(response, method, url, timeout, cancel, options)
        return response

    def _perform(
        self,
        response: Response,
        method: str,
        url: str,
        timeout: TimeoutArgument,
        cancel: CancelToken | None,
        options: RequestOptions,
    ) -> None:
        if self.closed:
            raise ClientClosed("the client is closed: request() and stream() need an open one")
        if cancel is not None and not isinstance(cancel, CancelToken):
            raise InvalidOption(f"cancel: a {type(cancel).__name__} was given; give a CancelToken")
        check_options(options)
        timeouts = self._timeouts if timeout is DEFAULT else Timeouts.of(timeout)
        prepared, source, flow, response.on_informational = self._session.request(method, url, **options)
        try:
            if cancel is not None:
                cancel.attach(response)
            try:
                if flow is not None:
                    response.begin(flow, prepared, timeouts)
                else:
                    response.perform(prepared, source, timeouts)
                    if response.head.special:  # type: ignore[union-attr]  # as in stream()
                        response.pursue(Flow(self._session))
            except BaseException:
                if cancel is not None:
                    cancel.detach(response)
                raise
        finally:
            if source is not None:
                source.release()

    def forward(
        self,
        method: str,
        url: str,
        headers: Headers,
        content: object,
        timeouts: Timeouts,
        *,
        proxy: ProxyHops | bool | None = None,
        target: str | None = None,
        response: Response | None = None,
    ) -> Response:
        """Send a request that another library made, and return once the head of the answer is there.

        Nothing is added but Host and what frames the body, where `headers` have neither; cookies, credentials,
        redirects and retries are left to that library.

        Args:
            method, url, headers, content, proxy: as in `request`; user information in the URL becomes credentials.
            timeouts: of this exchange.
            target: the request target as it is to be sent, if not the URL's.
            response: a new response of this client to fill; None takes one of those of `stream()`.

        Returns:
            The response, as `stream()` does. Raises what that does.
        """
        if self.closed:
            raise ClientClosed("the client is closed: forward() needs an open one")
        preparer = self._forwarding
        if preparer is None:
            # Of two threads that come here at once, one makes a second that is equal.
            own = self._session.preparer
            preparer = self._forwarding = Preparer(self.pool, (), self.connections.secure, own.routes)
        source = None if content is None else body_source(content, self.buffers)
        try:
            routes = None if proxy is None else preparer.routes.changed(proxy=proxy)
            prepared = preparer.prepare(method, url, headers=headers, source=source, routes=routes, target=target)
            if response is None:
                rented = self._responses.rent()
                rented.forget()
                if self._names_lines:
                    rented.taken_at = f"; it was taken at {caller_line()}"
                response = rented
            response.perform(prepared, source, timeouts)
        finally:
            if source is not None:
                source.release()
        return response

    def get(
        self,
        url: str,
        *,
        timeout: TimeoutArgument = DEFAULT,
        cancel: CancelToken | None = None,
        **options: Unpack[RequestOptions],
    ) -> Response:
        """GET; see `request`."""
        if timeout is DEFAULT and cancel is None and not options and type(url) is str:
            prepared = self._session.find_get(url)
            if prepared is not None and not self.closed:
                # The usual request of a program that repeats itself: nothing to validate, nothing to serialise.
                response = self._response_type(self)
                response.perform(prepared, None, self._timeouts)
                if response.head.special:  # type: ignore[union-attr]  # as in stream()
                    response.pursue(Flow(self._session))
                response.gather()
                response.closed = True
                return response
        return self.request("GET", url, timeout=timeout, cancel=cancel, **options)

    def head(self, url: str, **options: Unpack[ClientOptions]) -> Response:
        """HEAD; see `request`."""
        return self.request("HEAD", url, **options)

    def options(self, url: str, **options: Unpack[ClientOptions]) -> Response:
        """OPTIONS; see `request`."""
        return self.request("OPTIONS", url, **options)

    def delete(self, url: str, **options: Unpack[ClientOptions]) -> Response:
        """DELETE; see `request`."""
        return self.request("DELETE", url, **options)

    def post(self, url: str, **options: Unpack[ClientOptions]) -> Response:
        """POST; see `request`."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Unpack[ClientOptions]) -> Response:
        """PUT; see `request`."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Unpack[ClientOptions]) -> Response:
        """PATCH; see `request`."""
        return self.request("PATCH", url, **options)

    def download(
        self,
        url: str,
        path: str | os.PathLike[str],
        *,
        resume: bool = True,
        progress: ProgressArgument = None,
        timeout: TimeoutArgument = DEFAULT,
        cancel: CancelToken | None = None,
        **options: Unpack[DownloadOptions],
    ) -> Path:
        """GET a body into a file, which appears, or is replaced, when all of it is there.

        Args:
            url, timeout, cancel, options: as in `request`. The total deadline holds for the whole download.
            path: the file.
            resume: keep what has come of a download that failed, in `<path>.part`, and go on from there next time, if
                the server still has the same version.
            progress: called as `progress(received, total)`; `total` is None where it is not known. True: a bar on
                standard error, where that is a terminal. What it raises ends the download.

        Returns:
            The path.

        Raises:
            StatusError: the answer is none with the body.
            StateError: another download to the same file is under way.
            OSError: the file cannot be written.
            TurbosockError: as `request`.
        """
        if self.closed:
            raise ClientClosed("the client is closed: download() needs an open one")
        # Not with the module: few programs write files, and its parsers of dates are many.
        from turbosock.client.download import download

        return download(self, url, path, resume, progress, timeout, cancel, options)

    def events(
        self,
        url: str,
        *,
        method: str = "GET",
        last_event_id: str | None = None,
        resume: str | None = None,
        reconnect: ReconnectArgument = None,
        heartbeat_s: float | None = None,
        max_event_bytes: int | None = None,
        timeout: TimeoutArgument = DEFAULT,
        cancel: CancelToken | None = None,
        **options: Unpack[RequestOptions],
    ) -> BlockingEventStream:
        """Read a stream of server-sent events, over as many connections as it takes; nothing is sent before it is read.

        Args:
            url, method, options: of each of its requests, as in `request`.
            last_event_id: the id of the event to go on after.
            resume: instead of it, a `resume_token` of an earlier stream.
            reconnect: when it is connected to again: a ReconnectPolicy, True for the default one, False for never;
                None: as the default one for a GET, and never for other methods, which may not be carried out twice.
            heartbeat_s: the longest silence of an open stream, comments counted as sounds, before its connection is
                taken for dead; None: `read_s` of the timeouts.
            max_event_bytes: the most data of one event; None: limits.SSE_EVENT_BYTES.
            timeout: as in `request`, but that the default total deadline does not hold; one that is given is one for
                all connections together, and ends the stream with TotalTimeout.
            cancel: lets another thread end the stream, as its own `cancel()` does.

        Returns:
            The stream, to iterate over, for a `with` block or an explicit `close()`.

        Raises:
            InvalidOption: an argument cannot work; it is named. One of the request alone is named by the first step.
            ClientClosed: after `close()`.
        """
        if self.closed:
            raise ClientClosed("the client is closed: events() needs an open one")
        # Not with the module: few programs read event streams.
        from turbosock.client.blocking_event_stream import BlockingEventStream
        from turbosock.client.event_stream import EventStreamSettings

        settings = EventStreamSettings(last_event_id, resume, reconnect, heartbeat_s, max_event_bytes)
        stream = BlockingEventStream(self, method, url, timeout, cancel, settings, options)
        streams, key = self.event_streams, id(stream)
        streams[key] = weakref.ref(stream, lambda ref: streams.pop(key, None))
        return stream

    # The end

    def close(self) -> None:
        """Close every connection; calls under way in other threads end with ClientClosed. Idempotent."""
        # Each part does nothing when it was done before, so that a second call ends what an interrupt broke off.
        self.closed = True
        self.connections.close()
        for response in tuple(self.held):
            response.interrupt()
        with self.pool.lock:
            websockets = tuple(self.websockets)
        for websocket in websockets:
            websocket.abort()
        self.connections.resolver.close()
        self._responses.clear()
        self.rings.clear()
        self.long_rings.clear()
        self.buffers.clear()
        # Last, because it may wait for a moment.
        self.prewarmer.close()

    def retire(self) -> bool:
        """Close the client if nothing of it is in use. Else what is under way goes on, and no connection is kept.

        Returns:
            Whether it is closed now; if not, call again when a response has ended.
        """
        self.connections.close_abandoned()
        connections = self.pool.stats()
        if connections.in_use or connections.dialling:
            self.pool.retire()
            return False
        self.close()
        return True

    def stats(self) -> ClientStats:
        """One snapshot of connections, pools and queues; of a closed client, too."""
        self.connections.close_abandoned()
        connections = self.pool.stats()
        return ClientStats(
            open=connections.open,
            idle=connections.idle,
            waiting=connections.waiting,
            held=len(self.held),
            connections=connections,
            rings=self.rings.stats(),
            buffers=self.buffers.stats(),
            responses=self._responses.stats(),
            prewarmed=self.prewarmer.stats(),
            retries=None if self._session.retries is None else self._session.retries.stats(),
            event_streams=sum(not stream.closed for stream in self._streams_alive()),
            events_read=self.event_tally.totals(),
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> str:
        raise StateError("a Client holds sockets and cannot be pickled; pickle its Config and make a new Client")

    def __repr__(self) -> str:
        return f"<Client {self.config.transport.name} {'closed' if self.closed else 'open'}>"
