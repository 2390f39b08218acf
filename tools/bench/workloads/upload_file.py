"""1 GB from a file to a server that throws it away, over plain TCP. The file is sparse: no disk is measured."""

from __future__ import annotations

import http.client
import socket
import tempfile
from typing import BinaryIO

from task import FILE_BYTES, Contestant, Run, Task, repeated

PATH = "/"
ACCEPTED = 204


def opened() -> BinaryIO:
    """The file, which is gone when it is closed."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it is used for as long as the process runs
    file.truncate(FILE_BYTES)
    return file  # type: ignore[return-value]  # a binary file, whatever its class


def bare(task: Task) -> Run:
    """socket.sendfile, and nothing else: the floor."""
    connection, file = socket.create_connection((task.host, task.port)), opened()
    head = f"PUT {PATH} HTTP/1.1\r\nHost: {task.host}\r\nContent-Length: {FILE_BYTES}\r\n\r\n".encode()

    def step() -> int:
        connection.sendall(head)
        connection.sendfile(file, 0, FILE_BYTES)
        answer = connection.recv(65536)
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(65536)
        return int(answer[9:12])

    return repeated(step, ACCEPTED)


def turbosock_put(task: Task) -> Run:
    """Client.put(content=file)"""
    import turbosock

    client, url, file = turbosock.Client(), task.url(PATH), opened()

    def step() -> int:
        file.seek(0)
        return client.put(url, content=file).status_code

    return repeated(step, ACCEPTED)


def turbosock_loop(task: Task) -> Run:
    """Loop.put(content=file), polled until it is done"""
    import turbosock

    loop, url, file = turbosock.Loop(), task.url(PATH), opened()

    def step() -> int:
        file.seek(0)
        exchange = loop.put(url, content=file, notify=False)
        while not exchange.done:
            loop.poll(1.0)
        return exchange.status_code

    return repeated(step, ACCEPTED)


def pycurl_perform(task: Task) -> Run:
    """One easy handle with libcurl's largest buffer, which reads the file itself."""
    import pycurl

    file = opened()
    handle = pycurl.Curl()
    handle.setopt(pycurl.URL, task.url(PATH))
    handle.setopt(pycurl.UPLOAD, 1)
    handle.setopt(pycurl.UPLOAD_BUFFERSIZE, 2 * 1024 * 1024)
    handle.setopt(pycurl.INFILESIZE_LARGE, FILE_BYTES)
    handle.setopt(pycurl.READFUNCTION, file.read)
    handle.setopt(pycurl.WRITEFUNCTION, len)
    handle.setopt(pycurl.HTTPHEADER, ["Expect:"])

    def step() -> int:
        file.seek(0)
        handle.perform()
        return int(handle.getinfo(pycurl.RESPONSE_CODE))

    return repeated(step, ACCEPTED)


def http_client(task: Task) -> Run:
    """CPython's own client, with blocks as large as ours."""
    connection, file = http.client.HTTPConnection(task.host, task.port, blocksize=512 * 1024), opened()

    def step() -> int:
        file.seek(0)
        connection.request("PUT", PATH, file, {"Content-Length": str(FILE_BYTES)})
        response = connection.getresponse()
        response.read()
        return response.status

    return repeated(step, ACCEPTED)


def requests_put(task: Task) -> Run:
    """Session.put(data=file)"""
    import requests

    session, url, file = requests.Session(), task.url(PATH), opened()

    def step() -> int:
        file.seek(0)
        status: int = session.put(url, data=file).status_code
        return status

    return repeated(step, ACCEPTED)


def httpx_put(task: Task) -> Run:
    """httpx.Client.put(content=file)"""
    import httpx

    client, url, file = httpx.Client(), task.url(PATH), opened()

    def step() -> int:
        file.seek(0)
        return client.put(url, content=file, headers={"Content-Length": str(FILE_BYTES)}).status_code

    return repeated(step, ACCEPTED)


CONTESTANTS: dict[str, Contestant] = {
    "bare": bare,
    "turbosock put": turbosock_put,
    "turbosock loop": turbosock_loop,
    "pycurl": pycurl_perform,
    "http.client": http_client,
    "requests": requests_put,
    "httpx": httpx_put,
}
