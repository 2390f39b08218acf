"""WebSocket (RFC 6455), permessage-deflate (RFC 7692), and opening one over HTTP/2 (RFC 8441), both sides, without I/O.

`client_handshake.py` and `server_handshake.py` open a connection; below them are `handshake.py`, `extensions.py`, and
`deflate.py`, which negotiates compression. `receiver.py` makes messages of what arrives and returns one of
`outcomes.py`; below it is `joining_receiver.py`, for messages in any number of pieces, and above it
`inflating_receiver.py`, for compressed ones. `writer.py` makes frames of what is sent; `state.py` knows who has said
Close. Below them: `frame.py` (headers), `masking.py` and `mask_keys.py`, `utf8.py`, `close.py` (close codes),
`inflater.py`, `deflater.py`.

Time is not known here: when to ping, and how long to wait for a Close, is for the connections above to say.
"""
