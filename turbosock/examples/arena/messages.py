"""Messages: what goes over the wire, both ways, and the checks of what comes from outside.

What is often or large is binary, little-endian; its first byte says what it is:

    client → server   STEER     u8 1, u8 the buttons that are down
                      ECHO      u8 2, u32 anything: comes back as it is, which is how a client measures its distance
    server → client   ECHO      as above
                      SNAPSHOT  u8 3, u8 players, u8 gems, u8 0, u32 tick; then
                                for each player u16 id, u16 x, u16 y, u16 points, u8 heading, u8 flags;
                                for each gem u16 x, u16 y
                                (places in 1/32 of a pixel; a heading is 1/256 of a turn, clockwise from the right)

What is seldom is a text, a JSON object whose "type" says what it is: `join` (name) and `chat` (text) from clients;
`welcome`, `you`, `joined`, `left`, `chat`, `notice` and `scores` from the server, made by the functions of these names.

A snapshot may overtake what was said before it: it takes the place of an older one that still waits. So clients may see
a player before they were told its name, and one that they were told has left.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from turbosock.examples.arena.rules import (
    GEM_RADIUS,
    GEMS,
    HEIGHT,
    MAX_CHAT_CHARS,
    MAX_COMMAND_BYTES,
    MAX_NAME_CHARS,
    MAX_PLAYERS,
    PILLARS,
    RADIUS,
    TICK_RATE_HZ,
    WIDTH,
)
from turbosock.examples.arena.world import ALL_BUTTONS, World

STEER: Final = 1
ECHO: Final = 2
SNAPSHOT: Final = 3

DASHES: Final = 1
SAFE: Final = 2
MAY_DASH: Final = 4

_SCALE: Final = 32
_TURN: Final = 256
_STEER: Final = struct.Struct("<BB")
_ECHO: Final = struct.Struct("<BI")
_HEAD: Final = struct.Struct("<BBBxI")
_PLAYER: Final = struct.Struct("<HHHHBB")
_GEM: Final = struct.Struct("<HH")

assert max(WIDTH, HEIGHT) * _SCALE < 1 << 16 and MAX_PLAYERS < 1 << 8 and GEMS < 1 << 8, "they fit their fields"

# A row of the scoreboard: a name and its points.
Score = tuple[str, int]


class BadMessage(Exception):
    """A message that is none of these; the text says why, in a few words for the one who sent it."""


# From clients


class Steer(NamedTuple):
    """These buttons are down."""

    buttons: int


class Echo(NamedTuple):
    """Send this back."""

    data: bytes


class Join(NamedTuple):
    """Let me play under this name, which may be empty."""

    name: str


class Chat(NamedTuple):
    """Tell everybody; not empty."""

    text: str


Command = Steer | Echo | Join | Chat


def read_command(data: bytes | memoryview | str) -> Command:
    """What a client said; nothing of `data` is kept.

    Raises:
        BadMessage: it makes no sense.
    """
    if len(data) > MAX_COMMAND_BYTES:
        raise BadMessage("too long a message")
    if not isinstance(data, str):
        kind = data[0] if data else 0
        if kind == STEER and len(data) == _STEER.size and data[1] <= ALL_BUTTONS:
            return Steer(data[1])
        if kind == ECHO and len(data) == _ECHO.size:
            return Echo(bytes(data))
        raise BadMessage("no such binary message")
    try:
        said = json.loads(data)
    # Nesting without end is no ValueError.
    except (ValueError, RecursionError):
        raise BadMessage("a text that is no JSON") from None
    what = said.get("type") if isinstance(said, dict) else None
    if what == "join" and isinstance(said.get("name"), str):
        return Join(plain(said["name"], MAX_NAME_CHARS))
    if what == "chat" and isinstance(said.get("text"), str):
        text = plain(said["text"], MAX_CHAT_CHARS)
        if text:
            return Chat(text)
        raise BadMessage("chat without a text")
    raise BadMessage("no such message")


def plain(text: str, max_chars: int) -> str:
    """`text` on one line, cut, and without what would do something to other people's screens.

    Unicode's control and format characters go, those that turn the direction of writing among them, and lone
    surrogates, which no UTF-8 can say.
    """
    visible = "".join(each if each.isprintable() else " " for each in text[: 4 * max_chars])
    return " ".join(visible.split())[:max_chars].rstrip()


def steer(buttons: int) -> bytes:
    """For clients: these buttons are down."""
    return _STEER.pack(STEER, buttons)


def join(name: str) -> str:
    """For clients: let me play."""
    return _text("join", name=name)


# To clients


class SnapshotWriter:
    """Writes snapshots, each over the one before: the memory is made once."""

    __slots__ = ("_memory", "_view")

    def __init__(self) -> None:
        self._memory = bytearray(_HEAD.size + MAX_PLAYERS * _PLAYER.size + GEMS * _GEM.size)
        self._view = memoryview(self._memory)

    def write(self, world: World) -> memoryview:
        """The world as it is; valid until the next call."""
        memory = self._memory
        players = world.players
        _HEAD.pack_into(memory, 0, SNAPSHOT, len(players), len(world.gems), world.tick & 0xFFFFFFFF)
        at = _HEAD.size
        for player in players.values():
            x, y = player.heading
            flags = 0
            if player.dash_left:
                flags |= DASHES
            if player.safe_left:
                flags |= SAFE
            if not player.dash_wait:
                flags |= MAY_DASH
            _PLAYER.pack_into(
                memory,
                at,
                player.id,
                int(player.x * _SCALE),
                int(player.y * _SCALE),
                player.points,
                int(math.atan2(y, x) * _TURN / math.tau) % _TURN,
                flags,
            )
            at += _PLAYER.size
        for gem in world.gems:
            _GEM.pack_into(memory, at, int(gem.x * _SCALE), int(gem.y * _SCALE))
            at += _GEM.size
        return self._view[:at]


def welcome(roster: Iterable[tuple[int, str]]) -> str:
    """The field and who plays; whatever was said before is forgotten."""
    return _text(
        "welcome",
        width=WIDTH,
        height=HEIGHT,
        radius=RADIUS,
        gem=GEM_RADIUS,
        pillars=PILLARS,
        tick_hz=TICK_RATE_HZ,
        max_name=MAX_NAME_CHARS,
        max_chat=MAX_CHAT_CHARS,
        roster=list(roster),
    )


def you(player: int, name: str) -> str:
    """To one: you play now, as this."""
    return _text("you", id=player, name=name)


def joined(player: int, name: str) -> str:
    """Somebody plays."""
    return _text("joined", id=player, name=name)


def left(player: int) -> str:
    """Somebody has left."""
    return _text("left", id=player)


def chat(name: str, text: str) -> str:
    """Somebody said something."""
    return _text("chat", name=name, text=text)


def notice(text: str) -> str:
    """To one: the server says something."""
    return _text("notice", text=text)


def scores(table: Iterable[Score] | None) -> str:
    """The best, highest first; None: the scoreboard does not answer."""
    return _text("scores", table=None if table is None else list(table))


def _text(kind: str, **content: Any) -> str:
    return json.dumps({"type": kind, **content}, ensure_ascii=False, separators=(",", ":"))


# What clients read


class SeenPlayer(NamedTuple):
    """A player in a snapshot; `heading` in radians, clockwise from the right."""

    id: int
    x: float
    y: float
    points: int
    heading: float
    flags: int


class Snapshot(NamedTuple):
    """The world as a client sees it."""

    tick: int
    players: list[SeenPlayer]
    gems: list[tuple[float, float]]


def read_snapshot(data: bytes | memoryview) -> Snapshot:
    """For clients: what a snapshot says.

    Raises:
        BadMessage: it is none.
    """
    if len(data) < _HEAD.size:
        raise BadMessage("a snapshot that is cut")
    kind, player_count, gem_count, tick = _HEAD.unpack_from(data)
    gems_at = _HEAD.size + player_count * _PLAYER.size
    if kind != SNAPSHOT or len(data) != gems_at + gem_count * _GEM.size:
        raise BadMessage("no snapshot, or one that is cut")
    players = [
        SeenPlayer(player, x / _SCALE, y / _SCALE, points, heading * math.tau / _TURN, flags)
        for player, x, y, points, heading, flags in _PLAYER.iter_unpack(data[_HEAD.size : gems_at])
    ]
    gems = [(x / _SCALE, y / _SCALE) for x, y in _GEM.iter_unpack(data[gems_at:])]
    return Snapshot(tick, players, gems)
