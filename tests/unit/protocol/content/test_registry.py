from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from support.content import Case, decode, encode
from turbosock.errors import DecodingError, InvalidOption, Origin, ProtocolError
from turbosock.limits import MAX_CONTENT_CODINGS
from turbosock.protocol.content import libraries, registry
from turbosock.protocol.content.decoder import Decoder
from turbosock.protocol.content.registry import accept_encoding, decoder_for, supported


def forget() -> None:
    for cached in (
        registry.supported,
        registry.accept_encoding,
        libraries.inflate_library,
        libraries.brotli_library,
        libraries.zstd_library,
    ):
        cached.cache_clear()


@pytest.fixture
def only_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No optional library, as far as the registry can tell."""
    forget()
    monkeypatch.setattr(libraries, "_imported", lambda name: None)
    yield
    forget()


def made(content_encoding: str | None, max_bytes: int = 10_000) -> Decoder:
    decoder = decoder_for(content_encoding, max_bytes=max_bytes)
    assert decoder is not None
    return decoder


def test_supported_without_extras_is_gzip_and_deflate(only_the_interpreter: None) -> None:
    assert supported() == ("gzip", "deflate")
    assert accept_encoding() == "gzip, deflate"
    assert libraries.inflate_library().name == "zlib"
    assert decode(made("gzip"), [gzip.compress(b"abc")]) == (b"abc", None)


@pytest.mark.parametrize(("name", "extra"), [("br", "turbosock[br]"), ("zstd", "turbosock[zstd]")])
def test_decoder_for_a_coding_without_its_library_names_the_extra(
    only_the_interpreter: None, name: str, extra: str
) -> None:
    with pytest.raises(DecodingError) as raised:
        decoder_for(f"gzip, {name}", max_bytes=10)
    assert extra in str(raised.value)
    assert (raised.value.code, raised.value.coding) == ("unknown_coding", name)
    assert isinstance(raised.value, ProtocolError)


@pytest.mark.parametrize(("name", "library"), [("br", "brotli"), ("zstd", "backports.zstd")])
def test_supported_with_an_extra_names_and_decodes_its_coding(name: str, library: str) -> None:
    data = encode(Case(name, library), b"abc")
    assert name in supported()
    assert name in accept_encoding().split(", ")
    assert decode(made(name), [data]) == (b"abc", None)


def test_libraries_of_brotli_without_a_bound_on_output_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unbounded:
        """The Decompressor of Brotli 1.1."""

        def process(self, data: bytes) -> bytes:
            return data

    class Module:
        Decompressor = Unbounded
        error = ValueError

    monkeypatch.setattr(libraries, "_imported", lambda name: Module)
    assert libraries.brotli_libraries() == []


def test_libraries_for_gzip_prefer_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "_imported", lambda name: zlib)
    assert [library.name for library in libraries.inflate_libraries()] == ["isal.isal_zlib", "zlib_ng.zlib_ng", "zlib"]


@pytest.mark.parametrize("value", [None, "", " ", ",", "identity", "Identity , identity", ",identity,,"])
def test_decoder_for_no_coding_is_none(value: str | None) -> None:
    assert decoder_for(value, max_bytes=10) is None


@pytest.mark.parametrize("value", ["gzip", "GZip", " gzip\t", "x-gzip", "identity, gzip", ",gzip,"])
def test_decoder_for_gzip_by_every_name_decodes_it(value: str) -> None:
    decoder = made(value)
    assert decoder.codings == ("gzip",)
    assert decode(decoder, [gzip.compress(b"abc")]) == (b"abc", None)


def test_decoder_for_a_list_undoes_the_last_coding_first() -> None:
    decoder = made("deflate, gzip")
    assert decoder.codings == ("gzip", "deflate")
    assert decode(decoder, [gzip.compress(zlib.compress(b"abc"))]) == (b"abc", None)


@pytest.mark.parametrize("value", ["compress", "gzip;q=1", "gzip, rot13", "gzip gzip", "chunked", "gz\u0131p"])
def test_decoder_for_an_unknown_coding_names_it(value: str) -> None:
    with pytest.raises(DecodingError) as raised:
        decoder_for(value, max_bytes=10)
    assert raised.value.code == "unknown_coding"
    assert repr(value.split(", ")[-1]) in str(raised.value)


def test_decoder_for_an_unknown_coding_shows_no_more_of_it_than_a_name_has() -> None:
    with pytest.raises(DecodingError) as raised:
        decoder_for("x" * 60_000, max_bytes=10)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("name", ["gzip", "identity"])
def test_decoder_for_more_codings_than_the_limit_refuses(name: str) -> None:
    decoder_for(", ".join([name] * MAX_CONTENT_CODINGS), max_bytes=10)
    for count in (MAX_CONTENT_CODINGS + 1, 1000):
        with pytest.raises(DecodingError) as raised:
            decoder_for(", ".join([name] * count), max_bytes=10)
        assert (raised.value.code, raised.value.origin) == ("too_many_codings", Origin.LIMIT)


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("max_bytes", {"max_bytes": 0}),
        ("max_bytes", {"max_bytes": 1.5}),
        ("max_bytes", {"max_bytes": True}),
        ("max_ratio", {"max_bytes": 1, "max_ratio": 0.5}),
        ("max_ratio", {"max_bytes": 1, "max_ratio": float("inf")}),
        ("max_ratio", {"max_bytes": 1, "max_ratio": float("nan")}),
        ("max_ratio", {"max_bytes": 1, "max_ratio": "9"}),
    ],
)
def test_decoder_for_a_wrong_bound_names_it(name: str, bounds: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=name):
        decoder_for("gzip", **bounds)
