"""Compare the two TLS engines with a bare SSLSocket: time, system mallocs and Python blocks of a read and of a write.

One process, one socket pair: a server writes a record, the client reads it, and only the client's calls are timed, so
the ratios are those of the code between OpenSSL and the caller's buffer. `python tools/tls_engines.py` prints a table
in Markdown. With memray installed, mallocs are counted; without, that column is empty.
"""

from __future__ import annotations

import socket
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from turbosock.config import TlsConfig, TlsProviderMode, TlsServerConfig
from turbosock.tls import DONE, TlsSession, provider_for
from turbosock.tls.selfsigned import make_self_signed

RECORD_BYTES = 16 * 1024
READS = 2000
ROUNDS = 7
BATCH = 200
ALLOCATORS = {"MALLOC", "CALLOC", "REALLOC", "ALIGNED_ALLOC", "POSIX_MEMALIGN", "MEMALIGN"}

Call = Callable[[], object]


def connect(config: TlsConfig, serving: TlsServerConfig) -> tuple[TlsSession, TlsSession]:
    """A client of `config` and a server on a socket pair, after their handshake."""
    near, far = socket.socketpair()
    provider = provider_for(config)
    client = provider.wrap(near, provider.client_context(config), "localhost", 443)
    server_provider = provider_for(serving)
    server = server_provider.wrap_server(far, server_provider.server_context(serving))
    done = [False, False]
    while not all(done):
        for index, side in enumerate((client, server)):
            done[index] = done[index] or side.handshake() == DONE
    return client, server


def bare(ca_file: str, serving: TlsServerConfig) -> tuple[ssl.SSLSocket, TlsSession]:
    """A client of the standard library, as its documentation says, and the same server."""
    near, far = socket.socketpair()
    near.setblocking(False)
    context = ssl.create_default_context(cafile=ca_file)
    client = context.wrap_socket(near, server_hostname="localhost", do_handshake_on_connect=False)
    provider = provider_for(serving)
    server = provider.wrap_server(far, provider.server_context(serving))
    done = [False, False]
    while not all(done):
        if not done[0]:
            try:
                client.do_handshake()
                done[0] = True
            except ssl.SSLWantReadError:
                pass
        done[1] = done[1] or server.handshake() == DONE
    return client, server


def time_of(prepare: Call, call: Call) -> float:
    """Nanoseconds of `call`, the median of READS calls."""
    clock = time.perf_counter_ns
    spent = []
    for _ in range(READS):
        prepare()
        start = clock()
        call()
        spent.append(clock() - start)
    return statistics.median(spent)


def mallocs_of(prepare: Call, call: Call) -> str:
    """System mallocs of one `call`, by memray; BATCH records wait in the socket, so that nothing else is counted."""
    try:
        import memray
    except ImportError:
        return ""
    for _ in range(BATCH):
        prepare()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace"
        with memray.Tracker(path):
            for _ in range(BATCH):
                call()
        made = 0
        for record in memray.FileReader(path).get_allocation_records():
            if memray.AllocatorType(record.allocator).name in ALLOCATORS:
                made += record.n_allocations
    return f"{made / BATCH:.2f}"


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        serving = TlsServerConfig(make_self_signed("localhost").write(folder))
        ca_file = str(Path(folder) / "ca.pem")
        view = memoryview(bytearray(RECORD_BYTES))
        data = bytes(RECORD_BYTES)
        small = bytes(100)
        sides: list[tuple[str, int | str, Call, Call, TlsSession]] = []
        client, server = bare(ca_file, serving)
        sides.append(
            ("bare SSLSocket", 0, lambda: client.recv_into(view, RECORD_BYTES), lambda: client.send(small), server)
        )
        for mode in (TlsProviderMode.SYSTEM_ONLY, TlsProviderMode.PYOPENSSL_ONLY):
            session, peer = connect(TlsConfig(ca_file=ca_file, provider=mode), serving)
            receive, send = session.recv_into, session.send
            sides.append(
                (
                    f"turbosock on {session.provider}",
                    session.copies_per_read,
                    lambda receive=receive: receive(view, RECORD_BYTES),  # type: ignore[misc]  # bound now
                    lambda send=send: send(small),  # type: ignore[misc]  # bound now
                    peer,
                )
            )
        print(f"Python {sys.version.split()[0]}, {ssl.OPENSSL_VERSION}, {session.library}\n")
        print(
            "| engine | copies a read | read of 16 KiB, µs | read of 100 B, µs | write of 100 B, µs | mallocs a read |"
        )
        print("|---|---|---|---|---|---|")
        rows: dict[str, list[list[float]]] = {name: [] for name, *_ in sides}
        for _ in range(ROUNDS):
            for name, _, read, write, peer in sides:
                inbox = memoryview(bytearray(RECORD_BYTES))
                large = time_of(lambda peer=peer: peer.send(data), read)  # type: ignore[misc]  # bound now
                little = time_of(lambda peer=peer: peer.send(small), read)  # type: ignore[misc]  # bound now
                written = []
                for _ in range(READS):
                    start = time.perf_counter_ns()
                    write()
                    written.append(time.perf_counter_ns() - start)
                    peer.recv_into(inbox, RECORD_BYTES)
                rows[name].append([large, little, statistics.median(written)])
        for name, copies, read, _, peer in sides:
            medians = [statistics.median(column) / 1000 for column in zip(*rows[name], strict=True)]
            mallocs = mallocs_of(lambda peer=peer: peer.send(small), read)  # type: ignore[misc]  # bound now
            figures = " | ".join(f"{figure:.2f}" for figure in medians)
            print(f"| {name} | {copies} | {figures} | {mallocs} |")


if __name__ == "__main__":
    main()
