"""Prepared requests: validated and serialised once, sent many times.

A `Preparer` turns what a user writes into a `PreparedRequest`, and keeps the ones that may come again: those without a
body for the same method, URL and headers. Everything that can be refused is refused here, before a byte is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from turbosock import limits
from turbosock.buffers.writer import BufferWriter
from turbosock.client.auth.basic import basic_value
from turbosock.client.form import FORM_TYPE, urlencoded
from turbosock.client.multipart import MultipartForm
from turbosock.client.routes import Routes
from turbosock.client.serializers import JsonSerializer
from turbosock.client.url import Params, Url
from turbosock.connection.body_source import body_source
from turbosock.connection.source import BodySource, BufferSource
from turbosock.connection.writer_source import WriterSource
from turbosock.errors import InvalidHeader, InvalidOption, LimitError
from turbosock.forks import renewed_in_child
from turbosock.host_map import HostMap
from turbosock.protocol.http1.head import ResponseHead
from turbosock.protocol.http1.headers import HeaderItems, HeaderList
from turbosock.protocol.http1.serialize import request_head

if TYPE_CHECKING:
    from turbosock.buffers import BufferPool
    from turbosock.pool.connection_pool import ConnectionPool
    from turbosock.pool.origin_pool import OriginPool
    from turbosock.pool.request_meter import RequestSeries
    from turbosock.serializer import Serializer
    from turbosock.transport.secure import TlsDialer

# RFC 9110 §9.2.2: repeating one of these has the effect of sending it once.
IDEMPOTENT_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"))
# Methods whose requests say "no body" aloud (RFC 9110 §8.6), because servers expect one.
_BODY_METHODS: Final = frozenset(("POST", "PUT", "PATCH"))

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
K = TypeVar("K")
_JSON: Final = JsonSerializer()
_NO_FIELDS: Final = HeaderList()


class Secrets(Protocol):
    """Who knows the credentials and cookies of a request; asked once it is known where it goes."""

    def authorization(self, method: str, url: Url) -> str | None:
        """The value of Authorization, or None."""

    def cookie(self, url: Url) -> str | None:
        """The value of Cookie, in Latin-1, or None."""


class PreparedRequest:
    """One request, ready to be sent any number of times.

    Attributes:
        method, url: of the request.
        origin: where its connections come from.
        head: the serialised head.
        fields: those of the head that a redirect may carry on: without a Host, credentials and cookies that were not
            given as headers, and without what frames the body.
        idempotent: whether it may be sent again when a connection broke before the answer.
        expect_continue: whether the body waits for a 100.
        expected: the last final head that answered it, which the next answer probably repeats byte for byte.
        model: the one it was made of, with another body; or None.
        series: what the pool's meter counts that answer in, if it is known.
    """

    __slots__ = (
        "expect_continue",
        "expected",
        "fields",
        "head",
        "idempotent",
        "method",
        "model",
        "origin",
        "series",
        "url",
    )

    def __init__(
        self, method: str, url: Url, origin: OriginPool, head: bytes, fields: HeaderList, *, expect_continue: bool
    ) -> None:
        self.method = method
        self.url = url
        self.origin = origin
        self.head = head
        self.fields = fields
        self.idempotent = method in IDEMPOTENT_METHODS
        self.expect_continue = expect_continue
        self.expected: ResponseHead | None = None
        self.model: PreparedRequest | None = None
        self.series: RequestSeries | None = None

    @property
    def shown_url(self) -> str:
        """The URL as it is shown, without credentials; where the request opens a WebSocket, that of the WebSocket."""
        url = self.url.safe
        # http is ws, https is wss, http+unix is ws+unix.
        return "ws" + url[4:] if self.origin.key.upgrades else url

    def note_answer(self, head: ResponseHead) -> None:
        """The request was answered by a head that was not expected."""
        self.expected = head
        self.series = None
        if self.model is not None:
            self.model.expected = head

    def with_body(self, source: BodySource) -> PreparedRequest:
        """The same request with another body, framed by it alone."""
        framing = framing_lines(source)
        # What frames the body stands last.
        end = self.head.rindex(b"\r\n", 0, len(self.head) - 4) + 2
        made = PreparedRequest(
            self.method, self.url, self.origin, self.head[:end] + framing, self.fields,
            expect_continue=self.expect_continue,
        )  # fmt: skip
        made.expected = self.expected
        made.model = self
        made.series = self.series
        return made

    def __repr__(self) -> str:
        return f"<PreparedRequest {self.method} {self.url.safe}>"


class Preparer:
    """Makes and remembers prepared requests for one Client or Loop.

    Args:
        pool: gives the origins.
        defaults: fields of every request that does not name them itself.
        secure: made ready when the first https URL is prepared; None leaves that to the dial.
        routes: which way connections go; None: straight to where the URL says.
    """

    __slots__ = (
        "__weakref__",
        "_count",
        "_defaults",
        "_lock",
        "_pool",
        "_secure",
        "_with_headers",
        "by_method",
        "routes",
    )

    def __init__(
        self,
        pool: ConnectionPool,
        defaults: Iterable[tuple[str, str]],
        secure: TlsDialer | None = None,
        routes: Routes | None = None,
    ) -> None:
        self._pool = pool
        self.routes = Routes(HostMap(())) if routes is None else routes
        self._secure = secure
        self._defaults = HeaderList(defaults)
        self.renew_lock()
        self._count = 0
        # The hot path's own look-up: method, then URL as it was written.
        self.by_method: dict[str, dict[str, PreparedRequest]] = {"GET": {}}
        self._with_headers: dict[tuple[object, ...], PreparedRequest] = {}
        _preparers.add(self)

    def renew_lock(self) -> None:
        """A lock that nobody holds: at the beginning, and in the child of a fork."""
        self._lock = threading.Lock()

    def prepare(
        self,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        headers: Headers | None = None,
        secrets: Secrets | None = None,
        source: BodySource | None = None,
        content_type: str | None = None,
        routes: Routes | None = None,
        target: str | None = None,
    ) -> PreparedRequest:
        """A prepared request, from memory where an equal one was made.

        Args:
            secrets: knows what goes into Authorization and Cookie, where the headers have neither.
            routes: which way the connections of this one go, if not the usual way.
            target: the request target as it is to be sent, if not the URL's.

        Raises:
            InvalidOption, InvalidUrl, InvalidHeader: naming the argument.
        """
        if params is not None or secrets is not None or routes is not None or target is not None:
            return self._make(method, url, params, headers, secrets, source, content_type, routes, target)
        if source is not None:
            return self._prepare_body(method, url, headers, source, content_type)
        if headers is None:
            urls = self.by_method.get(method) if isinstance(method, str) else None
            prepared = urls.get(url) if urls is not None and isinstance(url, str) else None
            if prepared is None:
                prepared = self._make(method, url, None, None, None, None, None, None)
                self._remember(self.by_method.setdefault(method, {}), url, prepared)
            return prepared
        pairs = _pairs_of(headers)
        key = (method, url, pairs)
        try:
            prepared = self._with_headers.get(key)
        except TypeError:
            # Something unhashable: a pair that is a list, or what validation will name.
            return self._make(method, url, None, pairs, None, None, None, None)
        if prepared is None:
            prepared = self._make(method, url, None, pairs, None, None, None, None)
            self._remember(self._with_headers, key, prepared)
        return prepared

    def _prepare_body(
        self, method: str, url: str, headers: Headers | None, source: BodySource, content_type: str | None
    ) -> PreparedRequest:
        """As `prepare`, from an equal request with another body where there was one."""
        pairs = None if headers is None else _pairs_of(headers)
        key = (method, url, pairs, content_type)
        try:
            model = self._with_headers.get(key)
        except TypeError:
            # As in prepare().
            return self._make(method, url, None, pairs, None, source, content_type, None)
        if model is not None:
            return model.with_body(source)
        prepared = self._make(method, url, None, pairs, None, source, content_type, None)
        # A length that the headers announce belongs to one body, and a boundary to one form.
        announced = pairs is not None and HeaderList(pairs).count(b"content-length")
        if not announced and (content_type is None or "boundary=" not in content_type):
            self._remember(self._with_headers, key, prepared)
        return prepared

    @property
    def has_default_authorization(self) -> bool:
        """Whether the defaults say what goes into Authorization, unless a request says it."""
        return self._defaults.count(b"authorization") > 0

    def with_secrets(
        self,
        prepared: PreparedRequest,
        authorization: str | None,
        cookie: str | None,
        source: BodySource | None = None,
        *,
        keep: bool = True,
    ) -> PreparedRequest:
        """One of `prepare`, on the usual way, with these fields unless it has them; with the same body.

        Args:
            keep: whether it is probably asked for again.
        """
        fields = prepared.fields
        if authorization is not None and fields.count(b"authorization"):
            authorization = None
        if cookie is not None and fields.count(b"cookie"):
            cookie = None
        if authorization is None and cookie is None:
            return prepared
        # By identity: it is asked for again while the secrets stay what they are.
        model = prepared.model or prepared
        key = (model, authorization, cookie)
        found = self._with_headers.get(key)
        if found is None:
            if authorization is None:
                own = _url_authorization(model.url, fields)
            else:
                own = [(b"Authorization", authorization.encode("latin-1"))]
            if cookie is not None:
                own.append((b"Cookie", cookie.encode("latin-1")))
            found = self._build(model.method, model.url, own, fields, _NO_FIELDS, source, None)
            if keep and (source is None or model is not prepared):
                self._remember(self._with_headers, key, found)
        return found if source is None else found.with_body(source)

    def follow(
        self,
        method: str,
        url: Url,
        fields: HeaderList,
        secrets: Secrets,
        source: BodySource | None,
        routes: Routes | None,
        authorization: str | None = None,
    ) -> PreparedRequest:
        """The request after an answer that asked for another one; its fields are all it has but for secrets.

        Args:
            authorization: instead of what `secrets` would say.
        """
        own = _secret_fields(method, url, fields, secrets, authorization)
        return self._build(method, url, own, fields, _NO_FIELDS, source, routes)

    def _remember(self, memory: dict[K, PreparedRequest], key: K, prepared: PreparedRequest) -> None:
        with self._lock:
            if key not in memory:
                # Two threads may have made it at once.
                self._count += 1
            memory[key] = prepared
            if self._count <= limits.MAX_PREPARED_REQUESTS:
                return
            # The oldest of the same kind goes; a kind that is alone with its newest gives way to the others.
            if len(memory) > 1:
                del memory[next(iter(memory))]
                self._count -= 1
                return
            self._with_headers.clear()
            for urls in self.by_method.values():
                urls.clear()
            # A program's own methods must not accumulate either; who finds GET's dictionary keeps it.
            self.by_method = {"GET": self.by_method["GET"]}
            self._count = 0

    def _make(
        self,
        method: str,
        url: str,
        params: Params | None,
        headers: Headers | None,
        secrets: Secrets | None,
        source: BodySource | None,
        content_type: str | None,
        routes: Routes | None,
        target: str | None = None,
    ) -> PreparedRequest:
        if not isinstance(method, str):
            raise InvalidHeader(f"method: a {type(method).__name__} was given; give a str such as 'GET'")
        parsed = Url(url, params)
        if target is not None:
            parsed.aim(target)
        given = HeaderList(_pairs(headers)) if headers is not None else _NO_FIELDS
        if secrets is None:
            own = _url_authorization(parsed, given)
        else:
            own = _secret_fields(method, parsed, given, secrets, None)
            if self._defaults.count(b"cookie"):
                # The configuration's cookies are meant as they stand.
                own = [field for field in own if field[0] != b"Cookie"]
        names = {name.lower() for name, _ in given.raw}
        fields: list[tuple[bytes, bytes]] = []
        if content_type is not None and b"content-type" not in names:
            fields.append((b"Content-Type", content_type.encode("ascii")))
        if b"range" in names and b"accept-encoding" not in names and self._defaults.count(b"accept-encoding"):
            # A part of a coded representation cannot be decoded.
            fields.append((b"Accept-Encoding", b"identity"))
        # What this request says in any way replaces the default field of that name.
        names.update(name.lower() for name, _ in (*own, *fields))
        fields += [field for field in self._defaults.raw if field[0].lower() not in names]
        fields += [field for field in given.raw if field[0].lower() not in (b"content-length", b"transfer-encoding")]
        kept = HeaderList.of_valid(fields, [name.lower() for name, _ in fields])
        return self._build(method, parsed, own, kept, given, source, routes)

    def _build(
        self,
        method: str,
        url: Url,
        own: list[tuple[bytes, bytes]],
        fields: HeaderList,
        given: HeaderList,
        source: BodySource | None,
        routes: Routes | None,
    ) -> PreparedRequest:
        """Put a head together: Host, what is this request's alone, its fields, and what frames the body."""
        host = () if fields.count(b"host") else ((b"Host", url.authority.encode("ascii")),)
        routes = self.routes if routes is None else routes
        key = routes.key(url.key)
        target = url.target
        if key.forwarded:
            target = url.full
            authorization = key.hops[-1].authorization
            if authorization is not None and not fields.count(b"proxy-authorization"):
                own.append((b"Proxy-Authorization", authorization))
        elif fields.count(b"proxy-authorization"):
            raise InvalidHeader(
                "headers: 'Proxy-Authorization' would go to the origin; give user and password in the proxy's URL"
            )
        head = request_head(method, target, (*host, *own, *fields.raw, *_framing_fields(method, given, source)))
        expect = (fields.get("expect") or "").lower() == "100-continue" and source is not None
        if self._secure is not None:
            if key.scheme == "https":
                (self._secure.of_upgrades() if key.upgrades else self._secure).prepare()
            for hop in key.hops:
                if hop.scheme == "https":
                    self._secure.of_proxy(hop).prepare()
        return PreparedRequest(method, url, self._pool.origin(key), head, fields, expect_continue=expect)


def _url_authorization(url: Url, given: HeaderList) -> list[tuple[bytes, bytes]]:
    """The field for the credentials of the URL itself, if it has some and the request has no such field."""
    if url.credentials is None or given.count(b"authorization"):
        return []
    return [(b"Authorization", basic_value(*url.credentials).encode("ascii"))]


def _secret_fields(
    method: str, url: Url, given: HeaderList, secrets: Secrets, authorization: str | None
) -> list[tuple[bytes, bytes]]:
    """The fields that only `secrets` knows, or the URL; none that the request has as headers."""
    own: list[tuple[bytes, bytes]] = []
    if not given.count(b"authorization"):
        if authorization is None:
            authorization = secrets.authorization(method, url)
        own = [(b"Authorization", authorization.encode("latin-1"))] if authorization else _url_authorization(url, given)
    cookie = None if given.count(b"cookie") else secrets.cookie(url)
    if cookie is not None:
        own.append((b"Cookie", cookie.encode("latin-1")))
    return own


_preparers: Final = renewed_in_child(Preparer.renew_lock)


def _pairs_of(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Headers as a key that equal ones have in common, where they can be one."""
    if type(headers) is list:
        # What middleware leaves: no question to an abstract class.
        return tuple(headers)
    fields = _pairs(headers)
    return tuple(fields.items() if isinstance(fields, (Mapping, HeaderList)) else fields)


def framing_lines(source: BodySource) -> bytes:
    """What ends the head of a request with this body."""
    if source.length >= 0:
        return b"Content-Length: %d\r\n\r\n" % source.length
    return b"Transfer-Encoding: chunked\r\n\r\n"


def _pairs(headers: Headers) -> HeaderItems:
    """Header arguments as HeaderList takes them, refused by name where they are not headers at all."""
    if isinstance(headers, (str, bytes)) or not isinstance(headers, (Mapping, Iterable)):
        raise InvalidHeader("headers: give a mapping, or pairs of name and value")
    return headers


def _framing_fields(method: str, given: HeaderList, source: BodySource | None) -> list[tuple[bytes, bytes]]:
    """Content-Length or Transfer-Encoding; the caller's own Content-Length is kept if it can be true."""
    if "transfer-encoding" in given:
        raise InvalidHeader("headers: 'Transfer-Encoding' is set by the body itself; leave it out")
    announced = given.get("content-length")
    if source is None:
        if announced is not None and announced != "0":
            raise InvalidHeader("headers: 'Content-Length' without a body; leave it out")
        return [(b"Content-Length", b"0")] if method in _BODY_METHODS else []
    if announced is not None:
        if not (announced.isascii() and announced.isdigit() and len(announced) <= limits.MAX_CONTENT_LENGTH_DIGITS):
            raise InvalidHeader("headers: 'Content-Length' must be one decimal number")
        if source.length < 0:
            source.announce(int(announced))
        elif source.length != int(announced):
            raise InvalidHeader(
                f"headers: 'Content-Length' says {announced}, the body has {source.length}; leave it out"
            )
    if source.length >= 0:
        return [(b"Content-Length", b"%d" % source.length)]
    return [(b"Transfer-Encoding", b"chunked")]


def request_body(
    content: object,
    data: object,
    json: object,
    files: object = None,
    progress: object = None,
    *,
    buffers: BufferPool,
    serializer: Serializer | None = None,
) -> tuple[BodySource | None, str | None]:
    """The source and content type that `content=`, `data=`, `json=` and `files=` ask for.

    Args:
        content, data, json, files, progress: as in `Client.request`.
        buffers: lends the memory of bodies that are written or read for this; `release()` gives it back.
        serializer: writes `json`; None: the standard library's.

    Raises:
        InvalidOption: arguments that exclude each other, or one that cannot be sent.
        LimitError: `json` is longer than MAX_SERIALIZED_BYTES.
    """
    # Empty files are none, as everywhere.
    files = files or None
    if sum(argument is not None for argument in (content, json, data if files is None else files)) > 1:
        raise InvalidOption("content, data, json, files: give only one of them, or a form by data and files")
    if progress is not None and not callable(progress):
        raise InvalidOption(f"progress: a {type(progress).__name__} was given; give a function of two numbers, or None")
    content_type = None
    if json is not None:
        if serializer is None:
            serializer = _JSON
        source: BodySource | None = _serialized(json, serializer, buffers)
        content_type = serializer.content_type
    elif files is not None:
        form = _form(data, files)
        source = form.source(buffers)
        content_type = form.content_type
    elif isinstance(data, (Mapping, list, tuple)):
        source = BufferSource(urlencoded(data))
        content_type = FORM_TYPE
    elif data is not None:
        source = body_source(data, buffers, "data")
    else:
        source = body_source(content, buffers)
    if progress is not None:
        if source is None:
            raise InvalidOption("progress: it is told of the request's body, and there is none; leave it out")
        source.progress = progress
    return source, content_type


def _serialized(value: object, serializer: Serializer, buffers: BufferPool) -> WriterSource:
    writer = BufferWriter(buffers, max_bytes=limits.MAX_SERIALIZED_BYTES)
    try:
        serializer.serialize_into(value, writer)
        return WriterSource(writer)
    except LimitError:
        writer.release()
        raise
    except Exception as error:
        writer.release()
        raise InvalidOption(f"json: it cannot be written as {serializer.content_type}: {error}") from error
    except BaseException:
        writer.release()
        raise


def _form(data: object, files: object) -> MultipartForm:
    if not isinstance(files, MultipartForm):
        return MultipartForm(data, files)
    if data is not None:
        raise InvalidOption("data: the form that was given as files has fields of its own; leave it out")
    return files
