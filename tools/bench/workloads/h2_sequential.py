"""One request after the other on one HTTP/2 connection over TLS; the answer has 100 bytes.

"get" wants owned bytes of the body, "stream" puts them into a buffer of the caller.
"""

from __future__ import annotations

import libraries
from task import Contestant, Run, Task, repeated
from workloads.http1_sequential import PATH, get_contents, perform_handle, read_streams


def turbosock_get(task: Task) -> Run:
    """Client.get().content"""
    return get_contents(libraries.turbosock_client(task, http_versions=libraries.HTTP2_ALONE), task)


def turbosock_stream(task: Task) -> Run:
    """Client.stream() and readinto()"""
    return read_streams(libraries.turbosock_client(task, http_versions=libraries.HTTP2_ALONE), task)


def pycurl_perform(task: Task) -> Run:
    """One easy handle, the body appended to a list, joined into bytes."""
    handle = libraries.curl_http2(task, PATH)
    run = perform_handle(handle)
    libraries.check_curl_http2(handle)
    return run


def httpx2_get(task: Task) -> Run:
    """Client.get().content"""
    client, url = libraries.httpx2_client(task), task.url(PATH)
    return repeated(lambda: len(client.get(url).content))


CONTESTANTS: dict[str, Contestant] = {
    "turbosock get": turbosock_get,
    "turbosock stream": turbosock_stream,
    "pycurl": pycurl_perform,
    "httpx2": httpx2_get,
}
