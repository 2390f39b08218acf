"""TurbosockPool: what requests takes for one of urllib3's connection pools, of which it calls `urlopen`.

One request is sent by turbosock; what urllib3's Retry says of its outcome is done here, as urllib3 does it: another
attempt, a pause, or the error that ends them. Redirects are requests' own.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from urllib3 import exceptions
from urllib3.util.request import set_file_position
from urllib3.util.retry import Retry
from urllib3.util.timeout import Timeout

from turbosock import limits
from turbosock.client.client import Client
from turbosock.config import Timeouts
from turbosock.errors import TurbosockError
from turbosock.integrations.clients import ClientSet
from turbosock.integrations.uploads import upload
from turbosock.integrations.urllib3_errors import urllib3_error
from turbosock.integrations.urllib3_response import Urllib3Response
from turbosock.proxy_config import Proxy

if TYPE_CHECKING:
    from turbosock.client.response import Response

# What urllib3 asks its Retry about; the rest is raised at once.
_RETRIED: Final = (exceptions.TimeoutError, exceptions.ProtocolError, exceptions.SSLError, exceptions.ProxyError)
_NOT_OURS: Final = ("transfer-encoding", "proxy-authorization")


class TurbosockPool:
    """The way to one URL.

    Args:
        clients, client: the latter, of the former, sends the request.
        url: whole, without user information.
        proxy: on the way, or None.

    Attributes:
        cert_reqs, ca_certs, ca_cert_dir, cert_file, key_file: what requests says of TLS; the client knows it already.
    """

    # No others: a setting that an adapter's subclass makes here must not be lost silently.
    __slots__ = (
        "_client",
        "_clients",
        "_proxy",
        "_url",
        "ca_cert_dir",
        "ca_certs",
        "cert_file",
        "cert_reqs",
        "key_file",
    )

    def __init__(self, clients: ClientSet, client: Client, url: str, proxy: Proxy | None) -> None:
        self._clients = clients
        self._client = client
        self._url = url
        self._proxy = proxy
        self.cert_reqs = ""

    def urlopen(
        self,
        method: str,
        url: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        retries: Retry | bool | int | None = None,
        timeout: Timeout | float | None = None,
        decode_content: bool = True,
        **_: Any,
    ) -> Urllib3Response:
        """Send a request, and return once the head of its answer is there.

        Args:
            url: as it is said to the server or proxy, for errors.
            method, body, headers, retries, timeout, decode_content: as of urllib3's.

        Raises:
            urllib3.exceptions.HTTPError: as urllib3's.
        """
        if self.cert_reqs == "CERT_NONE" and self._url[:6].lower() == "https:":
            warnings.warn(
                f"{self!r}: nobody verifies who answers; give verify= the authorities to trust",
                exceptions.InsecureRequestWarning,
                stacklevel=2,
            )
        retries = Retry.from_int(retries)
        fields = self._fields(headers or {})
        timeouts = timeouts_of(timeout)
        content, position = None, None
        while True:
            if body is not None:
                # A file is sent from where it was given, again too.
                position = set_file_position(body, position)
                content = upload(body)
            try:
                response = self._client.forward(method, self._url, fields, content, timeouts, proxy=self._proxy)
            except TurbosockError as error:
                failure = urllib3_error(error, self, url)  # type: ignore[arg-type]  # they only name it
                if not isinstance(failure, _RETRIED):
                    raise failure from error
                retries = retries.increment(
                    method, url, error=failure, _pool=self, _stacktrace=error.__traceback__  # type: ignore[arg-type]  # as above
                )  # fmt: skip
                retries.sleep()
                continue
            raw = Urllib3Response(response, self, url, decode_content=decode_content, retries=retries)
            again = self._after(raw, method, url, retries)
            if again is None:
                return raw
            retries = again

    def _after(self, raw: Urllib3Response, method: str, url: str, retries: Retry) -> Retry | None:
        """What is left of `retries` where the request is to be sent again, now; None: the answer stands."""
        if not retries.is_retry(method, raw.status, "Retry-After" in raw.headers):
            return None
        try:
            retries = retries.increment(method, url, response=raw, _pool=self)  # type: ignore[arg-type]  # as in urlopen
        except exceptions.MaxRetryError:
            if retries.raise_on_status:
                raw.drain_conn()
                raise
            return None
        raw.drain_conn()
        retries.sleep(raw)
        return retries

    def _fields(self, headers: Mapping[str, str]) -> list[tuple[str, str]]:
        fields = list(headers.items())
        for name, _ in fields:
            if name.lower() in _NOT_OURS:
                return self._own_fields(fields)
        return fields

    def _own_fields(self, fields: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those that are sent from here: chunks are framed by turbosock, and what is for a proxy goes to no origin."""
        forwarded = self._proxy is not None and self._proxy.speaks_http and self._url[:5].lower() == "http:"
        return [
            (name, value)
            for name, value in fields
            if not (
                (name.lower() == "transfer-encoding" and value.strip().lower() == "chunked")
                or (name.lower() == "proxy-authorization" and not forwarded)
            )
        ]

    def abandon(self, response: Response) -> None:
        """The response was dropped with its connection, which is closed later and elsewhere; for finalizers."""
        connection, response.connection = response.connection, None
        assert connection is not None, "asked for a response that has one"
        self._client.connections.abandon(connection)

    def leave(self) -> None:
        """The response has ended."""
        self._clients.leave()

    def __repr__(self) -> str:
        return f"<TurbosockPool {self._url.partition('#')[0].partition('?')[0]}>"


def timeouts_of(timeout: Timeout | float | None) -> Timeouts:
    """What urllib3's timeout means here; None of it is a year, the longest that turbosock waits."""
    if not isinstance(timeout, Timeout):
        timeout = Timeout.from_float(timeout)
    # What is left for reading is counted by turbosock's own deadline.
    return _timeouts(_seconds(timeout.connect_timeout), _seconds(timeout._read), _seconds(timeout.total))


def _seconds(value: object) -> float | None:
    return value if isinstance(value, (int, float)) else None


@lru_cache(maxsize=64)
def _timeouts(connect_s: float | None, read_s: float | None, total_s: float | None) -> Timeouts:
    longest_s = limits.MAX_TIMEOUT_S
    connect_s = min(longest_s if connect_s is None else connect_s, longest_s)
    read_s = min(longest_s if read_s is None else read_s, longest_s)
    return Timeouts(
        connect_s=connect_s,
        handshake_s=connect_s,
        read_s=read_s,
        write_s=read_s,
        pool_s=longest_s,
        total_s=None if total_s is None else min(total_s, longest_s),
    )
