"""A client that keeps a UDP echo server busy, for `udp_echo`: `datagram_load.py PORT BYTES SECONDS`.

Datagrams leave sixty-four in one system call (UDP_SEGMENT, Linux 4.18), so that the sender costs a fraction of any
server that receives them one by one; where that is missing, each by itself. It keeps two such batches on the way, and
says how many came back in how many seconds.
"""

from __future__ import annotations

import json
import socket
import sys
import time

BATCH = 64
BATCHES_AHEAD = 2
# What has not come after so long is lost.
LOST_S = 0.2
UDP_SEGMENT = 103
BUFFER_BYTES = 4 * 1024 * 1024


def run(port: int, size: int, seconds: float) -> dict[str, float]:
    """Echo for so long."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        sock.connect(("127.0.0.1", port))
        sock.settimeout(LOST_S)
        batch = 1
        try:
            sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
            batch = BATCH
        except OSError:
            # One at a time, then.
            pass
        data = b"d" * (size * batch)
        view = memoryview(bytearray(2048))
        send, receive = sock.send, sock.recv_into
        back = lost = ahead = 0
        start_s = time.perf_counter()
        end_s = start_s + seconds
        while time.perf_counter() < end_s:
            while ahead <= (BATCHES_AHEAD - 1) * BATCH:
                send(data)
                ahead += batch
            try:
                for _ in range(BATCH):
                    receive(view)
                    ahead -= 1
                    back += 1
            except TimeoutError:
                lost += ahead
                ahead = 0
        return {"back": back, "lost": lost, "seconds": time.perf_counter() - start_s}


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))), flush=True)
