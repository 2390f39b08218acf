"""A body of the task's size into a buffer of 1 MB that is used again: one GET after the other on one connection."""

from __future__ import annotations

from typing import Any

import libraries
from task import Contestant, Run, Task, repeated

BUFFER_BYTES = 1_000_000


def path_of(task: Task) -> str:
    return f"/{task.size}"


def bare(task: Task) -> Run:
    """send and recv_into, and nothing else: the floor"""
    connection = libraries.bare_socket(task)
    request, view = task.request(path_of(task)), memoryview(bytearray(BUFFER_BYTES))
    send, receive_into = connection.send, connection.recv_into

    def step() -> int:
        send(request)
        count = receive_into(view)
        # In one piece as a rule; the body may follow it, or be in it.
        done = count - bytes(view[:count]).index(b"\r\n\r\n") - 4
        while done < task.size:
            done += receive_into(view)
        return done

    return repeated(step, task.size)


def turbosock_stream(task: Task) -> Run:
    """Client.stream() and readinto()"""
    stream, url = libraries.turbosock_client(task).stream, task.url(path_of(task))
    view = memoryview(bytearray(BUFFER_BYTES))

    def step() -> int:
        done = 0
        with stream("GET", url) as response:
            while count := response.readinto(view):
                done += count
        return done

    return repeated(step, task.size)


def pycurl_perform(task: Task) -> Run:
    """One easy handle with libcurl's largest buffer, each part copied into place"""
    import pycurl

    handle: Any = libraries.curl(task, path_of(task))
    view, done = memoryview(bytearray(BUFFER_BYTES)), 0

    def write(part: bytes) -> None:
        nonlocal done
        view[: len(part)] = part
        done += len(part)

    handle.setopt(pycurl.BUFFERSIZE, 512 * 1024)
    handle.setopt(pycurl.WRITEFUNCTION, write)

    def step() -> int:
        nonlocal done
        done = 0
        handle.perform()
        return done

    return repeated(step, task.size)


def http_client(task: Task) -> Run:
    """CPython's own client, readinto()"""
    connection, path = libraries.http_connection(task), path_of(task)
    view = memoryview(bytearray(BUFFER_BYTES))

    def step() -> int:
        connection.request("GET", path)
        response, done = connection.getresponse(), 0
        while count := response.readinto(view):
            done += count
        return done

    return repeated(step, task.size)


CONTESTANTS: dict[str, Contestant] = {
    "bare": bare,
    "turbosock stream": turbosock_stream,
    "pycurl": pycurl_perform,
    "http.client": http_client,
}
