"""World: the simulation. It knows no network and no time: `step()` is one tick, whenever that is called.

Invariants: the same seed and the same calls give the same world, to the last bit; every player is inside the walls
after each step; no two players have the same id.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from dataclasses import dataclass
from enum import IntFlag
from operator import attrgetter
from typing import Final

from turbosock.examples.arena.rules import (
    ACCELERATION,
    BOUNCE,
    DASH_SPEED,
    DASH_TICKS,
    DASH_WAIT_TICKS,
    DRAG,
    GEM_RADIUS,
    GEMS,
    HEIGHT,
    MAX_ID,
    MAX_PLAYERS,
    MAX_POINTS,
    PILLARS,
    PLACE_ATTEMPTS,
    RADIUS,
    ROBBED_POINTS,
    SAFE_TICKS,
    TICK_RATE_HZ,
    WIDTH,
)

_STEP_S: Final = 1 / TICK_RATE_HZ
_REACH: Final = RADIUS + GEM_RADIUS
_by_x: Final = attrgetter("x")


class Button(IntFlag):
    """What a player holds down."""

    NONE = 0
    UP = 1
    DOWN = 2
    LEFT = 4
    RIGHT = 8
    DASH = 16


ALL_BUTTONS: Final = 31


def _direction(buttons: int) -> tuple[float, float]:
    x = bool(buttons & Button.RIGHT) - bool(buttons & Button.LEFT)
    y = bool(buttons & Button.DOWN) - bool(buttons & Button.UP)
    length = math.hypot(x, y) or 1.0
    return x / length, y / length


# The direction of each combination of the four arrows, as (x, y) of length 1 or 0.
_DIRECTIONS: Final = tuple(_direction(buttons) for buttons in range(16))


@dataclass(slots=True, eq=False)
class Player:
    """One disc.

    Attributes:
        id: 1 to MAX_ID.
        x, y: its centre.
        vx, vy: its speed.
        heading: where it steers, or last did, as a direction of length 1.
        buttons: what is held down, set by whoever plays it.
        points: what it has gathered.
        dash_left, dash_wait, safe_left: ticks that it still dashes, until it may again, and that it cannot be robbed.
    """

    id: int
    x: float
    y: float
    vx: float = 0.0
    vy: float = 0.0
    heading: tuple[float, float] = (1.0, 0.0)
    buttons: int = 0
    points: int = 0
    dash_left: int = 0
    dash_wait: int = 0
    safe_left: int = 0


@dataclass(slots=True, eq=False)
class Gem:
    """One gem, which is somewhere else as soon as it was taken."""

    x: float
    y: float


class World:
    """Everything that moves; see the module.

    Args:
        seed: of all that is left to chance.

    Attributes:
        tick: steps so far.
        players: by their id.
        gems: always as many.
    """

    __slots__ = ("_last_id", "_random", "gems", "players", "tick")

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._last_id = 0
        self.tick = 0
        self.players: dict[int, Player] = {}
        self.gems = [Gem(*self._free_place(GEM_RADIUS)) for _ in range(GEMS)]

    @property
    def full(self) -> bool:
        """Whether nobody else can join."""
        return len(self.players) >= MAX_PLAYERS

    def join(self) -> Player:
        """A new player at a free place. The caller has seen that the world is not full."""
        assert not self.full, "the caller looks"
        # Ids are 16 bits wide on the wire; they begin anew when they are used up, and skip those who are still here.
        while True:
            self._last_id = self._last_id % MAX_ID + 1
            if self._last_id not in self.players:
                break
        player = Player(self._last_id, *self._free_place(RADIUS))
        self.players[player.id] = player
        return player

    def leave(self, player: Player) -> None:
        """Take a player out."""
        del self.players[player.id]

    def step(self) -> None:
        """One tick."""
        self.tick += 1
        for player in self.players.values():
            _move(player)
        # In the order of x, those who can touch something stand next to each other.
        line = sorted(self.players.values(), key=_by_x)
        self._collect(line)
        _collide(line)

    def _collect(self, line: list[Player]) -> None:
        for gem in self.gems:
            taker = None
            nearest = float(_REACH)
            for i in range(bisect_left(line, gem.x - _REACH, key=_by_x), len(line)):
                player = line[i]
                if player.x > gem.x + _REACH:
                    break
                distance = math.hypot(player.x - gem.x, player.y - gem.y)
                if distance < nearest:
                    nearest = distance
                    taker = player
            if taker is not None:
                taker.points = min(taker.points + 1, MAX_POINTS)
                gem.x, gem.y = self._free_place(GEM_RADIUS)

    def _free_place(self, radius: int) -> tuple[float, float]:
        """A place for something of this radius that touches no pillar and no player, if one is found soon."""
        place = (0.0, 0.0)
        for _ in range(PLACE_ATTEMPTS):
            x = self._random.uniform(radius, WIDTH - radius)
            y = self._random.uniform(radius, HEIGHT - radius)
            place = (x, y)
            if all(math.hypot(x - at_x, y - at_y) > radius + size for at_x, at_y, size in PILLARS) and all(
                math.hypot(x - player.x, y - player.y) > radius + RADIUS for player in self.players.values()
            ):
                break
        return place


def _move(player: Player) -> None:
    x, y = _DIRECTIONS[player.buttons & 15]
    if x or y:
        player.heading = (x, y)
    player.vx += (x * ACCELERATION - player.vx * DRAG) * _STEP_S
    player.vy += (y * ACCELERATION - player.vy * DRAG) * _STEP_S
    player.dash_left = max(0, player.dash_left - 1)
    player.dash_wait = max(0, player.dash_wait - 1)
    player.safe_left = max(0, player.safe_left - 1)
    if player.buttons & Button.DASH and not player.dash_wait:
        player.vx += player.heading[0] * DASH_SPEED
        player.vy += player.heading[1] * DASH_SPEED
        player.dash_left = DASH_TICKS
        player.dash_wait = DASH_WAIT_TICKS
    player.x += player.vx * _STEP_S
    player.y += player.vy * _STEP_S
    for pillar_x, pillar_y, size in PILLARS:
        away_x, away_y = player.x - pillar_x, player.y - pillar_y
        distance = math.hypot(away_x, away_y)
        if distance < size + RADIUS:
            _push_off(player, away_x, away_y, distance, size + RADIUS)
    _keep_inside(player)


def _push_off(player: Player, away_x: float, away_y: float, distance: float, reach: float) -> None:
    """Put a player to the edge of what stands still, and turn its speed away from that."""
    normal_x, normal_y = (away_x / distance, away_y / distance) if distance else (1.0, 0.0)
    player.x += normal_x * (reach - distance)
    player.y += normal_y * (reach - distance)
    towards = player.vx * normal_x + player.vy * normal_y
    if towards < 0:
        player.vx -= (1 + BOUNCE) * towards * normal_x
        player.vy -= (1 + BOUNCE) * towards * normal_y


def _keep_inside(player: Player) -> None:
    if player.x < RADIUS or player.x > WIDTH - RADIUS:
        player.x = min(max(player.x, RADIUS), WIDTH - RADIUS)
        player.vx *= -BOUNCE
    if player.y < RADIUS or player.y > HEIGHT - RADIUS:
        player.y = min(max(player.y, RADIUS), HEIGHT - RADIUS)
        player.vy *= -BOUNCE


def _collide(line: list[Player]) -> None:
    """Let those who touch push each other off; `line` is in the order of x."""
    for i, one in enumerate(line):
        for j in range(i + 1, len(line)):
            other = line[j]
            if other.x - one.x >= 2 * RADIUS:
                break
            away_x, away_y = other.x - one.x, other.y - one.y
            distance = math.hypot(away_x, away_y)
            if distance < 2 * RADIUS:
                _bump(one, other, away_x, away_y, distance)


def _bump(one: Player, other: Player, away_x: float, away_y: float, distance: float) -> None:
    """Two players of equal weight meet."""
    normal_x, normal_y = (away_x / distance, away_y / distance) if distance else (1.0, 0.0)
    overlap = (2 * RADIUS - distance) / 2
    one.x -= normal_x * overlap
    one.y -= normal_y * overlap
    other.x += normal_x * overlap
    other.y += normal_y * overlap
    _keep_inside(one)
    _keep_inside(other)
    towards = (one.vx - other.vx) * normal_x + (one.vy - other.vy) * normal_y
    if towards > 0:
        push = towards * (1 + BOUNCE) / 2
        one.vx -= push * normal_x
        one.vy -= push * normal_y
        other.vx += push * normal_x
        other.vy += push * normal_y
    if one.dash_left and not other.dash_left:
        _rob(one, other)
    elif other.dash_left and not one.dash_left:
        _rob(other, one)


def _rob(robber: Player, victim: Player) -> None:
    if victim.safe_left:
        return
    victim.safe_left = SAFE_TICKS
    points = min(ROBBED_POINTS, victim.points)
    victim.points -= points
    robber.points = min(robber.points + points, MAX_POINTS)
