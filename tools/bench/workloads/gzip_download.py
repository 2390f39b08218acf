"""100 MB of content that come as gzip, against the bare zlib on the same bytes from memory."""

from __future__ import annotations

import http.client
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import libraries
from task import BIG_BYTES, Task

PATH = "/coded"
# What decoding is handed at once, and read into.
BLOCK_BYTES = 256 * 1024


def resident(name: str) -> int:
    """VmRSS or VmHWM, the most that it ever was, in bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def measured(step: Callable[[], int], warm_up: Callable[[], object] | None = None) -> dict[str, float]:
    """Seconds of a call that gives BIG_BYTES, and the most memory above what there was before.

    What is made once (libraries, connections, pools) is there after `warm_up`, or after a first call.
    """
    (warm_up or step)()
    # 5 sets VmHWM back to what it is now.
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    start = time.perf_counter()
    got = step()
    seconds = time.perf_counter() - start
    if got != BIG_BYTES:
        raise RuntimeError(f"{got} bytes of content came, not {BIG_BYTES}")
    return {"seconds": seconds, "peak": resident("VmHWM") - before}


def bare(task: Task) -> dict[str, float]:
    """zlib.decompressobj() on pieces of memory."""
    connection = http.client.HTTPConnection(task.host, task.port)
    connection.request("GET", PATH)
    coded = memoryview(connection.getresponse().read())
    connection.close()

    def step() -> int:
        decoder = zlib.decompressobj(31)
        done = 0
        for start in range(0, len(coded), BLOCK_BYTES):
            done += len(decoder.decompress(coded[start : start + BLOCK_BYTES]))
        return done + len(decoder.flush())

    return measured(step)


def turbosock_stream(task: Task) -> dict[str, float]:
    """Client.stream() and readinto()"""
    client, url, view = libraries.turbosock_client(task), task.url(PATH), memoryview(bytearray(BLOCK_BYTES))

    def step() -> int:
        done = 0
        with client.stream("GET", url) as response:
            while count := response.readinto(view):
                done += count
        return done

    return measured(step)


def turbosock_plain(task: Task) -> dict[str, float]:
    """The same by the interpreter's own zlib, whatever else is installed"""
    from turbosock.protocol.content import libraries as codings
    from turbosock.protocol.content import registry

    registry.inflate_library = codings.zlib_itself  # type: ignore[assignment]  # for this process, which ends with it
    return turbosock_stream(task)


def turbosock_loop(task: Task) -> dict[str, float]:
    """Loop.request(stream=True) and its DATA events"""
    loop, url = libraries.turbosock_loop(task), task.url(PATH)

    def step() -> int:
        exchange, done = loop.request("GET", url, stream=True), 0
        while not exchange.done or len(loop.events):
            loop.poll(1.0)
            for event in loop.events:
                if event.data is not None:
                    done += len(event.data)
        return done

    return measured(step)


def urllib3_stream(task: Task) -> dict[str, float]:
    """urllib3's stream(), decoded"""
    import urllib3

    pool = urllib3.PoolManager()

    def step() -> int:
        response = pool.request("GET", task.url(PATH), preload_content=False, headers={"Accept-Encoding": "gzip"})
        return sum(len(piece) for piece in response.stream(BLOCK_BYTES, decode_content=True))

    return measured(step)


def pycurl_perform(task: Task) -> dict[str, float]:
    """libcurl, which decodes"""
    import pycurl

    done = 0

    def write(part: bytes) -> None:
        nonlocal done
        done += len(part)

    handle = libraries.curl(task, PATH)
    handle.setopt(pycurl.ACCEPT_ENCODING, "gzip")
    handle.setopt(pycurl.WRITEFUNCTION, write)

    def step() -> int:
        nonlocal done
        done = 0
        handle.perform()
        return done

    return measured(step)


REPORTS = {
    "zlib": bare,
    "turbosock stream": turbosock_stream,
    "turbosock stream, zlib": turbosock_plain,
    "turbosock loop": turbosock_loop,
    "pycurl": pycurl_perform,
    "urllib3": urllib3_stream,
}
