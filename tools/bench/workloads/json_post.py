"""A 2 KB object, POSTed as JSON and answered with 204, one after the other."""

from __future__ import annotations

import http.client
import json
from typing import Any

from task import Contestant, Run, Task, repeated

PATH = "/discard"
ACCEPTED = 204

# As large as an order or a game's state: 2 KB of compact JSON.
VALUE: dict[str, Any] = {
    "id": 123456789,
    "name": "Ada Lovelace",
    "active": True,
    "tags": ["north", "harbour", "evening"],
    "positions": [{"x": 1.5 * n, "y": -0.25 * n, "z": 0.0, "label": f"point {n}"} for n in range(38)],
}


def bare(task: Task) -> Run:
    """json.dumps and sendall: the floor for who encodes with the standard library."""
    from libraries import bare_socket

    connection, answer = bare_socket(task), bytearray(65536)
    head = f"POST {PATH} HTTP/1.1\r\nHost: {task.host}\r\nContent-Type: application/json\r\nContent-Length: "

    def step() -> int:
        body = json.dumps(VALUE, separators=(",", ":")).encode()
        connection.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body)
        count = connection.recv_into(answer)
        while b"\r\n\r\n" not in answer[:count]:
            count += connection.recv_into(memoryview(answer)[count:])
        return int(answer[9:12])

    return repeated(step, ACCEPTED)


def turbosock_post(task: Task, serializer: Any) -> Run:
    """Client.post(json=) by a serializer"""
    import turbosock

    client, url = turbosock.Client(turbosock.Config(serializer=serializer)), task.url(PATH)

    def step() -> int:
        return client.post(url, json=VALUE).status_code

    return repeated(step, ACCEPTED)


def turbosock_msgspec(task: Task) -> Run:
    """By msgspec."""
    import msgspec  # noqa: F401 - where it is missing, so is the contestant

    import turbosock

    return turbosock_post(task, turbosock.MsgspecSerializer())


def turbosock_json(task: Task) -> Run:
    """By the standard library's json."""
    return turbosock_post(task, None)


def pycurl_post(task: Task) -> Run:
    """One easy handle and json.dumps."""
    import pycurl

    handle = pycurl.Curl()
    handle.setopt(pycurl.URL, task.url(PATH))
    handle.setopt(pycurl.WRITEFUNCTION, len)
    handle.setopt(pycurl.HTTPHEADER, ["Content-Type: application/json", "Expect:"])

    def step() -> int:
        handle.setopt(pycurl.POSTFIELDS, json.dumps(VALUE, separators=(",", ":")))
        handle.perform()
        return int(handle.getinfo(pycurl.RESPONSE_CODE))

    return repeated(step, ACCEPTED)


def http_client(task: Task) -> Run:
    """CPython's own client and json.dumps."""
    connection = http.client.HTTPConnection(task.host, task.port)

    def step() -> int:
        body = json.dumps(VALUE, separators=(",", ":")).encode()
        connection.request("POST", PATH, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        return response.status

    return repeated(step, ACCEPTED)


def requests_post(task: Task) -> Run:
    """Session.post(json=)"""
    import requests

    session, url = requests.Session(), task.url(PATH)

    def step() -> int:
        status: int = session.post(url, json=VALUE).status_code
        return status

    return repeated(step, ACCEPTED)


def httpx_post(task: Task) -> Run:
    """httpx.Client.post(json=)"""
    import httpx

    client, url = httpx.Client(), task.url(PATH)

    def step() -> int:
        return client.post(url, json=VALUE).status_code

    return repeated(step, ACCEPTED)


CONTESTANTS: dict[str, Contestant] = {
    "bare": bare,
    "turbosock msgspec": turbosock_msgspec,
    "turbosock json": turbosock_json,
    "pycurl": pycurl_post,
    "http.client": http_client,
    "requests": requests_post,
    "httpx": httpx_post,
}
