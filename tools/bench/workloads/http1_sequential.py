"""One request after the other on one kept-alive connection; the answer has 100 bytes.

"get" wants owned bytes of the body, "stream" puts them into a buffer of the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libraries
from task import Contestant, Run, Task, repeated

if TYPE_CHECKING:
    import turbosock

PATH = "/fixed"


def empty(task: Task) -> Run:
    """The loop of the harness around a call that does nothing."""

    def step() -> int:
        return 100

    return repeated(step)


def bare(task: Task) -> Run:
    """send and recv_into, and nothing else: the floor."""
    connection = libraries.bare_socket(task)
    request, buffer = task.request(PATH), bytearray(65536)
    send, receive_into = connection.send, connection.recv_into
    send(request)
    length = receive_into(buffer)
    head_bytes = buffer.index(b"\r\n\r\n") + 4

    def step() -> int:
        send(request)
        count = receive_into(buffer)
        while count < length:
            count += receive_into(buffer)
        return count - head_bytes

    return repeated(step)


def turbosock_get(task: Task) -> Run:
    """Client.get().content"""
    return get_contents(libraries.turbosock_client(task), task)


def get_contents(client: turbosock.Client, task: Task) -> Run:
    """A run of get().content on `client`."""
    get, url = client.get, task.url(PATH)

    def step() -> int:
        return len(get(url).content)

    return repeated(step)


def turbosock_stream(task: Task) -> Run:
    """Client.stream() and readinto()"""
    return read_streams(libraries.turbosock_client(task), task)


def read_streams(client: turbosock.Client, task: Task) -> Run:
    """A run of stream() and readinto() on `client`."""
    url, view = task.url(PATH), memoryview(bytearray(65536))
    stream = client.stream

    def step() -> int:
        total = 0
        with stream("GET", url) as response:
            while count := response.readinto(view):
                total += count
        return total

    return repeated(step)


def pycurl_perform(task: Task) -> Run:
    """One easy handle, the body appended to a list, joined into bytes."""
    return perform_handle(libraries.curl(task, PATH))


def perform_handle(handle: Any) -> Run:
    """A run of perform() on an easy handle."""
    import pycurl

    parts = list[bytes]()
    handle.setopt(pycurl.WRITEFUNCTION, parts.append)
    perform = handle.perform

    def step() -> int:
        parts.clear()
        perform()
        return len(b"".join(parts))

    return repeated(step)


def http_client(task: Task) -> Run:
    """CPython's own client."""
    connection = libraries.http_connection(task)

    def step() -> int:
        connection.request("GET", PATH)
        return len(connection.getresponse().read())

    return repeated(step)


def urllib3_request(task: Task) -> Run:
    """PoolManager.request().data"""
    manager, url = libraries.urllib3_manager(task), task.url(PATH)

    def step() -> int:
        return len(manager.request("GET", url).data)

    return repeated(step)


def requests_get(task: Task) -> Run:
    """Session.get().content"""
    session, url = libraries.requests_session(task), task.url(PATH)

    def step() -> int:
        return len(session.get(url).content)

    return repeated(step)


def httpx_get(task: Task) -> Run:
    """Client.get().content"""
    client, url = libraries.httpx_client(task), task.url(PATH)

    def step() -> int:
        return len(client.get(url).content)

    return repeated(step)


CONTESTANTS: dict[str, Contestant] = {
    "bare": bare,
    "turbosock get": turbosock_get,
    "turbosock stream": turbosock_stream,
    "pycurl": pycurl_perform,
    "http.client": http_client,
    "urllib3": urllib3_request,
    "requests": requests_get,
    "httpx": httpx_get,
    "empty": empty,
}
