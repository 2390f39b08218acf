"""100 MB from the server into a buffer of the caller."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import libraries
from task import BIG_BYTES, Contestant, Run, Task, repeated

if TYPE_CHECKING:
    import turbosock

PATH = "/big"


def bare(task: Task) -> Run:
    """recv_into, and nothing else: the floor."""
    connection = socket.create_connection((task.host, task.port))
    request, view, head = task.request(PATH), memoryview(bytearray(BIG_BYTES)), bytearray(4096)

    def step() -> int:
        connection.send(request)
        count = connection.recv_into(head, 4096, socket.MSG_PEEK)
        head_bytes = head.index(b"\r\n\r\n", 0, count) + 4
        connection.recv_into(head, head_bytes)
        done = 0
        while done < BIG_BYTES:
            done += connection.recv_into(view[done:])
        return done

    return repeated(step, BIG_BYTES)


def turbosock_stream(task: Task) -> Run:
    """Client.stream() and readinto()"""
    return stream_into(libraries.turbosock_client(task), task)


def stream_into(client: turbosock.Client, task: Task) -> Run:
    """A run of stream() and readinto() on `client`."""
    url, view = task.url(PATH), memoryview(bytearray(BIG_BYTES))

    def step() -> int:
        done = 0
        with client.stream("GET", url) as response:
            while done < BIG_BYTES and (count := response.readinto(view[done:])):
                done += count
        return done

    return repeated(step, BIG_BYTES)


def turbosock_loop(task: Task) -> Run:
    """Loop.request(into=) and Loop.poll()"""
    return request_into(libraries.turbosock_loop(task), task)


def request_into(loop: turbosock.Loop, task: Task) -> Run:
    """A run of request(into=) and poll() on `loop`."""
    url, buffer = task.url(PATH), bytearray(BIG_BYTES)

    def step() -> int:
        exchange = loop.request("GET", url, into=buffer)
        while not exchange.done:
            loop.poll(1.0)
            for _ in loop.events:
                pass
        if not exchange.ok:
            raise RuntimeError(f"the request failed: {exchange.error}")
        return exchange.nbytes

    return repeated(step, BIG_BYTES)


def pycurl_perform(task: Task) -> Run:
    """One easy handle with libcurl's largest buffer, each part copied into place."""
    return perform_into(libraries.curl(task, PATH))


def perform_into(handle: Any) -> Run:
    """A run of perform() on an easy handle."""
    import pycurl

    view, done = memoryview(bytearray(BIG_BYTES)), 0

    def write(part: bytes) -> None:
        nonlocal done
        view[done : done + len(part)] = part
        done += len(part)

    handle.setopt(pycurl.BUFFERSIZE, 512 * 1024)
    handle.setopt(pycurl.WRITEFUNCTION, write)

    def step() -> int:
        nonlocal done
        done = 0
        handle.perform()
        return done

    return repeated(step, BIG_BYTES)


def http_client(task: Task) -> Run:
    """CPython's own client, readinto()"""
    connection = libraries.http_connection(task)
    view = memoryview(bytearray(BIG_BYTES))

    def step() -> int:
        connection.request("GET", PATH)
        response, done = connection.getresponse(), 0
        while count := response.readinto(view[done:]):
            done += count
        response.read()
        return done

    return repeated(step, BIG_BYTES)


CONTESTANTS: dict[str, Contestant] = {
    "bare": bare,
    "turbosock stream": turbosock_stream,
    "turbosock loop": turbosock_loop,
    "pycurl": pycurl_perform,
    "http.client": http_client,
}
