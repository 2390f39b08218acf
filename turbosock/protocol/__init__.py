"""Protocols without I/O: bytes in, events and bytes out; no socket, clock, thread or TLS is known here.

Each package below is one protocol (`http1`, `http2`, `websocket`), for both sides of a connection. The connections
above own the buffers and the sockets, and call these functions with what has arrived.
"""
