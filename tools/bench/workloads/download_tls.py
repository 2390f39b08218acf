"""100 MB from the server over TLS into a buffer of the caller."""

from __future__ import annotations

import libraries
from task import BIG_BYTES, Contestant, Run, Task, repeated
from workloads import download
from workloads.download import PATH

HEAD_BYTES = 4096


def bare(task: Task) -> Run:
    """SSLSocket.recv_into, and nothing else: the floor. The head stays in front of the body."""
    connection = libraries.bare_socket(task)
    request, buffer = task.request(PATH), bytearray(HEAD_BYTES + BIG_BYTES)
    view = memoryview(buffer)

    def step() -> int:
        connection.send(request)
        done = connection.recv_into(view)
        head_bytes = buffer.index(b"\r\n\r\n", 0, done) + 4
        length = head_bytes + BIG_BYTES
        while done < length:
            done += connection.recv_into(view[done:])
        return done - head_bytes

    return repeated(step, BIG_BYTES)


CONTESTANTS: dict[str, Contestant] = {**download.CONTESTANTS, "bare": bare}
