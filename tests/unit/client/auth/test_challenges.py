"""Challenges: what a server asks for, read exactly, bounded, and in linear time."""

from __future__ import annotations

import random
from functools import partial

import pytest

from support.seeds import seeds
from support.steps import count_steps
from turbosock import limits
from turbosock.client.auth.challenges import parse_challenges, parse_parameters


def parsed(*values: str) -> list[tuple[str, str, dict[str, str]]]:
    return [(found.scheme, found.token68, found.parameters) for found in parse_challenges(values)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Basic", [("basic", "", {})]),
        ("Basic ", [("basic", "", {})]),
        ('Basic realm="a"', [("basic", "", {"realm": "a"})]),
        ("Basic realm=a", [("basic", "", {"realm": "a"})]),
        ('BASIC REALM="A"', [("basic", "", {"realm": "A"})]),
        ('Basic   realm = "a" ,  charset="UTF-8"', [("basic", "", {"realm": "a", "charset": "UTF-8"})]),
        # RFC 9110 section 11.6.1's own example.
        (
            'Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""',
            [
                ("basic", "", {"realm": "simple"}),
                ("newauth", "", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
            ],
        ),
        ("Negotiate, NTLM", [("negotiate", "", {}), ("ntlm", "", {})]),
        ("Negotiate YII+/.~_-aa==", [("negotiate", "YII+/.~_-aa==", {})]),
        ("Negotiate abc=, Basic realm=x", [("negotiate", "abc=", {}), ("basic", "", {"realm": "x"})]),
        (
            'Digest a=b, , ,Basic realm="a, Digest realm=b"',
            [("digest", "", {"a": "b"}), ("basic", "", {"realm": "a, Digest realm=b"})],
        ),
        ("Digest realm=", [("digest", "realm=", {})]),
        (",, Basic realm=a,,", [("basic", "", {"realm": "a"})]),
        ('Basic realm=""', [("basic", "", {"realm": ""})]),
        ('Basic realm="a\\\\b\\c"', [("basic", "", {"realm": "a\\bc"})]),
        ('Basic realm="\xe9\t"', [("basic", "", {"realm": "\xe9\t"})]),
        ("", []),
        (" , ", []),
    ],
)
def test_challenges_of_one_field_are_told_apart(value: str, expected: list[tuple[str, str, dict[str, str]]]) -> None:
    assert parsed(value) == expected


@pytest.mark.parametrize(
    "broken",
    [
        'Digest realm="unterminated',
        'Digest realm="unterminated\\',
        'Digest realm="a\\"',
        'Digest realm="a"b',
        'Digest realm="a" nonce="b"',
        'Digest realm="a", realm="b"',
        'Digest realm="a", REALM="b"',
        "Digest realm=, nonce=a",
        "Digest =a",
        "Digest realm=a;nonce=b",
        "Digest abc def",
        "Digest abc, nonce=b",
        'Digest "realm"',
        'Digest realm="a", "nonce"',
        'Digest realm="a\x00"',
        "Digest/1 realm=a",
        "realm=a",
    ],
)
def test_challenge_that_is_broken_goes_with_all_behind_it(broken: str) -> None:
    assert parsed(f"Negotiate, {broken}, Basic realm=x")[1:] == []
    assert parsed(broken) == []
    # Another field is read by itself.
    assert parsed(broken, "Basic realm=x") == [("basic", "", {"realm": "x"})]


def test_challenges_of_several_fields_keep_their_order() -> None:
    assert [found[0] for found in parsed("C, A", "B", "A")] == ["c", "a", "b", "a"]


def test_challenges_over_their_limits_are_not_read() -> None:
    assert len(parsed(", ".join(["Basic"] * (limits.MAX_CHALLENGES + 5)))) == limits.MAX_CHALLENGES
    most = ", ".join(f"p{number}=v" for number in range(limits.MAX_CHALLENGE_PARAMETERS))
    assert len(parsed("Digest " + most)[0][2]) == limits.MAX_CHALLENGE_PARAMETERS
    assert parsed(f"Digest {most}, one=more") == []
    assert parsed("Basic " + "a" * limits.MAX_CHALLENGE_BYTES) == []
    half = "Basic " + "a" * (limits.MAX_CHALLENGE_BYTES // 2)
    assert len(parsed(half, half, "Basic")) == 1


@pytest.mark.parametrize(
    "unit",
    ['a="', '"', "\\", 'a="b",', "A ", "a=b,", ",", " ", "A=", "=", "A b,", 'a="\\\\",', "a\t", "A  ,"],
)
def test_challenges_of_double_length_take_double_the_work(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_CHALLENGE_BYTES", "MAX_CHALLENGES", "MAX_CHALLENGE_PARAMETERS"):
        monkeypatch.setattr(limits, name, 10**9)
    for start in ("", "Digest ", 'Digest a="'):
        once, twice = (count_steps(partial(parse_challenges, [start + unit * count])) for count in (500, 1000))
        assert twice <= 2.2 * once + 100


def test_parameters_without_a_scheme_are_read_alike() -> None:
    assert parse_parameters(['nextnonce="a b", qop=auth', "nc=00000001"]) == {
        "nextnonce": "a b",
        "qop": "auth",
        "nc": "00000001",
    }
    assert parse_parameters([]) == {}
    for broken in ("nextnonce", 'nextnonce="a', "nextnonce=a, nextnonce=b", "a=b c=d"):
        assert parse_parameters([broken]) == {}
    assert parse_parameters(["a=b", "a=c"]) == {}


@pytest.mark.parametrize("seed", seeds(50))
def test_challenges_written_are_read_back(seed: int) -> None:
    rng = random.Random(seed)
    text = [chr(code) for code in (*range(0x20, 0x7F), 0x09, 0xE9)]
    written, expected = [], []
    for number in range(rng.randrange(1, 5)):
        values = {f"p{index}": "".join(rng.choices(text, k=rng.randrange(6))) for index in range(rng.randrange(4))}
        fields = []
        for name, value in values.items():
            quoted = "".join("\\" + c if c in '\\"' or rng.random() < 0.2 else c for c in value)
            fields.append(f'{name}{" " * rng.randrange(2)}={" " * rng.randrange(2)}"{quoted}"')
        written.append(f"S{number} " + " , ".join(fields))
        expected.append((f"s{number}", "", values))
    assert parsed(",".join(written)) == expected


@pytest.mark.parametrize("seed", seeds(50))
def test_challenges_of_chance_never_raise(seed: int) -> None:
    rng = random.Random(seed)
    pieces = ["Digest", "realm", "=", '"', "\\", ",", " ", "\t", "a", "\xff", "\0"]
    for _ in range(20):
        parse_challenges(["".join(rng.choices(pieces, k=30)) for _ in range(2)])
