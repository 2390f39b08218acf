"""Bots: clients of the arena that play by themselves, as many as wanted in one Loop.

A Pilot decides: it sees what a player sees, a snapshot and its own id, and says which buttons it holds down. A Swarm
connects pilots to an arena; it is one more program around `Loop.poll()`, and a load to try a server with.
"""

from __future__ import annotations

import json
import math
import random
from typing import Final

from turbosock import EventKind, InvalidOption, Loop, TurbosockError, WebSocketConnection
from turbosock.examples.arena import messages
from turbosock.examples.arena.messages import MAY_DASH, SNAPSHOT, Snapshot
from turbosock.examples.arena.rules import MAX_MESSAGE_BYTES, RADIUS, TICK_RATE_HZ
from turbosock.examples.arena.world import Button

# How often a pilot looks: a human needs a quarter of a second.
THINK_TICKS: Final = TICK_RATE_HZ // 6
# It dashes at what is so far ahead, at most.
_DASH_REACH: Final = 200.0
# How likely it does so, each time that it thinks and may.
_DASH_CHANCE: Final = 0.3
# It is content with so much less than the very direction: otherwise it would wriggle.
_SLACK: Final = RADIUS / 2


class Pilot:
    """Plays one player: it goes for the nearest gem, and now and then dashes at who stands in its way.

    Args:
        chance: of its own.
    """

    __slots__ = ("_chance",)

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def buttons(self, snapshot: Snapshot, own_id: int) -> int:
        """What to hold down now."""
        me = next((each for each in snapshot.players if each.id == own_id), None)
        if me is None or not snapshot.gems:
            return Button.NONE
        x, y = min(snapshot.gems, key=lambda gem: math.hypot(gem[0] - me.x, gem[1] - me.y))
        held = Button.NONE
        if abs(x - me.x) > _SLACK:
            held |= Button.RIGHT if x > me.x else Button.LEFT
        if abs(y - me.y) > _SLACK:
            held |= Button.DOWN if y > me.y else Button.UP
        if me.flags & MAY_DASH and self._chance.random() < _DASH_CHANCE:
            for other in snapshot.players:
                ahead = (other.x - me.x) * math.cos(me.heading) + (other.y - me.y) * math.sin(me.heading)
                aside = (other.y - me.y) * math.cos(me.heading) - (other.x - me.x) * math.sin(me.heading)
                if other.id != own_id and 0 < ahead < _DASH_REACH and abs(aside) < RADIUS:
                    held |= Button.DASH
        return held


class _Bot:
    """One WebSocket with a pilot, in `connection.user`."""

    __slots__ = ("held", "id", "name", "pilot", "think_tick")

    def __init__(self, name: str, pilot: Pilot, delay: int) -> None:
        self.name = name
        self.pilot = pilot
        self.id = 0
        self.held = 0
        # Not all of them think in the same tick.
        self.think_tick = delay


class Swarm:
    """Bots in one Loop: call `turn()` until none is left.

    Args:
        loop: all of its events are the swarm's.
        url: of the arena's page, as in "http://127.0.0.1:8360/".
        count: how many.
        seed: of what they leave to chance.

    Attributes:
        open: how many are connected, or still being so.
        playing: how many play.
        snapshots: how many came, in all.
        errors: why bots ended, other than by the arena's own word.

    Raises:
        InvalidOption: the URL cannot be one of an arena.
    """

    __slots__ = ("_loop", "errors", "open", "playing", "snapshots")

    def __init__(self, loop: Loop, url: str, count: int, *, seed: int = 0) -> None:
        self._loop = loop
        self.open = 0
        self.playing = 0
        self.snapshots = 0
        self.errors: list[TurbosockError] = []
        socket_url = _socket_url(url)
        for number in range(1, count + 1):
            pilot = Pilot(random.Random(f"{seed} {number}"))
            bot = _Bot(f"bot {number}", pilot, number % THINK_TICKS)
            loop.websocket(socket_url, user=bot, max_message=MAX_MESSAGE_BYTES)
            self.open += 1

    def turn(self, timeout: float | None = 0.0, *, max_time: float | None = None) -> None:
        """Poll once, and play; arguments as `Loop.poll`."""
        loop = self._loop
        loop.poll(timeout, max_time=max_time)
        for event in loop.events:
            connection = event.connection
            assert isinstance(connection, WebSocketConnection), "the loop has no others"
            bot = connection.user
            if event.kind is EventKind.OPEN:
                connection.send(messages.join(bot.name))
            elif event.kind is EventKind.MESSAGE:
                self._take(connection, bot, event.data)
            elif event.kind is EventKind.CLOSED:
                self.open -= 1
                self.playing -= bot.id != 0
                if event.error is not None:
                    self.errors.append(event.error)
        loop.flush()

    def _take(self, connection: WebSocketConnection, bot: _Bot, data: bytes | memoryview | str) -> None:
        if isinstance(data, str):
            said = json.loads(data)
            if said["type"] == "you" and not bot.id:
                bot.id = said["id"]
                self.playing += 1
        elif data[0] == SNAPSHOT:
            self.snapshots += 1
            # Most snapshots are not even read: the tick stands at the same place in all of them.
            tick = int.from_bytes(data[4:8], "little")
            if bot.id and tick >= bot.think_tick:
                bot.think_tick = tick + THINK_TICKS
                held = bot.pilot.buttons(messages.read_snapshot(data), bot.id)
                if held != bot.held:
                    bot.held = held
                    connection.send(messages.steer(held))


def _socket_url(page_url: str) -> str:
    """Where a page's WebSocket is."""
    scheme, mark, rest = page_url.partition("://")
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
    if not mark or scheme.lower() not in schemes:
        raise InvalidOption("url: give the address of the arena's page, as in http://127.0.0.1:8360/")
    return f"{schemes[scheme.lower()]}://{rest.partition('/')[0]}/socket"
