"""Which content codings there are, and the decoder for a Content-Encoding (RFC 9110 §8.4, §12.5.3).

gzip and deflate are always there; br and zstd where an extra is installed. `x-gzip` is gzip (RFC 9110 §8.4.1.3), and
`identity`, which no Content-Encoding should name, is nothing.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

from turbosock.errors import DecodingError, InvalidOption, Origin
from turbosock.limits import MAX_CONTENT_CODINGS, MAX_DECODE_RATIO
from turbosock.protocol.content.brotli_coding import BrotliCoding
from turbosock.protocol.content.coding import Coding
from turbosock.protocol.content.decoder import Decoder
from turbosock.protocol.content.deflate_coding import DeflateCoding
from turbosock.protocol.content.gzip_coding import GzipCoding
from turbosock.protocol.content.libraries import brotli_library, inflate_library, zstd_library
from turbosock.protocol.content.zstd_coding import ZstdCoding

_IDENTITY: Final = "identity"


@lru_cache(maxsize=1)
def supported() -> tuple[str, ...]:
    """The codings that can be decoded here, the ones that always can first."""
    names = ["gzip", "deflate"]
    if brotli_library() is not None:
        names.append("br")
    if zstd_library() is not None:
        names.append("zstd")
    return tuple(names)


@lru_cache(maxsize=1)
def accept_encoding() -> str:
    """The value of Accept-Encoding that asks for them, in the order in which browsers name them."""
    return ", ".join(supported())


def decoder_for(content_encoding: str | None, *, max_bytes: int, max_ratio: float = MAX_DECODE_RATIO) -> Decoder | None:
    """The decoder for a body with this Content-Encoding; None where there is nothing to decode.

    Args:
        content_encoding: the field's value, several fields joined by commas; None where there is none.
        max_bytes: what the body may decode to, at least 1.
        max_ratio: what it may decode to for each byte of it, at least 1, above DECODE_RATIO_FREE_BYTES.

    Raises:
        DecodingError: a coding is not known or not installed (code "unknown_coding"), or there are more than
            MAX_CONTENT_CODINGS ("too_many_codings").
        InvalidOption: a bound has a wrong type or value.
    """
    if type(max_bytes) is not int or max_bytes < 1:
        raise InvalidOption(f"max_bytes must be an int of at least 1, not {max_bytes!r}")
    if type(max_ratio) not in (int, float) or not 1 <= max_ratio < math.inf:
        raise InvalidOption(f"max_ratio must be a finite number of at least 1, not {max_ratio!r}")
    if not content_encoding:
        return None
    # A list may have empty elements (RFC 9110 §5.6.1.2).
    names = [name for element in content_encoding.split(",") if (name := element.strip(" \t").lower())]
    if len(names) > MAX_CONTENT_CODINGS:
        raise DecodingError(
            f"the body has {len(names)} content codings; the limit MAX_CONTENT_CODINGS is {MAX_CONTENT_CODINGS}",
            code="too_many_codings",
            origin=Origin.LIMIT,
        )
    codings = [_coding(name) for name in reversed(names) if name != _IDENTITY]
    if not codings:
        return None
    return Decoder(codings, max_bytes=max_bytes, max_ratio=max_ratio)


def _coding(name: str) -> Coding:
    if name in ("gzip", "x-gzip"):
        return GzipCoding(inflate_library())
    if name == "deflate":
        return DeflateCoding(inflate_library())
    if name == "br":
        brotli = brotli_library()
        if brotli is None:
            raise _unknown(name, "needs Brotli 1.2 or later: pip install 'turbosock[br]'")
        return BrotliCoding(brotli)
    if name == "zstd":
        zstd = zstd_library()
        if zstd is None:
            raise _unknown(name, "needs Python 3.14 or backports.zstd: pip install 'turbosock[zstd]'")
        return ZstdCoding(zstd)
    raise _unknown(
        name, f"is not one of {', '.join(supported())}; read the body as it is, or do not accept this coding"
    )


def _unknown(name: str, why: str) -> DecodingError:
    # A peer chose the name: no more of it is shown than a name has.
    return DecodingError(f"the content coding {name[:32]!r} {why}", coding=name[:32], code="unknown_coding")
