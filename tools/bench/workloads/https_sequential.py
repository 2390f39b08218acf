"""One request after the other on one kept-alive TLS connection; the answer has 100 bytes.

The contestants of `http1_sequential`, trusting one authority, and the second TLS engine beside the first: its own
floor is a bare OpenSSL.SSL.Connection, which checks the chain alone. Every bare connection is kernel-blocking and has
no deadline.
"""

from __future__ import annotations

import socket

import libraries
from task import Contestant, Run, Task, repeated
from workloads import http1_sequential
from workloads.http1_sequential import PATH, read_streams


def bare_pyopenssl(task: Task) -> Run:
    """send and recv_into of pyOpenSSL's Connection, and nothing else."""
    from OpenSSL import SSL

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.load_verify_locations(task.ca_file)
    context.set_verify(SSL.VERIFY_PEER)
    plain = socket.create_connection((task.host, task.port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = SSL.Connection(context, plain)
    connection.set_connect_state()
    connection.do_handshake()
    # Its temporary is as large as the buffer: a record's size, as turbosock asks for.
    request, buffer = task.request(PATH), bytearray(16384)
    send, receive_into = connection.send, connection.recv_into
    send(request)
    length = receive_into(buffer)
    head_bytes = buffer.index(b"\r\n\r\n") + 4

    def step() -> int:
        send(request)
        count = receive_into(buffer)
        while count < length:
            count += receive_into(buffer)
        return int(count - head_bytes)

    return repeated(step)


def turbosock_pyopenssl(task: Task) -> Run:
    """Client.stream() and readinto(), on pyOpenSSL"""
    from turbosock.config import TlsProviderMode

    return read_streams(libraries.turbosock_client(task, TlsProviderMode.PYOPENSSL_ONLY), task)


CONTESTANTS: dict[str, Contestant] = {
    **http1_sequential.CONTESTANTS,
    "bare pyOpenSSL": bare_pyopenssl,
    "turbosock stream, pyOpenSSL": turbosock_pyopenssl,
}
