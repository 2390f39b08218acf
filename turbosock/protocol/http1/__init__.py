"""HTTP/1.1 and 1.0 messages (RFC 9110, RFC 9112), both sides, without I/O.

`head.py` reads a message's head, `body.py` says which of the following bytes are its payload, `serialize.py` writes
both, and `state.py` decides whether the connection may carry another exchange. Below them: `grammar.py` (which
bytes may stand where), `headers.py` and `fields.py` (the field lines), `framing.py` (where a message ends).

A peer that breaks the grammar is refused, not guessed at: two parsers that guess differently are what request and
response smuggling is made of.
"""
