"""BlockingEventStream: an event stream that a thread iterates over.

    with client.events(url) as stream:
        for event in stream:
            handle(event.event, event.data)

Each step waits for the next event, over as many connections as it takes; the iteration ends where the stream does
(204, `close()`, an end that is not followed by another connection), and raises what it fails with. An event is lent
until the next step.

Invariant: one thread iterates; `cancel()` is what another may call, and ends a wait at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING

from turbosock.client.blocking_dial import BlockingWaiter
from turbosock.client.cancel_token import CancelToken
from turbosock.client.event_stream import EventStream, EventStreamSettings, StreamState
from turbosock.errors import Cancelled, ClientClosed, InvalidOption, TurbosockError
from turbosock.protocol.sse.parser import EventParser

if TYPE_CHECKING:
    from turbosock.client.client import Client
    from turbosock.client.request_options import RequestOptions
    from turbosock.client.response import Response
    from turbosock.client.timeout_argument import TimeoutArgument
    from turbosock.protocol.sse.event import ServerSentEvent


class BlockingEventStream(EventStream):
    """See the module; a context manager that closes it."""

    __slots__ = ("_client", "_first", "_outer", "_response", "_token", "_waiter")

    def __init__(
        self,
        client: Client,
        method: str,
        url: str,
        timeout: TimeoutArgument,
        cancel: CancelToken | None,
        settings: EventStreamSettings,
        options: RequestOptions,
    ) -> None:
        if cancel is not None and not isinstance(cancel, CancelToken):
            raise InvalidOption(f"cancel: a {type(cancel).__name__} was given; give a CancelToken")
        config = client.config
        most = settings.max_event_bytes
        buffers = client.buffers
        parser = EventParser(buffers) if most is None else EventParser(buffers, max_event_bytes=most)
        super().__init__(
            method,
            url,
            timeout,
            config.timeouts,
            settings,
            options,
            parser,
            buffers,
            config.serializer,
            client.event_tally,
        )
        self._client = client
        # What is told of a receive before the others.
        self._first = (parser.event,)
        self._response: Response | None = None
        # Of this stream's requests; another one's may be among those of the token that was given.
        self._token = CancelToken()
        self._outer = cancel
        self._waiter: BlockingWaiter | None = None
        if cancel is not None:
            cancel.attach(self)

    # Events

    def __iter__(self) -> Iterator[ServerSentEvent]:
        """Return what goes on after the last event that was told, and raises as `next()` of the stream does."""
        # No step of Python's stands between the parser and its caller until the parser has no more.
        return chain.from_iterable(iter(self._await_events, None))

    def __next__(self) -> ServerSentEvent:
        """Return the next event, lent until the next call.

        Raises:
            StopIteration: the stream is over.
            Cancelled: `cancel()` was called.
            TurbosockError: it failed for good; `error` stays what it was.
        """
        while True:
            events = self._await_events()
            if events is None:
                raise StopIteration
            for event in events:
                return event

    def _await_events(self) -> Iterable[ServerSentEvent] | None:
        """Some of the next events, which are waited for where none is there; None: the stream is over."""
        parser = self.parser
        while True:
            response = self._response
            if response is None:
                # Nothing is in the parser then.
                if self.state is StreamState.CLOSED:
                    if self.error is not None:
                        raise self.error
                    return None
                self._connect()
                continue
            try:
                if parser.begun:
                    return parser
                if parser.next_event():
                    return self._first
                count = response.readinto(parser.writable())
                if count:
                    received_ns = self._client.now_ns()
                    parser.advance(count, received_ns)
                    if parser.next_event():
                        # It is read and handed over in one.
                        passed_ns = self._client.now_ns() - received_ns
                        self._parse.note(passed_ns)
                        self._delivery.note(passed_ns)
                        return self._first
                    continue
            except TurbosockError as error:
                self._connection_over(error)
                continue
            except BaseException:
                # An interrupt: nobody knows how much was read.
                self._drop_response()
                self.state = StreamState.WAITING
                parser.reset()
                raise
            self._connection_over(None)

    # Connections

    def _connect(self) -> None:
        """Wait until it is time, then have a connection, or a reason for none."""
        try:
            if self.state is StreamState.WAITING:
                self._pause()
            self.begin(self._client.now_ns())
            response = self._client.stream(
                self.method,
                self.url,
                timeout=self.timeouts_now(self._client.now_ns()),
                cancel=self._token,
                **self.request_options(),
            )
        except TurbosockError as error:
            self.after(error, self._client.now_ns())
            return
        except BaseException:
            # An interrupt; the next step tries again.
            self.state = StreamState.WAITING
            raise
        try:
            head = response.head
            assert head is not None, "stream() returns with it"
            if not self.accept(response.prepared, head):
                response.close()
                self._end(None)
                return
        except TurbosockError as error:
            response.close()
            self.after(error, self._client.now_ns())
            return
        except BaseException:
            response.close()
            raise
        response.count_head()
        response.timeouts = self.body_timeouts
        self._response = response

    def _pause(self) -> None:
        """Sleep until it is time for the next attempt; raises Cancelled and ClientClosed."""
        waiter = BlockingWaiter()
        held = self._client.held
        held.add(waiter)
        self._waiter = waiter
        try:
            # cancel() and the client's end may have come before they could see that it sleeps.
            self._check_open()
            left_ns = self.due_ns - self._client.now_ns()
            if left_ns > 0:
                waiter.sleep(left_ns, self._client.clock)
        finally:
            self._waiter = None
            held.discard(waiter)
        self._check_open()

    def _check_open(self) -> None:
        if self._token.cancelled:
            raise Cancelled("the event stream was cancelled")
        if self._client.closed:
            raise ClientClosed("the client was closed while the event stream waited to be connected to again")

    def _connection_over(self, error: TurbosockError | None) -> None:
        self._drop_response()
        self.after(error, self._client.now_ns())

    def _drop_response(self) -> None:
        response = self._response
        if response is not None:
            self._response = None
            self._token.detach(response)
            response.close()

    # The end

    def cancel(self) -> None:
        """End the stream from any thread: a step that waits, or the next one that would, raises Cancelled at once."""
        self._token.cancel()
        waiter = self._waiter
        if waiter is not None:
            waiter.interrupt()

    def close(self) -> None:
        """End the stream, in the thread that iterates: no more events; a second call does nothing."""
        if self.state is not StreamState.CLOSED:
            self._end(None)
        self._drop_response()
        if self._outer is not None:
            self._outer.detach(self)
            self._outer = None

    def _now_ns(self) -> int:
        return self._client.now_ns()

    def __enter__(self) -> BlockingEventStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
