"""Module functions: `turbosock.get(…)` and the others of a Client, on one Client that the whole process shares.

It has the settings of `Client(cookies=False)`: connections are kept from call to call, cookies are not, so that two
libraries of one program do not see each other's. Whoever wants other settings, or connections of its own, makes a
Client.

Invariants: nothing is made before the first call, and then one client, whichever threads race for it; in the child of a
fork it starts without its parent's connections, as every Client does. It is closed as the interpreter exits, after the
exit handlers that were registered since turbosock was imported; what is called later still has a new one.
"""

from __future__ import annotations

import atexit
import threading
from typing import Final, Unpack

from turbosock.client.client import Client
from turbosock.client.request_options import ClientOptions
from turbosock.client.response import Response
from turbosock.forks import renewed_in_child


class SharedClient:
    """A Client that is made when it is first asked for."""

    __slots__ = ("__weakref__", "_client", "_lock")

    def __init__(self) -> None:
        self._client: Client | None = None
        self.renew_lock()
        _shared.add(self)

    def renew_lock(self) -> None:
        """A lock that nobody holds: at the beginning, and in the child of a fork."""
        self._lock = threading.Lock()

    def client(self) -> Client:
        """The client; from any thread."""
        client = self._client
        if client is None:
            with self._lock:
                client = self._client
                if client is None:
                    client = self._client = Client(cookies=False)
        return client

    def close(self) -> None:
        """Close the client, if there is one; who asks again gets a new one."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()


_shared: Final = renewed_in_child(SharedClient.renew_lock)
_default: Final = SharedClient()
# At import and not at the first call: exit handlers run in the reverse order, and a program's own may want to send.
atexit.register(_default.close)


def request(method: str, url: str, **options: Unpack[ClientOptions]) -> Response:
    """Send a request and read the answer whole, by the shared Client; see `Client.request`."""
    return _default.client().request(method, url, **options)


def stream(method: str, url: str, **options: Unpack[ClientOptions]) -> Response:
    """Send a request and return once the head of the answer is there, by the shared Client; see `Client.stream`."""
    return _default.client().stream(method, url, **options)


def get(url: str, **options: Unpack[ClientOptions]) -> Response:
    """GET by the shared Client; see `Client.request`."""
    return _default.client().get(url, **options)


def head(url: str, **options: Unpack[ClientOptions]) -> Response:
    """HEAD by the shared Client; see `Client.request`."""
    return _default.client().request("HEAD", url, **options)


def options(url: str, **options: Unpack[ClientOptions]) -> Response:
    """OPTIONS by the shared Client; see `Client.request`."""
    return _default.client().request("OPTIONS", url, **options)


def delete(url: str, **options: Unpack[ClientOptions]) -> Response:
    """DELETE by the shared Client; see `Client.request`."""
    return _default.client().request("DELETE", url, **options)


def post(url: str, **options: Unpack[ClientOptions]) -> Response:
    """POST by the shared Client; see `Client.request`."""
    return _default.client().request("POST", url, **options)


def put(url: str, **options: Unpack[ClientOptions]) -> Response:
    """PUT by the shared Client; see `Client.request`."""
    return _default.client().request("PUT", url, **options)


def patch(url: str, **options: Unpack[ClientOptions]) -> Response:
    """PATCH by the shared Client; see `Client.request`."""
    return _default.client().request("PATCH", url, **options)
