"""Content codings (RFC 9110 §8.4): gzip, deflate, br and zstd, without I/O.

`registry.py` says which codings there are and makes the decoder for a Content-Encoding; `decoder.py` drives one coding,
or a chain of them, inside its bounds. Below them: `coding.py` (how one body in one coding begins, goes on and ends)
with a file for each coding, `stream.py` (the face of a library's decompressor) and `libraries.py` (which of them are
installed). `docs/design/content-codings.md` has the decisions, and what each library copies.
"""
