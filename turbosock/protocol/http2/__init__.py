"""HTTP/2 (RFC 9113) with HPACK (RFC 7541), both sides, without I/O.

`engine.py` takes the frames of one connection out of a receive buffer and puts its own into an output; it stands on
`header_sections.py`, `control_frames.py`, `sending_half.py` and `output.py`, and `stream.py` is one stream of it. Below
them: `frames.py` (the layout on the wire), `settings.py`, `stream_state.py` (which frame may come when),
`block_decoder.py` and `block_encoder.py` (HPACK with a memory for repeated blocks; `block_outline.py`),
`field_block.py` and `request_fields.py` (what the fields of a message mean, and what is sent for one),
`error_codes.py`.
"""
