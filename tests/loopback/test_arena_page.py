"""The arena's page in a real browser: what a person who opens it is shown, and what its keys do.

The arena runs in real time in a thread of its own; what is waited for is waited for in the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.chromium import Browser, Page
from support.peers import unused_port
from support.running_arena import RunningArena
from turbosock import TlsServerConfig
from turbosock.connection.http2_tunnel import Http2Tunnel
from turbosock.examples.arena.server import Arena
from turbosock.examples.arena.session import Session
from turbosock.examples.arena.world import Player
from turbosock.tls.selfsigned import make_self_signed

BOTS = 3

# How many pixels of the field have a colour that nothing else on it has, and their middle, in pixels of the canvas.
PIXELS = """(([red, green, blue]) => {
    const canvas = document.querySelector("#field");
    const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let count = 0, x = 0, y = 0;
    for (let at = 0; at < data.length; at += 4) {
        if (data[at] === red && data[at + 1] === green && data[at + 2] === blue) {
            count++; x += at / 4 % width; y += Math.floor(at / 4 / width);
        }
    }
    return { count, x: x / count, y: y / count };
})"""
ME = "[0xff, 0xd1, 0x66]"
GEM = "[0x5c, 0xe1, 0xe6]"


def session_of(arena: Arena, name: str) -> Session:
    """Who plays under a name."""
    return next(session for session in arena.sessions.values() if session.name == name)


def player(arena: Arena, name: str) -> Player:
    """What somebody steers."""
    found = session_of(arena, name).player
    assert found is not None
    return found


def put_apart(arena: Arena, name: str) -> None:
    """Put one to the left, where nothing is in the way, and everybody else to the right, at rest."""
    for number, each in enumerate(arena.world.players.values()):
        each.buttons, each.vx, each.vy = 0, 0.0, 0.0
        each.x, each.y = 1500.0, 100.0 + 50 * number
    one = player(arena, name)
    one.x, one.y = 150.0, 450.0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


def come_in(page: Page, name: str) -> None:
    """Join as a person does."""
    page.until("!document.querySelector('#play').disabled")
    page.click("#name")
    page.write(name)
    page.click("#play")
    page.until("document.querySelector('#entrance').hidden && document.querySelector('#points').textContent")


def rows(page: Page, table: str) -> list[str]:
    """The names in a table of scores."""
    names: list[str] = page.evaluate(
        f"[...document.querySelectorAll('#{table} li')].map((row) => row.firstChild.textContent)"
    )
    return names


def test_page_shows_the_game_and_plays_it(browser: Browser) -> None:
    with RunningArena(BOTS) as arena:
        page = browser.open(arena.url)

        # An onlooker sees that it is connected, who plays, and gems.
        page.until("document.querySelector('#state').dataset.state === 'connected'")
        page.until("/^[0-9.]+ ms$/.test(document.querySelector('#latency').textContent)")
        page.until(f"document.querySelector('#count').textContent === '{BOTS} players'")
        page.until(f"document.querySelectorAll('#now li').length === {BOTS}")
        assert sorted(rows(page, "now")) == [f"bot {number}" for number in range(1, BOTS + 1)]
        page.until(f"{PIXELS}({GEM}).count > 100")
        page.until("document.querySelector('#best li') && document.querySelector('#best-state').hidden")
        assert page.evaluate(f"{PIXELS}({ME}).count") == 0
        assert not page.evaluate("document.querySelector('#entrance').hidden")

        # It comes in, and is on the field in its own colour, in the table, and in the server's world.
        come_in(page, "Ada")
        page.until(f"{PIXELS}({ME}).count > 100")
        page.until("document.querySelector('#now .me')?.firstChild.textContent === 'Ada'")
        page.until("document.querySelector('#log').innerText.includes('Ada came in')")
        assert arena.ask(lambda each: player(each, "Ada").id) > 0

        # A key moves it, on the screen and in the world.
        arena.bots_play = False
        arena.ask(lambda each: put_apart(each, "Ada"))
        page.until(f"{PIXELS}({ME}).x < 200")
        before = page.evaluate(f"{PIXELS}({ME}).x")
        page.press("d", "KeyD")
        page.until(f"{PIXELS}({ME}).x > {before} + 60")
        page.release("d", "KeyD")
        page.until("/you are at [0-9]+, 450$/.test(document.querySelector('#field').ariaLabel)")

        # Chat goes to everybody, as text and nothing else; and typing there steers nobody.
        page.press("Enter", "Enter")
        page.until("document.activeElement === document.querySelector('#say')")
        page.write("<i>dash & wasd</i>")
        page.press("Enter", "Enter")
        page.until("document.querySelector('#log').innerText.includes('Ada <i>dash & wasd</i>')")
        page.until("document.activeElement === document.querySelector('#field')")
        assert arena.ask(lambda each: player(each, "Ada").buttons) == 0

        # Points that it has are shown, and reach the scoreboard.
        arena.ask(lambda each: setattr(player(each, "Ada"), "points", 500))
        page.until("/^50[0-9] points$/.test(document.querySelector('#points').textContent)")
        page.until("document.querySelector('#now li').firstChild.textContent === 'Ada'")
        page.until("document.querySelector('#best li').firstChild.textContent === 'Ada'")
        assert page.complaints == []


def test_page_says_that_the_connection_is_lost_and_comes_back_by_itself(browser: Browser) -> None:
    with RunningArena(BOTS) as arena:
        page = browser.open(arena.url)
        come_in(page, "Bob")

        def lose(each: Arena) -> int:
            left = player(each, "Bob").id
            each.put_out(session_of(each, "Bob"), "gone for tea")
            return left

        # The page notes what it showed, because it may be back sooner than anybody looks.
        page.evaluate(
            "window.shown = []; new MutationObserver(() => shown.push(document.querySelector('#state').textContent))"
            ".observe(document.querySelector('#state'), { childList: true, characterData: true, subtree: true }), 0"
        )
        first = arena.ask(lose)
        page.until("shown.some((text) => text.startsWith('gone for tea – again in 0.5 s'))")
        page.until("document.querySelector('#state').textContent === 'connected'")
        page.until("document.querySelector('#now .me')?.firstChild.textContent === 'Bob'")
        page.until(f"{PIXELS}({ME}).count > 100")
        assert arena.ask(lambda each: player(each, "Bob").id) != first
        assert page.complaints == []


def test_page_follows_the_pointer_and_says_that_there_is_no_scoreboard(browser: Browser) -> None:
    with RunningArena(BOTS, scoreboard=f"http://127.0.0.1:{unused_port()}/") as arena:
        page = browser.open(arena.url)
        come_in(page, "Cid")
        page.until("document.querySelector('#best-state').innerText === 'the scoreboard does not answer'")
        arena.bots_play = False
        arena.ask(lambda each: put_apart(each, "Cid"))
        page.until(f"{PIXELS}({ME}).x < 200")
        before = page.evaluate(f"{PIXELS}({ME})")
        at = {"x": before["x"] + 300, "y": before["y"], "button": "left", "clickCount": 1}
        page.call("Input.dispatchMouseEvent", type="mousePressed", **at)
        page.until(f"{PIXELS}({ME}).x > {before['x']} + 60")
        page.call("Input.dispatchMouseEvent", type="mouseReleased", **at)
        page.until("sent === 0")
        assert page.complaints == []


def test_page_plays_over_https_and_wss(browser: Browser, tmp_path: Path) -> None:
    made = make_self_signed("127.0.0.1")
    with RunningArena(BOTS, tls=TlsServerConfig(made.write(tmp_path))) as arena:
        assert arena.url.startswith("https://")
        page = browser.open(arena.url)
        come_in(page, "Eve")
        page.until(f"{PIXELS}({ME}).count > 100")
        assert page.evaluate("socket.url").startswith("wss://")
        # On a stream of the HTTP/2 connection that the page came by (RFC 8441).
        assert isinstance(arena.ask(lambda each: session_of(each, "Eve").connection.transport), Http2Tunnel)
        assert page.complaints == []
