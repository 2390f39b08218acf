from __future__ import annotations

import itertools

import pytest

from turbosock.errors import InvalidOption, ProtocolError
from turbosock.protocol.websocket.deflate import DeflateAgreement, DeflateOptions, accept, answer, deflate_of, offers
from turbosock.protocol.websocket.extensions import Extension, parse_extensions
from turbosock.protocol.websocket.inflater import TAIL

PLAIN = DeflateOptions(server_max_window_bits=15, client_max_window_bits=15)
MESSAGE = b"the same words, and the same words again " * 20


def extension(parameters: str) -> Extension:
    return parse_extensions(f"permessage-deflate{parameters}".encode())[0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (PLAIN, "permessage-deflate; client_max_window_bits"),
        (
            DeflateOptions(),
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12, "
            "permessage-deflate; client_max_window_bits=12",
        ),
        (
            DeflateOptions(True, True, 15, 15),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits, "
            "permessage-deflate; client_no_context_takeover; client_max_window_bits",
        ),
        (
            DeflateOptions(False, True, 15, 8),
            "permessage-deflate; client_no_context_takeover; client_max_window_bits=8",
        ),
    ],
)
def test_client_offers_what_its_options_say(options: DeflateOptions, expected: str) -> None:
    assert offers(options) == expected


@pytest.mark.parametrize(
    ("parameters", "options", "expected", "text"),
    [
        ("", PLAIN, (False, False, 15, 15), ""),
        ("; client_max_window_bits", PLAIN, (False, False, 15, 15), ""),
        ("", DeflateOptions(), (False, False, 12, 15), "; server_max_window_bits=12"),
        (
            "; client_max_window_bits",
            DeflateOptions(),
            (False, False, 12, 12),
            "; server_max_window_bits=12; client_max_window_bits=12",
        ),
        ("; client_max_window_bits=10", PLAIN, (False, False, 15, 10), "; client_max_window_bits=10"),
        ("; client_max_window_bits=14", DeflateOptions(), (False, False, 12, 12), None),
        ("; server_max_window_bits=15", PLAIN, (False, False, 15, 15), "; server_max_window_bits=15"),
        ("; server_max_window_bits=8", PLAIN, (False, False, 8, 15), "; server_max_window_bits=8"),
        ("; server_max_window_bits=14", DeflateOptions(), (False, False, 12, 15), "; server_max_window_bits=12"),
        ("; server_no_context_takeover", PLAIN, (True, False, 15, 15), "; server_no_context_takeover"),
        ("; client_no_context_takeover", PLAIN, (False, True, 15, 15), "; client_no_context_takeover"),
        (
            "",
            DeflateOptions(True, True, 15, 15),
            (True, True, 15, 15),
            "; server_no_context_takeover; client_no_context_takeover",
        ),
    ],
)
def test_server_accepts_an_offer_with_what_applies(
    parameters: str, options: DeflateOptions, expected: tuple[bool, bool, int, int], text: str | None
) -> None:
    found = answer(extension(parameters), options)
    assert found is not None
    assert found[0] == DeflateAgreement(*expected)
    if text is not None:
        assert found[1] == f"permessage-deflate{text}"


BAD = [
    "; server_max_window_bits",
    "; server_max_window_bits=7",
    "; server_max_window_bits=16",
    "; server_max_window_bits=08",
    "; server_max_window_bits=x",
    "; client_max_window_bits=7",
    "; client_max_window_bits=16",
    "; client_max_window_bits=010",
    "; server_no_context_takeover=1",
    "; client_no_context_takeover=true",
    "; unknown",
    "; unknown=10",
    "; client_max_window_bits; client_max_window_bits",
    "; server_no_context_takeover; server_no_context_takeover",
]


@pytest.mark.parametrize("parameters", BAD)
def test_server_declines_an_offer_with_bad_parameters(parameters: str) -> None:
    assert answer(extension(parameters), PLAIN) is None


@pytest.mark.parametrize("parameters", [*BAD, "; client_max_window_bits"])
def test_client_refuses_an_answer_with_bad_parameters(parameters: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        accept(extension(parameters), PLAIN)
    assert caught.value.code == "bad_extensions"


def test_client_refuses_a_larger_window_than_it_offered() -> None:
    options = DeflateOptions(client_max_window_bits=10)
    assert accept(extension("; client_max_window_bits=10"), options).client_max_window_bits == 10
    with pytest.raises(ProtocolError, match="more than was offered"):
        accept(extension("; client_max_window_bits=11"), options)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("", (False, False, 15, 12)),
        ("; server_max_window_bits=9", (False, False, 9, 12)),
        ("; server_no_context_takeover; client_no_context_takeover", (True, True, 15, 12)),
        ("; client_max_window_bits=8", (False, False, 15, 8)),
    ],
)
def test_client_takes_what_the_server_answers(parameters: str, expected: tuple[bool, bool, int, int]) -> None:
    assert accept(extension(parameters), DeflateOptions()) == DeflateAgreement(*expected)


SOME_OPTIONS = [
    DeflateOptions(server_forgets, client_forgets, server_bits, client_bits)
    for server_forgets, client_forgets in itertools.product((False, True), repeat=2)
    for server_bits, client_bits in ((15, 15), (8, 15), (15, 8), (9, 12))
]


@pytest.mark.parametrize("server", SOME_OPTIONS)
@pytest.mark.parametrize("client", SOME_OPTIONS)
def test_both_sides_agree_and_understand_each_other(client: DeflateOptions, server: DeflateOptions) -> None:
    found = next(
        each for each in (answer(offer, server) for offer in parse_extensions(offers(client).encode())) if each
    )
    by_server, text = found
    by_client = accept(parse_extensions(text.encode())[0], client)
    for is_client, sender, receiver, options in (
        (True, by_client, by_server, client),
        (False, by_server, by_client, server),
    ):
        deflater = sender.deflater(is_client, options)
        inflater = receiver.inflater(not is_client)
        for payload in (MESSAGE, MESSAGE[::-1], MESSAGE):
            data = deflater.deflate(payload) + TAIL
            assert inflater.step(data, 10_000) == payload
            assert not inflater.failure
            inflater.end_message()


def test_options_at_the_ends_of_their_ranges_are_taken() -> None:
    DeflateOptions(
        server_max_window_bits=8, client_max_window_bits=15, level=0, memory_level=9, min_bytes=0, max_ratio=1
    )
    DeflateOptions(server_max_window_bits=15, client_max_window_bits=8, level=9, memory_level=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("server_no_context_takeover", 1),
        ("client_no_context_takeover", None),
        ("server_max_window_bits", 7),
        ("server_max_window_bits", 16),
        ("client_max_window_bits", True),
        ("level", 10),
        ("level", -1),
        ("memory_level", 0),
        ("memory_level", 10),
        ("min_bytes", -1),
        ("max_ratio", 0.5),
        ("max_ratio", float("nan")),
        ("max_ratio", "10"),
    ],
)
def test_wrong_option_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidOption, match=name):
        DeflateOptions(**{name: value})  # type: ignore[arg-type]  # that is the test


def test_argument_is_options_or_whether_there_are_any() -> None:
    options = DeflateOptions(level=1)
    assert deflate_of(options) is options
    assert deflate_of(True) == DeflateOptions()
    assert deflate_of(False) is deflate_of(None) is None


@pytest.mark.parametrize("deflate", [1, "yes", DeflateOptions])
def test_argument_that_is_none_of_these_is_refused(deflate: object) -> None:
    with pytest.raises(InvalidOption, match="deflate="):
        deflate_of(deflate)  # type: ignore[arg-type]  # that is the test
