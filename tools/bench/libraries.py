"""One client of each library for a task: plain, or over TLS where the task names an authority to trust.

Over TLS everybody verifies the server's chain and name against that authority alone. A context is made once, as each
library's documentation advises, and not for every connection.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import TYPE_CHECKING, Any

from task import Task

if TYPE_CHECKING:
    import httpx
    import httpx2
    import requests
    import urllib3

    import turbosock
    from turbosock.config import PoolConfig, TlsProviderMode


def ssl_context(task: Task) -> ssl.SSLContext:
    """The standard library's context, as its documentation says, trusting the task's authority."""
    return ssl.create_default_context(cafile=task.ca_file)


def bare_socket(task: Task) -> socket.socket:
    """A kernel-blocking socket without a timeout, or an SSLSocket on one: nothing waits for less."""
    connection = socket.create_connection((task.host, task.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ssl_context(task).wrap_socket(connection, server_hostname=task.host) if task.ca_file else connection


# A Config's http_versions where nothing but HTTP/2 is to be measured; its pool, where it is to be on one connection.
HTTP2_ALONE = ("HTTP/2",)


def one_connection() -> PoolConfig:
    """A pool that shares one connection."""
    import turbosock

    return turbosock.PoolConfig(max_connections_per_origin=1, max_idle=1)


def tls_settings(task: Task, provider: TlsProviderMode | None = None, *, resume: bool = True) -> dict[str, Any]:
    """What Config is given for TLS; nothing for a plain task."""
    from turbosock.config import TlsConfig, TlsProviderMode

    if not task.ca_file:
        return {}
    mode = provider or TlsProviderMode.SYSTEM_ONLY
    return {"tls": TlsConfig(ca_file=task.ca_file, provider=mode, session_resumption=resume)}


def turbosock_client(
    task: Task,
    provider: TlsProviderMode | None = None,
    *,
    resume: bool = True,
    **more: Any,
) -> turbosock.Client:
    """A Client with its defaults, the settings of TLS and `more` of Config's apart."""
    import turbosock

    return turbosock.Client(turbosock.Config(**tls_settings(task, provider, resume=resume), **more))


def turbosock_loop(task: Task, **more: Any) -> turbosock.Loop:
    """A Loop with its defaults, the settings of TLS and `more` of Config's apart."""
    import turbosock

    return turbosock.Loop(turbosock.Config(**tls_settings(task), **more))


def curl(task: Task, path: str) -> Any:
    """An easy handle that will get `path`."""
    import pycurl

    handle = pycurl.Curl()
    handle.setopt(pycurl.URL, task.url(path))
    if task.ca_file:
        handle.setopt(pycurl.CAINFO, task.ca_file)
    return handle


def curl_http2(task: Task, path: str) -> Any:
    """An easy handle that will get `path` over HTTP/2, and wait for a connection that is being made."""
    import pycurl

    handle = curl(task, path)
    over_tcp = pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE
    handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS if task.ca_file else over_tcp)
    handle.setopt(pycurl.PIPEWAIT, 1)
    return handle


def check_curl_http2(handle: Any) -> None:
    """Raise RuntimeError unless its last request went over HTTP/2."""
    import pycurl

    if handle.getinfo(pycurl.INFO_HTTP_VERSION) != pycurl.CURL_HTTP_VERSION_2_0:
        raise RuntimeError("libcurl did not speak HTTP/2: it may be built without nghttp2")


def http_connection(task: Task) -> http.client.HTTPConnection:
    """CPython's own client."""
    if task.ca_file:
        return http.client.HTTPSConnection(task.host, task.port, context=ssl_context(task))
    return http.client.HTTPConnection(task.host, task.port)


def urllib3_manager(task: Task) -> urllib3.PoolManager:
    """A PoolManager."""
    import urllib3

    return urllib3.PoolManager(ca_certs=task.ca_file) if task.ca_file else urllib3.PoolManager()


def requests_session(task: Task) -> requests.Session:
    """A Session."""
    import requests

    session = requests.Session()
    if task.ca_file:
        session.verify = task.ca_file
    return session


def requests_session_over_turbosock(task: Task) -> requests.Session:
    """A Session with TurbosockAdapter mounted."""
    from turbosock.integrations.requests import TurbosockAdapter

    session = requests_session(task)
    adapter = TurbosockAdapter()
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def httpx_client(task: Task) -> httpx.Client:
    """A Client."""
    import httpx

    return httpx.Client(verify=ssl_context(task)) if task.ca_file else httpx.Client()


def httpx2_settings(task: Task) -> dict[str, Any]:
    """What a client of httpx2 is given to speak HTTP/2, and nothing else, on one connection."""
    import httpx2

    limits = httpx2.Limits(max_connections=1, max_keepalive_connections=1)
    settings = {"http1": False, "http2": True, "limits": limits}
    return {**settings, "verify": ssl_context(task)} if task.ca_file else settings


def httpx2_client(task: Task) -> httpx2.Client:
    """A Client."""
    import httpx2

    return httpx2.Client(**httpx2_settings(task))
