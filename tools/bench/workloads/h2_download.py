"""100 MB from the server over TLS into a buffer of the caller, on one stream of HTTP/2; and by our own HTTP/1.1."""

from __future__ import annotations

import libraries
from task import Contestant, Run, Task
from workloads.download import PATH, perform_into, request_into, stream_into


def turbosock_stream(task: Task) -> Run:
    """Client.stream() and readinto()"""
    return stream_into(libraries.turbosock_client(task, http_versions=libraries.HTTP2_ALONE), task)


def turbosock_loop(task: Task) -> Run:
    """Loop.request(into=) and Loop.poll()"""
    return request_into(libraries.turbosock_loop(task, http_versions=libraries.HTTP2_ALONE), task)


def turbosock_http1(task: Task) -> Run:
    """Client.stream() and readinto(), over HTTP/1.1"""
    return stream_into(libraries.turbosock_client(task, http_versions=("HTTP/1.1",)), task)


def pycurl_perform(task: Task) -> Run:
    """One easy handle with libcurl's largest buffer, each part copied into place."""
    handle = libraries.curl_http2(task, PATH)
    run = perform_into(handle)
    libraries.check_curl_http2(handle)
    return run


CONTESTANTS: dict[str, Contestant] = {
    "turbosock stream": turbosock_stream,
    "turbosock loop": turbosock_loop,
    "turbosock stream, HTTP/1.1": turbosock_http1,
    "pycurl": pycurl_perform,
}
