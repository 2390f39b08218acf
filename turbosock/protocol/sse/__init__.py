"""Server-sent events (WHATWG HTML, section 9.2), without I/O.

`parser.py` reads an event stream out of memory that `buffer.py` keeps, and tells its events through the one object of
`event.py`. Reconnecting, content types and deadlines are left to whoever owns the connection.
"""
