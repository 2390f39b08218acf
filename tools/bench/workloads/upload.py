"""100 MB from memory to a server that throws it away."""

from __future__ import annotations

import http.client
import io
import socket

from task import BIG_BYTES, Contestant, Run, Task, repeated

PATH = "/discard"
ACCEPTED = 204


def bare(task: Task) -> Run:
    """sendall, and nothing else: the floor."""
    connection = socket.create_connection((task.host, task.port))
    head = f"PUT {PATH} HTTP/1.1\r\nHost: {task.host}\r\nContent-Length: {BIG_BYTES}\r\n\r\n".encode()
    body, answer = memoryview(bytes(BIG_BYTES)), bytearray(65536)

    def step() -> int:
        connection.sendall(head)
        connection.sendall(body)
        count = connection.recv_into(answer)
        while b"\r\n\r\n" not in answer[:count]:
            count += connection.recv_into(memoryview(answer)[count:])
        return int(answer[9:12])

    return repeated(step, ACCEPTED)


def turbosock_put(task: Task) -> Run:
    """Client.put(content=)"""
    import turbosock

    client, url, body = turbosock.Client(), task.url(PATH), bytes(BIG_BYTES)

    def step() -> int:
        response = client.put(url, content=body)
        status: int = response.status_code
        response.close()
        return status

    return repeated(step, ACCEPTED)


def pycurl_perform(task: Task) -> Run:
    """One easy handle with libcurl's largest buffer, reading from a BytesIO."""
    import pycurl

    source = io.BytesIO(bytes(BIG_BYTES))
    handle = pycurl.Curl()
    handle.setopt(pycurl.URL, task.url(PATH))
    handle.setopt(pycurl.UPLOAD, 1)
    handle.setopt(pycurl.UPLOAD_BUFFERSIZE, 2 * 1024 * 1024)
    handle.setopt(pycurl.INFILESIZE_LARGE, BIG_BYTES)
    handle.setopt(pycurl.READFUNCTION, source.read)
    handle.setopt(pycurl.WRITEFUNCTION, len)
    handle.setopt(pycurl.HTTPHEADER, ["Expect:"])

    def step() -> int:
        source.seek(0)
        handle.perform()
        return int(handle.getinfo(pycurl.RESPONSE_CODE))

    return repeated(step, ACCEPTED)


def http_client(task: Task) -> Run:
    """CPython's own client."""
    connection = http.client.HTTPConnection(task.host, task.port)
    body = bytes(BIG_BYTES)

    def step() -> int:
        connection.request("PUT", PATH, body)
        response = connection.getresponse()
        response.read()
        return response.status

    return repeated(step, ACCEPTED)


def requests_put(task: Task) -> Run:
    """Session.put(data=)"""
    import requests

    session, url, body = requests.Session(), task.url(PATH), bytes(BIG_BYTES)

    def step() -> int:
        status: int = session.put(url, data=body).status_code
        return status

    return repeated(step, ACCEPTED)


CONTESTANTS: dict[str, Contestant] = {
    "bare": bare,
    "turbosock put": turbosock_put,
    "pycurl": pycurl_perform,
    "http.client": http_client,
    "requests": requests_put,
}
