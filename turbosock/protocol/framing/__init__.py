"""Framings: where one message of a byte stream ends and the next one begins, without I/O.

`framing.py` says what a framing is: settings, of which each connection makes its own reader. `raw.py`, `length.py`,
`delimiter.py` and `custom.py` are the four kinds; `choice.py` says which one a caller's argument means.
"""
