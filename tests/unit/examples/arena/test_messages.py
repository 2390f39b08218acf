"""What the arena's wire says: each message as it is written and read, and everything that is refused."""

from __future__ import annotations

import json
import math
import random

import pytest

from support.seeds import seeds
from turbosock.examples.arena import messages
from turbosock.examples.arena.messages import (
    BadMessage,
    Chat,
    Command,
    Echo,
    Join,
    SnapshotWriter,
    Steer,
    plain,
    read_command,
    read_snapshot,
)
from turbosock.examples.arena.rules import (
    MAX_CHAT_CHARS,
    MAX_COMMAND_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_NAME_CHARS,
    MAX_PLAYERS,
    SHOWN_SCORES,
)
from turbosock.examples.arena.world import World


@pytest.mark.parametrize(
    ("data", "command"),
    [
        (messages.steer(0), Steer(0)),
        (messages.steer(31), Steer(31)),
        (b"\x02\x01\x02\x03\x04", Echo(b"\x02\x01\x02\x03\x04")),
        (messages.join("Ada"), Join("Ada")),
        (messages.join(""), Join("")),
        ('{"type":"join","name":"  a\\nb\\u202ec  "}', Join("a b c")),
        ('{"type":"chat","text":"hello"}', Chat("hello")),
        ('{"type":"chat","text":"hello","more":[1]}', Chat("hello")),
        (json.dumps({"type": "chat", "text": "é" * 500}), Chat("é" * MAX_CHAT_CHARS)),
    ],
)
def test_command_is_read(data: bytes | str, command: Command) -> None:
    assert read_command(data) == command
    if isinstance(data, bytes):
        assert read_command(memoryview(data)) == command


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "binary"),
        (b"\x01", "binary"),
        (b"\x01\x20", "binary"),
        (b"\x01\x00\x00", "binary"),
        (b"\x02\x00\x00\x00", "binary"),
        (b"\x02\x00\x00\x00\x00\x00", "binary"),
        (b"\x03\x00\x00\x00\x00\x00\x00\x00", "binary"),
        (b"\x09", "binary"),
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 4000, "no JSON"),
        ("1" * 4000 + "e", "no JSON"),
        ("[]", "no such"),
        ("null", "no such"),
        ('"join"', "no such"),
        ("{}", "no such"),
        ('{"type":"welcome"}', "no such"),
        ('{"type":["join"],"name":"x"}', "no such"),
        ('{"type":"join"}', "no such"),
        ('{"type":"join","name":7}', "no such"),
        ('{"type":"chat","text":null}', "no such"),
        ('{"type":"chat","text":" \\u0000\\u200b "}', "without a text"),
        ('{"type":"chat","text":"%s"}' % ("x" * MAX_COMMAND_BYTES), "too long"),
        (bytes(MAX_COMMAND_BYTES + 1), "too long"),
    ],
)
def test_command_that_makes_no_sense_is_refused(data: bytes | str, why: str) -> None:
    with pytest.raises(BadMessage, match=why):
        read_command(data)


@pytest.mark.parametrize("seed", seeds(3))
def test_command_of_noise_is_read_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    texts = [messages.join("Ada"), '{"type":"chat","text":"hello"}']
    for _ in range(2000):
        data: bytes | str = chance.randbytes(chance.randrange(7))
        if chance.random() < 0.5:
            letters = list(chance.choice(texts))
            for _ in range(chance.randrange(1, 4)):
                letters[chance.randrange(len(letters))] = chr(chance.randrange(128))
            data = "".join(letters)
        try:
            command = read_command(data)
        except BadMessage:
            continue
        assert isinstance(command, (Steer, Echo, Join, Chat))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ada", "Ada"),
        ("  two   words ", "two words"),
        ("a\tb\r\nc", "a b c"),
        ("\x1b[31mred", "[31mred"),
        ("\u202eevil\u200b", "evil"),
        ("\ud800half", "half"),
        ("日本語 🎮", "日本語 🎮"),
        ("x" * 17, "x" * 16),
        ("x" * 15 + " y", "x" * 15),
        (" " * 1000 + "x", ""),
    ],
)
def test_plain_text_is_one_line_that_changes_no_other(text: str, expected: str) -> None:
    assert plain(text, MAX_NAME_CHARS) == expected


def test_snapshot_says_what_the_world_is() -> None:
    world = World(3)
    one, other = world.join(), world.join()
    one.heading = (0.0, 1.0)
    one.dash_left, one.dash_wait = 3, 50
    other.heading = (-1.0, 0.0)
    other.safe_left, other.points = 4, 65535
    world.tick = 2**32 + 5
    seen = read_snapshot(SnapshotWriter().write(world))
    assert seen.tick == 5
    assert [each.id for each in seen.players] == [one.id, other.id]
    assert [(each.points, each.flags) for each in seen.players] == [
        (0, messages.DASHES),
        (65535, messages.SAFE | messages.MAY_DASH),
    ]
    assert [each.heading for each in seen.players] == pytest.approx([math.pi / 2, math.pi])
    for shown, player in zip(seen.players, (one, other), strict=True):
        assert (shown.x, shown.y) == pytest.approx((player.x, player.y), abs=1 / 32)
    for (x, y), gem in zip(seen.gems, world.gems, strict=True):
        assert (x, y) == pytest.approx((gem.x, gem.y), abs=1 / 32)


def test_snapshot_heading_comes_back_for_every_direction() -> None:
    world = World()
    player = world.join()
    writer = SnapshotWriter()
    for step in range(8):
        angle = step * math.tau / 8
        player.heading = (math.cos(angle), math.sin(angle))
        shown = read_snapshot(writer.write(world)).players[0].heading
        # A hair below a step is one step of 256 less.
        assert math.cos(shown - angle) > math.cos(math.tau / 200)


def test_snapshot_of_a_full_world_fits_and_one_after_it_is_short_again() -> None:
    world = World()
    writer = SnapshotWriter()
    while not world.full:
        world.join()
    assert len(read_snapshot(writer.write(world)).players) == MAX_PLAYERS
    for player in list(world.players.values()):
        world.leave(player)
    assert read_snapshot(writer.write(world)).players == []


def test_snapshot_that_is_cut_or_too_long_is_refused() -> None:
    world = World()
    world.join()
    whole = bytes(SnapshotWriter().write(world))
    for cut in range(len(whole)):
        with pytest.raises(BadMessage):
            read_snapshot(whole[:cut])
    with pytest.raises(BadMessage):
        read_snapshot(whole + b"\0")
    with pytest.raises(BadMessage):
        read_snapshot(b"\x02" + whole[1:])


def test_texts_are_json_with_a_type() -> None:
    assert json.loads(messages.welcome([(1, "Ada")])) | {"pillars": 0} == {
        "type": "welcome", "width": 1600, "height": 900, "radius": 22, "gem": 9, "pillars": 0, "tick_hz": 60,
        "max_name": 16, "max_chat": 160, "roster": [[1, "Ada"]],
    }  # fmt: skip
    assert json.loads(messages.you(1, "Ada")) == {"type": "you", "id": 1, "name": "Ada"}
    assert json.loads(messages.joined(1, "Ada")) == {"type": "joined", "id": 1, "name": "Ada"}
    assert json.loads(messages.left(1)) == {"type": "left", "id": 1}
    assert json.loads(messages.chat("Ada", "é")) == {"type": "chat", "name": "Ada", "text": "é"}
    assert json.loads(messages.notice("no")) == {"type": "notice", "text": "no"}
    assert json.loads(messages.scores([("Ada", 3)])) == {"type": "scores", "table": [["Ada", 3]]}
    assert json.loads(messages.scores(None)) == {"type": "scores", "table": None}


def test_longest_texts_fit_what_a_client_may_be_told() -> None:
    # What JSON makes longest of a character that people may use.
    for character in ("\U0001f3ae", '"', "\\"):
        name = character * MAX_NAME_CHARS
        roster = messages.welcome((65535, name) for _ in range(MAX_PLAYERS))
        line = character * MAX_CHAT_CHARS
        told = [roster, messages.scores([(name, 65535)] * SHOWN_SCORES), messages.chat(name, line)]
        assert max(len(each.encode()) for each in told) <= MAX_MESSAGE_BYTES
        # And of what clients say, though they may write each character as escapes of a surrogate pair.
        assert len(json.dumps({"type": "chat", "text": line})) <= MAX_COMMAND_BYTES
