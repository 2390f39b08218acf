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
    pool: PoolConfig | None = None,
) -> turbosock.Client:
    """A Client with its defaults, the settings of TLS apart."""
    import turbosock

    settings = tls_settings(task, provider, resume=resume)
    if pool is not None:
        settings["pool"] = pool
    return turbosock.Client(turbosock.Config(**settings))


def turbosock_loop(task: Task) -> turbosock.Loop:
    """A Loop with its defaults, the settings of TLS apart."""
    import turbosock

    return turbosock.Loop(turbosock.Config(**tls_settings(task)))


def curl(task: Task, path: str) -> Any:
    """An easy handle that will get `path`."""
    import pycurl

    handle = pycurl.Curl()
    handle.setopt(pycurl.URL, task.url(path))
    if task.ca_file:
        handle.setopt(pycurl.CAINFO, task.ca_file)
    return handle


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


def httpx_client(task: Task) -> httpx.Client:
    """A Client."""
    import httpx

    return httpx.Client(verify=ssl_context(task)) if task.ca_file else httpx.Client()
