"""The world of the arena: how discs move, meet, gather and rob; and that nothing but the seed decides it."""

from __future__ import annotations

import math
import random

import pytest

from support.seeds import seeds
from turbosock.examples.arena.rules import (
    ACCELERATION,
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
    RADIUS,
    ROBBED_POINTS,
    SAFE_TICKS,
    WIDTH,
)
from turbosock.examples.arena.world import Button, Player, World

# An open place: no pillar is near.
OPEN_X, OPEN_Y = 150.0, 450.0
TOP_SPEED = ACCELERATION / DRAG


def bare_world() -> World:
    """A world without gems, so that nothing but what a test does gives points."""
    world = World()
    world.gems.clear()
    return world


def placed(world: World, x: float, y: float, **attributes: object) -> Player:
    """A player who stands at a place of the test's choice."""
    player = world.join()
    player.x, player.y = x, y
    for name, value in attributes.items():
        setattr(player, name, value)
    return player


def test_player_who_holds_a_key_reaches_the_top_speed_and_keeps_it() -> None:
    world = bare_world()
    player = placed(world, OPEN_X, 100, buttons=Button.RIGHT)
    for _ in range(120):
        world.step()
    assert player.vx == pytest.approx(TOP_SPEED, rel=0.01) and player.vy == 0
    assert player.heading == (1.0, 0.0)


def test_player_who_lets_go_comes_to_rest() -> None:
    world = bare_world()
    player = placed(world, OPEN_X, 100, vx=TOP_SPEED)
    for _ in range(180):
        world.step()
    assert abs(player.vx) < 1


@pytest.mark.parametrize(
    ("buttons", "direction"),
    [
        (Button.UP, (0, -1)),
        (Button.DOWN, (0, 1)),
        (Button.LEFT, (-1, 0)),
        (Button.RIGHT, (1, 0)),
        (Button.UP | Button.RIGHT, (math.sqrt(0.5), -math.sqrt(0.5))),
        (Button.LEFT | Button.RIGHT, (0, 0)),
        (Button.UP | Button.DOWN | Button.LEFT, (-1, 0)),
        (Button.NONE, (0, 0)),
    ],
)
def test_player_steers_where_its_keys_say_never_faster_aslant(buttons: int, direction: tuple[float, float]) -> None:
    world = bare_world()
    player = placed(world, OPEN_X, OPEN_Y, buttons=buttons)
    world.step()
    speed = ACCELERATION / 60
    assert (player.vx, player.vy) == pytest.approx((direction[0] * speed, direction[1] * speed))


def test_dash_adds_speed_once_and_is_ready_again_after_its_time() -> None:
    world = bare_world()
    player = placed(world, OPEN_X, OPEN_Y, heading=(0.0, -1.0), buttons=Button.DASH)
    world.step()
    assert player.vy == -DASH_SPEED and player.dash_left == DASH_TICKS
    for _ in range(DASH_WAIT_TICKS - 1):
        world.step()
    assert player.dash_left == 0 and player.dash_wait == 1
    world.step()
    assert player.dash_left == DASH_TICKS


@pytest.mark.parametrize("buttons", [Button.LEFT, Button.RIGHT, Button.UP, Button.DOWN, Button.UP | Button.LEFT])
def test_wall_holds_a_player_who_dashes_against_it(buttons: int) -> None:
    world = bare_world()
    player = placed(world, OPEN_X, OPEN_Y, buttons=buttons | Button.DASH)
    for _ in range(600):
        world.step()
        assert RADIUS <= player.x <= WIDTH - RADIUS and RADIUS <= player.y <= HEIGHT - RADIUS


@pytest.mark.parametrize("pillar", PILLARS)
def test_pillar_throws_back_a_player_who_dashes_against_it(pillar: tuple[int, int, int]) -> None:
    world = bare_world()
    x, y, size = pillar
    player = placed(world, x - size - RADIUS - 5, y, vx=2 * DASH_SPEED)
    world.step()
    assert math.hypot(player.x - x, player.y - y) == pytest.approx(size + RADIUS)
    assert player.vx < 0


def test_player_inside_a_pillar_comes_out() -> None:
    world = bare_world()
    x, y, size = PILLARS[0]
    player = placed(world, x, y)
    world.step()
    assert math.hypot(player.x - x, player.y - y) == pytest.approx(size + RADIUS)


@pytest.mark.parametrize("distance", [0.0, 1.0, 2 * RADIUS - 1])
def test_players_who_overlap_are_pushed_apart(distance: float) -> None:
    world = bare_world()
    one = placed(world, OPEN_X, OPEN_Y)
    other = placed(world, OPEN_X, OPEN_Y + distance)
    world.step()
    assert math.hypot(one.x - other.x, one.y - other.y) == pytest.approx(2 * RADIUS)


def test_players_who_meet_give_each_other_their_speed_and_lose_some() -> None:
    world = bare_world()
    one = placed(world, OPEN_X, OPEN_Y, vx=300)
    other = placed(world, OPEN_X + 2 * RADIUS, OPEN_Y)
    world.step()
    assert 0 < one.vx < other.vx < 300


def test_players_apart_in_one_direction_only_do_not_touch() -> None:
    world = bare_world()
    one = placed(world, OPEN_X, OPEN_Y)
    other = placed(world, OPEN_X, OPEN_Y + 2 * RADIUS + 1)
    world.step()
    assert (one.x, one.y, other.x, other.y) == (OPEN_X, OPEN_Y, OPEN_X, OPEN_Y + 2 * RADIUS + 1)


def test_dash_into_another_robs_it_and_then_it_is_safe_for_a_while() -> None:
    world = bare_world()
    robber = placed(world, OPEN_X, OPEN_Y, buttons=Button.DASH)
    victim = placed(world, OPEN_X + 2 * RADIUS, OPEN_Y, points=ROBBED_POINTS + 1)
    world.step()
    assert (robber.points, victim.points) == (ROBBED_POINTS, 1)
    assert victim.safe_left == SAFE_TICKS
    robber.x, victim.x, robber.vx, victim.vx = OPEN_X, OPEN_X + 2 * RADIUS - 1, 0, 0
    world.step()
    assert (robber.points, victim.points) == (ROBBED_POINTS, 1)
    for _ in range(SAFE_TICKS):
        world.step()
    assert victim.safe_left == 0


@pytest.mark.parametrize("robber_is_left", [True, False])
def test_who_has_less_than_is_robbed_loses_all_of_it(robber_is_left: bool) -> None:
    world = bare_world()
    at = [OPEN_X, OPEN_X + 2 * RADIUS - 1]
    robber = placed(world, at[not robber_is_left], OPEN_Y, dash_left=5)
    victim = placed(world, at[robber_is_left], OPEN_Y, points=1)
    world.step()
    assert (robber.points, victim.points) == (1, 0)


def test_two_who_dash_into_each_other_keep_what_they_have() -> None:
    world = bare_world()
    one = placed(world, OPEN_X, OPEN_Y, dash_left=5, points=5)
    other = placed(world, OPEN_X + RADIUS, OPEN_Y, dash_left=5, points=5)
    world.step()
    assert (one.points, other.points) == (5, 5)


def test_gem_in_reach_is_taken_and_is_somewhere_else() -> None:
    world = World()
    gem = world.gems[0]
    del world.gems[1:]
    at = gem.x, gem.y
    player = placed(world, gem.x + RADIUS + GEM_RADIUS - 1, gem.y)
    world.step()
    assert player.points == 1
    assert (gem.x, gem.y) != at


def test_gem_between_two_goes_to_the_nearer_one() -> None:
    world = World()
    gem = world.gems[0]
    del world.gems[1:]
    gem.x, gem.y = OPEN_X, OPEN_Y
    farther = placed(world, OPEN_X - RADIUS - 5, OPEN_Y)
    nearer = placed(world, OPEN_X + RADIUS + 3, OPEN_Y)
    world.step()
    assert (nearer.points, farther.points) == (1, 0)


def test_gem_out_of_reach_stays() -> None:
    world = World()
    gem = world.gems[0]
    del world.gems[1:]
    gem.x, gem.y = OPEN_X, OPEN_Y
    player = placed(world, OPEN_X + RADIUS, OPEN_Y + RADIUS)
    world.step()
    assert player.points == 0 and (gem.x, gem.y) == (OPEN_X, OPEN_Y)


def test_points_end_where_the_wire_cannot_say_more() -> None:
    world = bare_world()
    robber = placed(world, OPEN_X, OPEN_Y, dash_left=5, points=MAX_POINTS)
    placed(world, OPEN_X + RADIUS, OPEN_Y, points=5)
    world.step()
    assert robber.points == MAX_POINTS


def test_gems_and_newcomers_touch_no_pillar_and_nobody() -> None:
    world = World(7)
    for _ in range(40):
        world.join()
    things = [(each.x, each.y, RADIUS) for each in world.players.values()]
    for i, (x, y, radius) in enumerate(things):
        for other_x, other_y, other_radius in [*PILLARS, *things[:i]]:
            assert math.hypot(x - other_x, y - other_y) >= radius + other_radius
    assert len(world.gems) == GEMS
    for gem in world.gems:
        assert all(math.hypot(gem.x - x, gem.y - y) > GEM_RADIUS + size for x, y, size in PILLARS)


def test_world_takes_no_more_than_it_has_room_for_and_ids_are_used_again_only_when_free() -> None:
    world = World()
    first = world.join()
    for _ in range(MAX_PLAYERS - 1):
        world.join()
    assert world.full
    world._last_id = MAX_ID - 1
    last = next(each for each in world.players.values() if each is not first)
    world.leave(last)
    assert not world.full
    assert world.join().id == MAX_ID
    world.leave(world.players[MAX_ID])
    # The next one would be 1, which the first one has.
    assert world.join().id == last.id


def played(seed: int, ticks: int) -> World:
    """A world in which many players press keys at random, come and go."""
    chance = random.Random(seed)
    world = World(seed)
    for _ in range(ticks):
        if chance.random() < 0.1 and len(world.players) < 30:
            world.join()
        if chance.random() < 0.02 and world.players:
            world.leave(chance.choice(list(world.players.values())))
        for player in world.players.values():
            if chance.random() < 0.1:
                player.buttons = chance.randrange(32)
        world.step()
        for player in world.players.values():
            assert RADIUS <= player.x <= WIDTH - RADIUS and RADIUS <= player.y <= HEIGHT - RADIUS
            assert 0 <= player.points <= MAX_POINTS
    return world


def state(world: World) -> list[tuple[object, ...]]:
    players = [(each.id, each.x, each.y, each.vx, each.vy, each.points) for each in world.players.values()]
    return [*players, *((gem.x, gem.y) for gem in world.gems)]


@pytest.mark.parametrize("seed", seeds(3))
def test_world_with_the_same_seed_and_input_is_the_same_to_the_last_bit(seed: int) -> None:
    assert state(played(seed, 600)) == state(played(seed, 600))


def test_worlds_of_other_seeds_differ() -> None:
    assert state(World(1)) != state(World(2))
