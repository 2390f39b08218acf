"""Arena: the server. One Loop and one TickClock: players, the page, and the scoreboard, in one thread.

A turn receives within its budget, takes the events, makes the steps of the world that are due, tells everybody how it
looks, and sends within its budget. Nothing in it waits but for the next tick, and nothing that a client does costs
another one a tick:

- who sends too much is read in turns with the others, and closed with 1008 when it goes on;
- who does not read gets the newest snapshot and no old ones (`key=`); when it has missed something else, it is told
  everything anew as soon as there is room (WRITABLE);
- who breaks the rules is closed with 1008 and told why.
"""

from __future__ import annotations

import importlib.resources
from types import TracebackType
from typing import Final

from turbosock import (
    Event,
    EventKind,
    HttpExchange,
    Loop,
    TickClock,
    TlsServerConfig,
    WebSocketConnection,
    WebSocketSettings,
)
from turbosock.examples.arena import messages
from turbosock.examples.arena.messages import BadMessage, Chat, Echo, Join, SnapshotWriter, Steer
from turbosock.examples.arena.rules import (
    FLUSH_BUDGET_S,
    MAX_CONNECTIONS,
    MAX_MESSAGE_BYTES,
    MAX_NAME_CHARS,
    MAX_UNSENT_BYTES,
    POLL_BUDGET_S,
    SCORES_INTERVAL_TICKS,
    TICK_RATE_HZ,
    WRITE_TIMEOUT_S,
)
from turbosock.examples.arena.score_keeper import ScoreKeeper
from turbosock.examples.arena.scoreboard import ScoreBoard
from turbosock.examples.arena.session import Session
from turbosock.examples.arena.world import World

GOING_AWAY: Final = 1001
POLICY_VIOLATION: Final = 1008
# How long the last words may take when the arena closes.
_PARTING_S: Final = 0.1

_PAGE: Final = importlib.resources.files(__package__).joinpath("page.html").read_bytes()
_PAGE_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; connect-src 'self'; img-src data:; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
}
_TEXT: Final = {"Content-Type": "text/plain"}

# What this answers: the page at /, its WebSocket at /socket.
SOCKET_PATH: Final = "/socket"
SCORES_PATH: Final = "/scores"


class Arena:
    """The server; see the module. `turn()` it until you have enough, in a with block.

    Args:
        loop: all of its events are the arena's.
        address: where players come in: (host, port), with port 0 for any free one.
        tls: certificates, for https and wss.
        seed: of the world.
        scoreboard: the URL of another scoreboard than the arena's own.
        ticks: another clock than the usual one, for tests.

    Attributes:
        world: the simulation.
        sessions: the open WebSockets.
        ticks: when steps are due, and how many were missed.
        url: of the page.
        inside_url: the same, plain, for programs on this machine alone.

    Raises:
        InvalidOption, NetworkError, TlsError: as `Loop.listen`.
    """

    __slots__ = (
        "_due_tick",
        "_keeper",
        "_points",
        "_snapshots",
        "_sockets",
        "inside_url",
        "loop",
        "sessions",
        "ticks",
        "url",
        "world",
    )

    def __init__(
        self,
        loop: Loop,
        address: tuple[str, int],
        *,
        tls: TlsServerConfig | None = None,
        seed: int = 0,
        scoreboard: str | None = None,
        ticks: TickClock | None = None,
    ) -> None:
        self.loop = loop
        self.world = World(seed)
        self.sessions: dict[WebSocketConnection, Session] = {}
        self._snapshots = SnapshotWriter()
        self._sockets = WebSocketSettings(
            max_message=MAX_MESSAGE_BYTES, max_unsent=MAX_UNSENT_BYTES, write_timeout_s=WRITE_TIMEOUT_S
        )
        board = ScoreBoard()

        def answer_inside(exchange: HttpExchange) -> None:
            if exchange.request.path == SCORES_PATH:
                board.answer(exchange)
            else:
                self._answer(exchange)

        self.url = loop.listen(address, handler=self._answer, tls=tls, max_connections=MAX_CONNECTIONS).url + "/"
        inside = loop.listen(("127.0.0.1", 0), handler=answer_inside, max_connections=MAX_CONNECTIONS)
        self.inside_url = inside.url + "/"
        self._keeper = ScoreKeeper(loop, scoreboard or inside.url + SCORES_PATH)
        # At once, so that a URL that cannot be one is told before anybody plays.
        self._keeper.ask()
        # What players had when they left, and the scoreboard has not heard of.
        self._points: dict[str, int] = {}
        self._due_tick = 0
        self.ticks = TickClock(TICK_RATE_HZ) if ticks is None else ticks

    def turn(self) -> None:
        """Wait for something to happen, a tick at most, and do all that is to be done."""
        self.ticks.wait(self.loop, max_time=POLL_BUDGET_S)
        for event in self.loop.events:
            self._take(event)
        steps = self.ticks.due()
        for _ in range(steps):
            self.world.step()
        if steps:
            self.loop.broadcast(self.sessions, self._snapshots.write(self.world), key="snapshot")
            if self.world.tick >= self._due_tick:
                self._due_tick = self.world.tick + SCORES_INTERVAL_TICKS
                self._keep_scores()
        self.loop.flush(max_time=FLUSH_BUDGET_S)

    def put_out(self, session: Session, reason: str) -> None:
        """Take somebody out of the game, and tell them why."""
        self._leave(session)
        session.connection.close(POLICY_VIOLATION, reason)

    def close(self) -> None:
        """Say goodbye to everybody; the loop goes on."""
        for session in self.sessions.values():
            session.connection.close(GOING_AWAY, "the arena closes")
        if not self.loop.closed:
            self.loop.flush(max_time=_PARTING_S)

    def __enter__(self) -> Arena:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The page, and the way in

    def _answer(self, exchange: HttpExchange) -> None:
        request = exchange.request
        if request.path == SOCKET_PATH:
            exchange.upgrade_websocket(self._sockets)
        elif request.path != "/":
            exchange.respond(404, _TEXT, "the arena is at /\n")
        elif request.method in ("GET", "HEAD"):
            exchange.respond(200, _PAGE_HEADERS, _PAGE)
        else:
            exchange.respond(405, {"Allow": "GET, HEAD"})

    # What happened

    def _take(self, event: Event) -> None:
        if event.exchange is not None:
            if self._keeper.take(event.exchange):
                self._tell(messages.scores(self._keeper.table))
            return
        kind = event.kind
        connection = event.connection
        assert isinstance(connection, WebSocketConnection), "the loop has no others"
        if kind is EventKind.OPEN:
            # The head of the request would be kept for as long as the WebSocket.
            connection.request = None
            session = self.sessions[connection] = Session(connection)
            self._greet(session)
        elif kind is EventKind.MESSAGE:
            session = self.sessions[connection]
            # What waits behind a message for which it is being closed counts no more.
            if connection.open:
                try:
                    self._obey(session, event.data)
                except BadMessage as error:
                    self.put_out(session, str(error))
        elif kind is EventKind.WRITABLE:
            self._greet(self.sessions[connection])
        elif kind is EventKind.CLOSED:
            self._leave(self.sessions.pop(connection))

    # What clients want

    def _obey(self, session: Session, data: bytes | memoryview | str) -> None:
        if not session.messages.take(self.world.tick):
            raise BadMessage("too many messages")
        command = messages.read_command(data)
        if isinstance(command, Steer):
            if session.player is not None:
                session.player.buttons = command.buttons
        elif isinstance(command, Echo):
            session.connection.send(command.data)
        elif isinstance(command, Chat):
            self._chat(session, command.text)
        else:
            self._join(session, command)

    def _join(self, session: Session, command: Join) -> None:
        if session.player is not None:
            raise BadMessage("joined already")
        if self.world.full:
            session.connection.send(messages.notice("The arena is full. Look on, and try again."))
            return
        player = session.player = self.world.join()
        session.name = self._free_name(command.name or f"guest {player.id}")
        session.told_points = 0
        self._tell(messages.joined(player.id, session.name))
        session.connection.send(messages.you(player.id, session.name))

    def _free_name(self, name: str) -> str:
        """The name, with a number behind it if somebody has it."""
        taken = {session.name for session in self.sessions.values()}
        found = name
        number = 1
        while found in taken:
            number += 1
            found = f"{name[: MAX_NAME_CHARS - 4]} {number}"
        return found

    def _chat(self, session: Session, text: str) -> None:
        if session.player is None:
            session.connection.send(messages.notice("Join to chat."))
        elif session.chat.take(self.world.tick):
            self._tell(messages.chat(session.name, text))
        else:
            session.connection.send(messages.notice("Not so fast: that was not sent."))

    def _leave(self, session: Session) -> None:
        player = session.player
        if player is None:
            return
        session.player = None
        if player.points > session.told_points:
            self._points[session.name] = max(player.points, self._points.get(session.name, 0))
        session.name = ""
        self.world.leave(player)
        self._tell(messages.left(player.id))

    # What clients are told

    def _tell(self, text: str) -> None:
        """Tell everybody. Who has no room for it is greeted anew when there is."""
        self.loop.broadcast(self.sessions, text)

    def _greet(self, session: Session) -> None:
        """Tell one everything that it would know if it had been here all the time."""
        connection = session.connection
        players = ((each.player.id, each.name) for each in self.sessions.values() if each.player is not None)
        connection.send(messages.welcome(players))
        connection.send(messages.scores(self._keeper.table))
        if session.player is not None:
            connection.send(messages.you(session.player.id, session.name))

    def _keep_scores(self) -> None:
        keeper = self._keeper
        if keeper.may_tell:
            points = self._points
            self._points = {}
            for session in self.sessions.values():
                player = session.player
                if player is not None and player.points > session.told_points:
                    session.told_points = points[session.name] = player.points
            if points:
                keeper.tell(points)
        keeper.ask()
