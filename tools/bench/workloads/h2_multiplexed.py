"""Many requests in flight on one HTTP/2 connection, in one thread: a new one begins as soon as one is answered.

The answers have 100 bytes. The contestants of `http1_concurrent`, which see to it that it is HTTP/2 and one connection.
"""

from __future__ import annotations

import subprocess

import libraries
from task import BODY_BYTES, Contestant, Run, Task, Timed
from workloads.http1_concurrent import PATH, empty, gather_all, parse_seconds, perform_all, request_all


def turbosock_loop(task: Task) -> Run:
    """Loop.request(into=) and Loop.poll()"""
    pool = libraries.one_connection()
    run = request_all(libraries.turbosock_loop(task, pool=pool, http_versions=libraries.HTTP2_ALONE), task)
    # The handshake belongs to no request.
    run(1)
    return run


def pycurl_multi(task: Task) -> Run:
    """CurlMulti by perform() and select(), multiplexing."""
    import pycurl

    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
    multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 1)
    multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, max(100, task.in_flight))
    handles = [libraries.curl_http2(task, PATH) for _ in range(task.in_flight)]
    for handle in handles:
        handle.setopt(pycurl.WRITEFUNCTION, len)
    run = perform_all(multi, handles)
    run(1)
    libraries.check_curl_http2(handles[0])
    return run


def httpx2_uvloop(task: Task) -> Run:
    """AsyncClient, one task for each request in flight, on uvloop."""
    import httpx2
    import uvloop

    loop, client, url = uvloop.new_event_loop(), httpx2.AsyncClient(**libraries.httpx2_settings(task)), task.url(PATH)

    async def work(count: int) -> None:
        for _ in range(count):
            response = await client.get(url)
            if len(response.content) != BODY_BYTES:
                raise RuntimeError(f"a request gave {len(response.content)} bytes of body, not {BODY_BYTES}")

    run = gather_all(loop, work, task.in_flight)
    run(1)
    return run


def h2load(task: Task) -> Run:
    """h2load with one thread and one client, which keeps its own time."""
    seconds = max(1, round(task.seconds))
    command = ["h2load", "-t1", "-c1", f"-m{task.in_flight}", f"-D{seconds}", task.url(PATH)]

    def run(count: int) -> Timed:
        return parse_h2load(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    return run


def parse_h2load(text: str) -> Timed:
    """Requests and seconds in what h2load says, all of them answered.

    Raises:
        RuntimeError: it says neither, or that requests failed.
    """
    # "finished in 1.00s, 54511.00 req/s, 8.01MB/s"
    # "requests: 54511 total, 54611 started, 54511 done, 54511 succeeded, 0 failed, 0 errored, 0 timeout"
    seconds, counts = 0.0, dict[str, int]()
    for line in text.splitlines():
        if line.startswith("finished in "):
            seconds = parse_seconds(line.split()[2].rstrip(","))
        elif line.startswith("requests: "):
            words = line.removeprefix("requests: ").replace(",", "").split()
            counts = {name: int(number) for number, name in zip(words[::2], words[1::2], strict=True)}
    if not seconds or not counts.get("succeeded") or counts["succeeded"] != counts["done"]:
        raise RuntimeError(f"h2load did not tell its requests, or some failed: {text}")
    return Timed(counts["succeeded"], seconds)


CONTESTANTS: dict[str, Contestant] = {
    "turbosock loop": turbosock_loop,
    "pycurl multi": pycurl_multi,
    "httpx2+uvloop": httpx2_uvloop,
    "h2load": h2load,
    "empty": empty,
}
