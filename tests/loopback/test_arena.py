"""The arena over loopback: what its clients are told, what they may do, and what becomes of those who do more."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.arena_stage import ArenaStage
from support.message_stage import RawClient
from support.peers import unused_port
from support.websocket_loop import handshake, whole_frames
from turbosock import Config, HttpExchange, Loop, TlsConfig, TlsServerConfig
from turbosock.examples.arena import messages
from turbosock.examples.arena.bot import Swarm
from turbosock.examples.arena.rules import CHAT_BURST, MAX_PLAYERS, MAX_UNSENT_BYTES, MESSAGES_PER_S
from turbosock.examples.arena.world import Button
from turbosock.tls.selfsigned import make_self_signed

BOTS = 30
# Each as its first byte and its payload.
Frames = list[tuple[int, bytes]]


@pytest.fixture
def stage() -> Iterator[ArenaStage]:
    with ArenaStage(seed=5) as made:
        yield made


def test_onlooker_is_welcomed_and_sees_every_tick(stage: ArenaStage) -> None:
    onlooker = stage.visitor()
    welcome = onlooker.last("welcome")
    assert welcome is not None and welcome["roster"] == [] and welcome["tick_hz"] == 60
    stage.tick(20)
    first = onlooker.ticks[0]
    assert onlooker.ticks == list(range(first, first + len(onlooker.ticks))) and len(onlooker.ticks) >= 20
    assert onlooker.snapshot is not None and onlooker.snapshot.players == []
    assert len(stage.arena.world.players) == 0


def test_player_is_told_who_it_is_and_the_others_that_it_came_and_left(stage: ArenaStage) -> None:
    onlooker = stage.visitor()
    player = stage.player("  Ada\n")
    assert player.name == "Ada"
    stage.until(lambda: onlooker.last("joined") == {"type": "joined", "id": player.id, "name": "Ada"})
    later = stage.visitor().last("welcome")
    assert later is not None and later["roster"] == [[player.id, "Ada"]]
    player.connection.close()
    stage.until(lambda: onlooker.last("left") == {"type": "left", "id": player.id})
    assert stage.arena.world.players == {} and len(stage.arena.sessions) == 2
    stage.until(lambda: player.closed)
    assert player.connection.close_code == 1000


def test_player_whose_connection_breaks_has_left(stage: ArenaStage) -> None:
    player = stage.player("Ada")
    player.connection.abort()
    stage.until(lambda: not stage.arena.world.players)


def test_name_that_somebody_has_gets_a_number_and_one_that_is_none_is_made(stage: ArenaStage) -> None:
    names = [stage.player(name).name for name in ("Ada", "Ada", "Ada", "", "x" * 40, "x" * 40)]
    assert names == ["Ada", "Ada 2", "Ada 3", "guest 4", "x" * 16, "x" * 12 + " 2"]


def test_player_moves_as_its_keys_say_and_everybody_sees_it(stage: ArenaStage) -> None:
    onlooker = stage.visitor()
    player = stage.player("Ada")
    body = stage.arena.world.players[player.id]
    body.x, body.y = 150, 450
    player.send(messages.steer(Button.RIGHT))
    stage.until(lambda: onlooker.snapshot is not None and onlooker.snapshot.players[0].x > 250)
    player.send(messages.steer(Button.NONE))
    stage.until(lambda: abs(body.vx) < 1)
    assert onlooker.snapshot is not None and onlooker.snapshot.players[0].y == 450


def test_onlooker_steers_nobody(stage: ArenaStage) -> None:
    onlooker = stage.visitor()
    onlooker.send(messages.steer(Button.RIGHT))
    stage.tick(3)
    assert not onlooker.closed


def test_echo_comes_back_as_it_was_before_the_next_tick(stage: ArenaStage) -> None:
    onlooker = stage.visitor()
    onlooker.send(b"\x02abcd")
    stage.outside.flush()
    number = stage.arena.ticks.number
    # Time stands still: nothing but what came makes the server turn.
    for _ in range(100):
        if not onlooker.echoes:
            stage.arena.turn()
            stage.turn_outside()
    assert onlooker.echoes == [b"\x02abcd"] and stage.arena.ticks.number == number


def test_chat_reaches_everybody_as_plain_text(stage: ArenaStage) -> None:
    onlooker, player = stage.visitor(), stage.player("Ada")
    player.send(json.dumps({"type": "chat", "text": " <b>hello</b>\n\u202e "}))
    stage.until(lambda: onlooker.last("chat") is not None and player.last("chat") is not None)
    assert onlooker.last("chat") == {"type": "chat", "name": "Ada", "text": "<b>hello</b>"}


def test_chat_of_an_onlooker_is_not_heard(stage: ArenaStage) -> None:
    onlooker, other = stage.visitor(), stage.visitor()
    onlooker.send('{"type":"chat","text":"hello"}')
    stage.until(lambda: onlooker.texts("notice") == ["Join to chat."])
    assert other.last("chat") is None


def test_chat_that_is_too_fast_is_told_so_and_goes_on_later(stage: ArenaStage) -> None:
    player = stage.player("Ada")
    for number in range(CHAT_BURST + 2):
        player.send(json.dumps({"type": "chat", "text": str(number)}))
    stage.until(lambda: len(player.texts("notice")) == 2)
    assert player.texts("chat") == [str(number) for number in range(CHAT_BURST)]
    stage.tick(120)
    player.send('{"type":"chat","text":"later"}')
    stage.until(lambda: player.texts("chat")[-1] == "later")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x07", "no such binary message"),
        ("hello", "a text that is no JSON"),
        (messages.join("again"), "joined already"),
        (b"\x01" * 5000, "too long a message"),
    ],
)
def test_player_who_breaks_the_rules_is_closed_and_told_why(stage: ArenaStage, data: bytes | str, why: str) -> None:
    onlooker, player = stage.visitor(), stage.player("Ada")
    player.send(data)
    # What comes behind it is not obeyed.
    player.send(messages.join("back"))
    stage.until(lambda: player.closed)
    assert (player.connection.close_code, player.connection.close_reason) == (1008, why)
    assert onlooker.last("left") == {"type": "left", "id": player.id}
    assert stage.arena.world.players == {}
    stage.until(lambda: len(stage.arena.sessions) == 1)


def test_flood_of_messages_ends_with_1008_and_costs_the_others_no_tick(stage: ArenaStage) -> None:
    onlooker, player = stage.visitor(), stage.player("Ada")
    onlooker.ticks.clear()
    for _ in range(3 * MESSAGES_PER_S):
        player.send(messages.steer(Button.UP))
    stage.until(lambda: player.closed)
    assert (player.connection.close_code, player.connection.close_reason) == (1008, "too many messages")
    first = onlooker.ticks[0]
    assert onlooker.ticks == list(range(first, first + len(onlooker.ticks)))
    assert stage.arena.ticks.missed == 0


def test_arena_that_is_full_says_so_and_takes_the_next_when_one_leaves(stage: ArenaStage) -> None:
    others = [stage.arena.world.join() for _ in range(MAX_PLAYERS)]
    visitor = stage.visitor()
    visitor.send(messages.join("Ada"))
    stage.until(lambda: visitor.last("notice") is not None)
    assert visitor.id == 0
    stage.arena.world.leave(others[0])
    visitor.send(messages.join("Ada"))
    stage.until(lambda: visitor.id != 0)


@contextlib.contextmanager
def slow_client(stage: ArenaStage) -> Iterator[RawClient]:
    """A WebSocket that is open and has read nothing since, with little room in the sockets of both ends."""
    client = RawClient(stage.address, receive_bytes=4096)
    client.send(handshake(path="/socket"))
    stage.until(lambda: stage.arena.sessions)
    # The system would take megabytes for it.
    (session,) = stage.arena.sessions.values()
    transport = session.connection.transport
    assert transport is not None
    transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    yield client
    client.close()


def read_on(stage: ArenaStage, client: RawClient, enough: Callable[[Frames], bool]) -> Frames:
    """The frames that a client gets that reads everything from now on, until they are enough."""
    found: Frames = []
    rest = b""
    answered = False

    def reads_enough() -> bool:
        nonlocal answered, rest
        rest += client.take()
        if not answered:
            rest = rest.partition(b"\r\n\r\n")[2]
            answered = True
        more, rest = whole_frames(rest)
        found.extend(more)
        return enough(found)

    stage.until(reads_enough)
    return found


def kinds_of(found: Frames) -> list[str]:
    """The types of the texts among frames."""
    return [json.loads(data)["type"] for first, data in found if first == 0x81]


def test_client_that_does_not_read_gets_the_newest_snapshot_and_no_old_ones(stage: ArenaStage) -> None:
    def is_up_to_date(found: Frames) -> bool:
        first, data = found[-1] if found else (0, b"")
        return first == 0x82 and messages.read_snapshot(data).tick >= stage.arena.world.tick - 1

    with slow_client(stage) as client:
        for _ in range(100):
            stage.arena.world.join()
        stage.until(lambda: stage.loop.stats().messages.replaced > 200)
        (session,) = stage.arena.sessions.values()
        assert session.connection.unsent < 4000
        found = read_on(stage, client, is_up_to_date)
    ticks = [messages.read_snapshot(data).tick for first, data in found if first == 0x82]
    assert ticks == sorted(ticks)
    # One gap, of those that were replaced.
    assert sum(later - earlier > 100 for earlier, later in itertools.pairwise(ticks)) == 1


def test_client_that_missed_what_it_was_told_is_told_all_anew(stage: ArenaStage) -> None:
    with slow_client(stage) as client:
        (session,) = stage.arena.sessions.values()
        join = messages.join("A").encode()
        client.send(bytes((0x81, 0x80 | len(join), 0, 0, 0, 0)) + join)
        stage.until(lambda: session.player is not None)
        while not stage.loop.stats().messages.full:
            stage.arena._tell(messages.notice("x" * 10_000))
            stage.tick()
        assert session.connection.unsent <= MAX_UNSENT_BYTES
        stage.arena._tell(messages.chat("somebody", "x" * 10_000))
        kinds = kinds_of(read_on(stage, client, lambda found: kinds_of(found).count("you") == 2))
    assert kinds[0] == "welcome" and "chat" not in kinds
    anew = kinds[kinds.index("notice") :]
    assert anew[anew.index("welcome") :][:3] == ["welcome", "scores", "you"]


def test_catch_up_makes_every_step_and_one_snapshot(stage: ArenaStage) -> None:
    onlooker = stage.visitor()
    stage.tick(3)
    onlooker.ticks.clear()
    before = stage.arena.world.tick
    stage.clock.advance(3.5 / 60)
    stage.arena.turn()
    for _ in range(100):
        if not onlooker.ticks:
            stage.turn_outside()
    assert stage.arena.world.tick - before in (3, 4) and onlooker.ticks == [stage.arena.world.tick]


# The scoreboard


def test_points_reach_the_scoreboard_and_its_table_everybody(stage: ArenaStage) -> None:
    onlooker, player = stage.visitor(), stage.player("Ada")
    stage.arena.world.players[player.id].points = 7
    stage.until(lambda: (onlooker.last("scores") or {}).get("table") == [["Ada", 7]])
    # Who leaves between two reports is not forgotten.
    stage.arena.world.players[player.id].points = 9
    player.connection.close()
    stage.until(lambda: (onlooker.last("scores") or {}).get("table") == [["Ada", 9]])
    later = stage.visitor()
    stage.until(lambda: later.last("scores") == {"type": "scores", "table": [["Ada", 9]]})


def test_scoreboard_is_another_one_where_that_is_asked_for() -> None:
    asked: list[tuple[str, str, bytes]] = []

    def answer(exchange: HttpExchange) -> None:
        request = exchange.request
        asked.append((request.method, request.target, request.content))
        exchange.respond(200, None, b'[["Zoe", 99]]')

    with Loop() as service:
        listener = service.listen(("127.0.0.1", 0), handler=answer)
        with ArenaStage(scoreboard=listener.url + "/hall?of=fame") as stage:
            player = stage.player("Ada")
            stage.arena.world.players[player.id].points = 3

            def both() -> None:
                service.poll()
                stage._turn_visitors()

            stage.turn_outside = both
            stage.until(lambda: (player.last("scores") or {}).get("table") == [["Zoe", 99]])
            stage.until(lambda: ("POST", "/hall?of=fame", b'{"Ada":3}') in asked)
    assert ("GET", "/hall?of=fame", b"") in asked


def test_scoreboard_that_is_gone_costs_the_game_no_tick() -> None:
    with ArenaStage(scoreboard=f"http://127.0.0.1:{unused_port()}/") as stage:
        player = stage.player("Ada")
        stage.arena.world.players[player.id].points = 3
        player.ticks.clear()
        stage.until(lambda: stage.arena._keeper.failures >= 4)
        first = player.ticks[0]
        assert player.ticks == list(range(first, first + len(player.ticks)))
        assert player.last("scores") == {"type": "scores", "table": None}


# The page


def fetch(stage: ArenaStage, method: str, path: str, inside: bool = False, **headers: str) -> tuple[int, bytes, str]:
    """Status, body and policy that a client that is not ours gets, while the arena turns."""
    url = stage.arena.inside_url if inside else stage.arena.url
    got: list[tuple[int, bytes, str]] = []

    def ask() -> None:
        connection = http.client.HTTPConnection(url.partition("://")[2].rstrip("/"), timeout=20)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        got.append((answer.status, answer.read(), answer.headers.get("content-security-policy", "")))
        connection.close()

    asking = threading.Thread(target=ask)
    asking.start()
    # Time stands still, so that no client is too slow.
    while asking.is_alive():
        stage.arena.turn()
        asking.join(0.001)
    return got[0]


def test_page_is_served_with_a_policy_that_lets_nothing_else_in(stage: ArenaStage) -> None:
    status, body, policy = fetch(stage, "GET", "/?from=a+friend")
    assert status == 200 and body.startswith(b"<!doctype html>") and b"<canvas" in body
    assert policy.startswith("default-src 'none'; connect-src 'self'")
    # Nothing that it would have to fetch from elsewhere.
    assert b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"") and b"https://" not in body
    assert fetch(stage, "HEAD", "/") == (200, b"", policy)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/", 405), ("GET", "/favicon.ico", 404), ("GET", "/scores", 404), ("GET", "/socket", 426)],
)
def test_what_is_not_there_is_said(stage: ArenaStage, method: str, path: str, status: int) -> None:
    assert fetch(stage, method, path)[0] == status


def test_inside_has_the_scoreboard_and_all_that_is_outside(stage: ArenaStage) -> None:
    assert fetch(stage, "GET", "/scores", inside=True)[:2] == (200, b"[]")
    assert fetch(stage, "GET", "/", inside=True)[0] == 200
    assert stage.arena.inside_url.startswith("http://127.0.0.1:")


def test_page_of_another_site_may_not_play(stage: ArenaStage) -> None:
    client = RawClient(stage.address)
    client.send(handshake("Origin: https://elsewhere.example", path="/socket"))
    answer = b""

    def has_answer() -> bool:
        nonlocal answer
        answer += client.take()
        return b"\r\n\r\n" in answer

    stage.until(has_answer)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert not stage.arena.sessions
    client.close()


def test_arena_that_closes_says_goodbye(stage: ArenaStage) -> None:
    player = stage.player("Ada")
    stage.arena.close()
    stage.until(lambda: player.closed)
    assert (player.connection.close_code, player.connection.close_reason) == (1001, "the arena closes")


# Bots


def test_bots_play_and_leave_when_the_arena_closes(stage: ArenaStage) -> None:
    onlooker = stage.visitor()
    with Loop(Config(trust_env=False), clock=stage.clock) as loop:
        swarm = Swarm(loop, stage.arena.url, BOTS, seed=1)

        def both() -> None:
            stage._turn_visitors()
            swarm.turn()

        stage.turn_outside = both
        stage.until(lambda: swarm.playing == BOTS)
        names = {each["name"] for each in onlooker.said if each["type"] == "joined"}
        assert names == {f"bot {number}" for number in range(1, BOTS + 1)}
        stage.until(lambda: sum(player.points for player in stage.arena.world.players.values()) > BOTS)
        stage.until(lambda: len((onlooker.last("scores") or {}).get("table") or ()) == 10)
        assert swarm.snapshots >= BOTS * 30 and stage.arena.ticks.missed == 0
        stage.arena.close()
        stage.until(lambda: not swarm.open)
        assert (swarm.playing, swarm.errors) == (0, [])


def test_bots_play_by_wss_and_know_whom_to_trust(tmp_path: Path) -> None:
    made = make_self_signed("127.0.0.1")
    tls = TlsServerConfig(made.write(tmp_path))
    with ArenaStage(made.ca_pem, tls=tls) as stage, Loop(Config(tls=TlsConfig(ca_data=made.ca_pem))) as loop:
        assert stage.arena.url.startswith("https://")
        player = stage.player("Ada")
        swarm = Swarm(loop, stage.arena.url, 3)

        def both() -> None:
            stage._turn_visitors()
            swarm.turn()

        stage.turn_outside = both
        stage.until(lambda: swarm.playing == 3)
        assert player.snapshot is not None and len(player.snapshot.players) == 4


def test_bot_that_is_refused_says_why() -> None:
    with Loop(Config(trust_env=False)) as loop:
        swarm = Swarm(loop, f"http://127.0.0.1:{unused_port()}/", 2)
        while swarm.open:
            swarm.turn(1.0)
        assert len(swarm.errors) == 2 and "nothing listens there" in str(swarm.errors[0])
