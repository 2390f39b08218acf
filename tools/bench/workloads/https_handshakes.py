"""A new TLS connection for each request, with and without resuming the session of the one before.

The server's answer says whether it resumed; a contestant that does other than its name says is refused.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable

import libraries
from task import Contestant, Run, Task, repeated

PATH = "/session"
RESUMED, FULL = b"r", b"."


def checked(fetch: Callable[[], bytes], *, resume: bool) -> Run:
    """A run of `fetch`, which returns the body; its second connection is held against `resume`."""
    fetch()
    expected = RESUMED if resume else FULL
    said = fetch()[:1]
    if said != expected:
        raise RuntimeError(f"the server says {said!r} of the second connection's session, not {expected!r}")
    return repeated(lambda: len(fetch()))


def bare(task: Task, *, resume: bool) -> Run:
    """connect, SSLSocket, send, recv_into and close: the floor. The newest session is the one that is resumed."""
    context, address, request = libraries.ssl_context(task), (task.host, task.port), task.request(PATH)
    buffer, session = bytearray(65536), None

    def fetch() -> bytes:
        nonlocal session
        plain = socket.create_connection(address)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = context.wrap_socket(plain, server_hostname=task.host, session=session)
        connection.send(request)
        count = connection.recv_into(buffer)
        if resume:
            session = connection.session
        connection.close()
        return bytes(buffer[buffer.index(b"\r\n\r\n") + 4 : count])

    return checked(fetch, resume=resume)


def turbosock_get(task: Task, *, resume: bool) -> Run:
    """Client.get().content of a Client that keeps no connection"""
    from turbosock.config import PoolConfig

    client = libraries.turbosock_client(task, resume=resume, pool=PoolConfig(max_idle=0))
    get, url = client.get, task.url(PATH)
    return checked(lambda: get(url).content, resume=resume)


def pycurl_perform(task: Task, *, resume: bool) -> Run:
    """One easy handle, a fresh connection each time, with or without its cache of sessions."""
    import pycurl

    handle, parts = libraries.curl(task, PATH), list[bytes]()
    handle.setopt(pycurl.FRESH_CONNECT, 1)
    handle.setopt(pycurl.FORBID_REUSE, 1)
    handle.setopt(pycurl.SSL_SESSIONID_CACHE, int(resume))
    handle.setopt(pycurl.WRITEFUNCTION, parts.append)

    def fetch() -> bytes:
        parts.clear()
        handle.perform()
        return b"".join(parts)

    return checked(fetch, resume=resume)


CONTESTANTS: dict[str, Contestant] = {
    f"{name}, {word}": functools.partial(contestant, resume=resume)
    for word, resume in (("resumed", True), ("full", False))
    for name, contestant in (("bare", bare), ("turbosock", turbosock_get), ("pycurl", pycurl_perform))
}
