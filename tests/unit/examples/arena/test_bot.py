"""What a pilot does with what it sees, and what URL its swarm connects to."""

from __future__ import annotations

import math
import random

import pytest

from turbosock import InvalidOption, Loop
from turbosock.examples.arena.bot import Pilot, Swarm
from turbosock.examples.arena.messages import MAY_DASH, SeenPlayer, Snapshot, SnapshotWriter, read_snapshot
from turbosock.examples.arena.world import Button, World

ME = 1
TRIES = 100


def seen(*others: SeenPlayer, gems: list[tuple[float, float]], flags: int = 0, heading: float = 0.0) -> Snapshot:
    return Snapshot(1, [SeenPlayer(ME, 800, 100, 0, heading, flags), *others], gems)


@pytest.mark.parametrize(
    ("gem", "held"),
    [
        ((1000, 100), Button.RIGHT),
        ((600, 100), Button.LEFT),
        ((800, 300), Button.DOWN),
        ((805, 20), Button.UP),
        ((900, 200), Button.RIGHT | Button.DOWN),
        ((801, 101), Button.NONE),
    ],
)
def test_pilot_steers_for_a_gem(gem: tuple[float, float], held: int) -> None:
    assert Pilot(random.Random(1)).buttons(seen(gems=[gem]), ME) == held


def test_pilot_goes_for_the_nearest_gem() -> None:
    assert Pilot(random.Random(1)).buttons(seen(gems=[(1000, 100), (700, 100), (100, 100)]), ME) == Button.LEFT


def test_pilot_without_a_player_or_a_gem_does_nothing() -> None:
    pilot = Pilot(random.Random(1))
    assert pilot.buttons(seen(gems=[(1, 1)]), 7) == Button.NONE
    assert pilot.buttons(seen(gems=[]), ME) == Button.NONE


@pytest.mark.parametrize(
    ("x", "y", "heading", "flags", "dashes"),
    [
        (900, 100, 0.0, MAY_DASH, True),
        (900, 100, 0.0, 0, False),
        (700, 100, 0.0, MAY_DASH, False),
        (900, 150, 0.0, MAY_DASH, False),
        (1200, 100, 0.0, MAY_DASH, False),
        (800, 200, math.pi / 2, MAY_DASH, True),
    ],
)
def test_pilot_dashes_now_and_then_at_who_is_ahead_and_near(
    x: float, y: float, heading: float, flags: int, dashes: bool
) -> None:
    pilot = Pilot(random.Random(1))
    snapshot = seen(SeenPlayer(2, x, y, 0, 0.0, 0), gems=[(1, 1)], flags=flags, heading=heading)
    count = sum(bool(pilot.buttons(snapshot, ME) & Button.DASH) for _ in range(TRIES))
    assert 0 < count < TRIES if dashes else count == 0


def test_pilots_alone_in_a_world_gather_gems() -> None:
    world = World(1)
    writer = SnapshotWriter()
    pilots = {world.join().id: Pilot(random.Random(number)) for number in range(4)}
    for _ in range(1200):
        if world.tick % 10 == 0:
            snapshot = read_snapshot(writer.write(world))
            for player, pilot in pilots.items():
                world.players[player].buttons = pilot.buttons(snapshot, player)
        world.step()
    assert sum(player.points for player in world.players.values()) > 20


@pytest.mark.parametrize("url", ["127.0.0.1:8360", "ftp://127.0.0.1/", ""])
def test_swarm_that_is_given_no_page_says_so(url: str) -> None:
    with Loop() as loop, pytest.raises(InvalidOption, match="url: "):
        Swarm(loop, url, 1)
