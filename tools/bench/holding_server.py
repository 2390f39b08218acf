"""A server that answers nobody before it is told to, for `concurrent_10000`: `holding_server.py COUNT`.

It says its port, then "asked" once COUNT requests have come. Each line of its input is bytes in hexadecimal, which
everybody is sent; it ends with its input.
"""

from __future__ import annotations

import os
import select
import socket
import sys

BACKLOG = 4096


def serve(count: int) -> None:
    """The whole life of the process."""
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
        listener.setblocking(False)
        print(listener.getsockname()[1], flush=True)
        commands = sys.stdin.fileno()
        epoll = select.epoll()
        epoll.register(listener, select.EPOLLIN)
        epoll.register(commands, select.EPOLLIN)
        clients: dict[int, socket.socket] = {}
        asked = 0
        line = b""
        while True:
            for descriptor, _ in epoll.poll():
                if descriptor == commands:
                    piece = os.read(commands, 65536)
                    if not piece:
                        return
                    line += piece
                    while b"\n" in line:
                        text, _, line = line.partition(b"\n")
                        for client in clients.values():
                            client.sendall(bytes.fromhex(text.decode()))
                elif descriptor == listener.fileno():
                    accept(listener, epoll, clients)
                else:
                    asked += hear(epoll, clients, descriptor)
                    if asked == count:
                        print("asked", flush=True)


def accept(listener: socket.socket, epoll: select.epoll, clients: dict[int, socket.socket]) -> None:
    """Accept everybody who waits."""
    try:
        while True:
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            clients[client.fileno()] = client
            epoll.register(client, select.EPOLLIN)
    except BlockingIOError:
        # Nobody is left.
        return


def hear(epoll: select.epoll, clients: dict[int, socket.socket], descriptor: int) -> int:
    """Read from a client: 1 for its request, 0 for its end."""
    client = clients[descriptor]
    try:
        heard = client.recv(65536)
    except ConnectionError:
        heard = b""
    if not heard:
        epoll.unregister(descriptor)
        clients.pop(descriptor).close()
        return 0
    if not heard.endswith(b"\r\n\r\n"):
        raise RuntimeError("a request came in pieces")
    return 1


if __name__ == "__main__":
    serve(int(sys.argv[1]))
