"""What a client says to a proxy before bytes go through it, without I/O: HTTP CONNECT, SOCKS4, SOCKS4a and SOCKS5.

`tunnel.py` has the face that they share and the way to make one for a Proxy; `connect.py`, `socks4.py` and `socks5.py`
are one protocol each. A reply that refuses, and one that is none, is a ProxyError with a code of its own.
"""
