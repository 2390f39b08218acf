"""A WebSocket server that sends back what each client sent first, whenever as much has come again; for `ws_echo`.

It says its port, and ends with its input. The first message is read and answered as the protocol has it, and those
behind it, which are the same, only counted: the server costs as little as it can, whoever its client is.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import threading

from raw_websocket import open_as_server, payload_of, plain_frame

RECEIVE_BYTES = 256 * 1024


def serve() -> None:
    """The whole life of the process."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready and not os.read(sys.stdin.fileno(), 1):
                return
            if listener in ready:
                client, _ = listener.accept()
                threading.Thread(target=answer, args=(client,), daemon=True).start()


def answer(client: socket.socket) -> None:
    """Answer one client until it goes."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        with client:
            open_as_server(client)
            echo(client)
    except ConnectionError:
        # It has what it wanted.
        return


def echo(client: socket.socket) -> None:
    frame, size = b"", 0
    while not size:
        data = client.recv(RECEIVE_BYTES)
        if not data:
            return
        frame += data
        size, payload = payload_of(frame)
    back = plain_frame(payload)
    receive, send = client.recv_into, client.sendall
    view = memoryview(bytearray(RECEIVE_BYTES))
    there = len(frame)
    while True:
        while there >= size:
            there -= size
            send(back)
        received = receive(view)
        if not received:
            return
        there += received


if __name__ == "__main__":
    serve()
