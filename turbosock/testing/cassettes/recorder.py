"""Recorder: writes what a Client or a Loop says and hears to a cassette, and answers from it afterwards.

    with Recorder("tests/cassettes/list.json") as recorder:
        with turbosock.Client(connector=recorder) as client:
            client.get("https://example.org/list")

While it records, the network is the real one, or the `inner` connector, and all that is added is a note of what moved
(`wire_tap.py`); the notes become entries when it is closed. While it replays, there is no network, and time is virtual
(`replay.py`).

Invariant: a cassette is written when the recorder is closed, whole, and only if its `with` block did not fail.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal

from turbosock.client.client import Client
from turbosock.config import Config, check_config
from turbosock.errors import InvalidOption
from turbosock.testing.cassettes.cassette import folder_of, load, save
from turbosock.testing.cassettes.entry import Entry, RecordedAnswer, RecordedBody, RecordedRequest, text_fields
from turbosock.testing.cassettes.matcher import Matcher
from turbosock.testing.cassettes.redaction import Redaction, checked_names
from turbosock.testing.cassettes.replay import Replay
from turbosock.testing.cassettes.wire_log import WireLog
from turbosock.testing.cassettes.wire_reader import read_log
from turbosock.testing.cassettes.wire_tap import watch

if TYPE_CHECKING:
    from turbosock.reactor.clock import Clock
    from turbosock.reactor.reactor import Reactor
    from turbosock.transport.connector import Connector, Target, Wrapper
    from turbosock.transport.transport import Transport

Mode = Literal["once", "record", "replay"]
Match = Literal["strict", "lenient"]

# What a request that is passed on has from the connection it is passed on to.
_NOT_PASSED_ON: Final = ("host", "connection", "content-length", "transfer-encoding", "expect", "keep-alive")


class Recorder:
    """Records and replays; give it as `connector=`, to one Client or Loop or to several.

    Args:
        path: of the cassette, a .json file; bodies that are no short text are in a folder beside it.
        mode: "record": everything, anew; "replay": nothing but what is recorded; "once": what is recorded is replayed,
            and what is missing is recorded.
        match: "strict": requests come in the recorded order, and agree in method, URL, `match_headers` and body;
            "lenient": in any order, and they agree in method and URL. With "once" the order does not matter.
        match_headers: names of fields in which strict requests must agree.
        redact: whether secrets are hidden in what is written: credentials, cookies, API keys, user information.
        secrets: further names to hide: of fields, cookies, query parameters, members of JSON objects and forms.
        inner: whose connections are recorded, a connector; None: the network's.
        config: for the requests that "once" finds missing in a cassette which is there; None: the default.

    Attributes:
        path: the same.
        recording: whether everything is recorded now, since "once" has found no cassette, or by "record".
        clock: while replaying, the virtual time of its connections; else None.

    Raises:
        InvalidOption: an argument cannot work; it is named.
        CassetteError: the cassette is damaged; or it is not there, to be replayed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mode: Mode = "once",
        match: Match = "strict",
        match_headers: Iterable[str] = (),
        redact: bool = True,
        secrets: Iterable[str] = (),
        inner: Connector | Wrapper | None = None,
        config: Config | None = None,
    ) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise InvalidOption(f"path: a {type(path).__name__} was given; give the path of a .json file")
        if "\0" in str(path):
            raise InvalidOption(f"path={path!r}: no path holds NUL; give the path of a .json file")
        self.path = Path(path)
        if mode not in ("once", "record", "replay"):
            raise InvalidOption(f"mode={mode!r}: give 'once', 'record' or 'replay'")
        if match not in ("strict", "lenient"):
            raise InvalidOption(f"match={match!r}: give 'strict' or 'lenient'")
        keys = checked_names("match_headers", match_headers)
        if config is not None:
            check_config(config)
        self.inner = inner
        self._redaction = Redaction(redact, secrets)
        self._log = WireLog()
        self._closed = False
        self._network: Client | None = None
        self._lock = threading.Lock()
        # Whether a cassette that is replayed has grown.
        self._added = False
        self._config = dataclasses.replace(config or Config(), decode=False)
        self.recording = mode == "record" or (mode == "once" and not self.path.exists())
        self._entries: list[Entry] = [] if self.recording else load(self.path)
        # A recorder of connections, or a maker of them: never both. A Client looks for `connect` first.
        self.connect: Callable[[Target, Reactor | None, int], Transport] | None = None
        self.clock: Clock | None = None
        self._replay: Replay | None = None
        if not self.recording:
            strict = match == "strict"
            self._matcher = Matcher(
                self.path,
                self._entries,
                self._redaction,
                strict=strict,
                ordered=strict and mode == "replay",
                headers=keys,
            )
            missing = self._ask_network if mode == "once" else None
            self._replay = replay = Replay(self._matcher, self._entries, missing)
            self.connect = replay.connect
            self.clock = replay.network.clock

    @property
    def unused(self) -> list[str]:
        """While replaying: the entries that answered nothing yet, each with its number, method and URL."""
        return [] if self.recording else [str(entry) for entry in self._matcher.unused]

    def wrap(self, transport: Transport, target: Target, reactor: Reactor | None) -> Transport:
        """See Wrapper.wrap: the same transport, watched."""
        watch(transport, self._log, self._log.begin(target))
        return transport

    def _ask_network(self, request: RecordedRequest) -> Entry:
        """What the cassette does not know, and knows from here on."""
        if self._closed:
            raise self._matcher.mismatch(request)
        if self._network is None:
            self._network = Client(self._config, connector=self.inner, redirects=None, cookies=False)
        headers = [field for field in request.headers if field[0].lower() not in _NOT_PASSED_ON]
        body = request.body.content or None
        response = self._network.request(request.method, request.url, headers=headers, content=body)
        answer = RecordedAnswer(
            response.http_version,
            response.status_code,
            response.reason,
            text_fields(response.headers),
            RecordedBody(response.content),
            text_fields(response.trailers),
        )
        entry = Entry(request, answer)
        with self._lock:
            self._entries.append(entry)
            entry.number = len(self._entries)
            self._added = True
        return entry

    def close(self) -> None:
        """Write what was recorded; a second call does nothing.

        Raises:
            OSError: the cassette cannot be written.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if self.recording:
                self._entries = read_log(self._log, folder_of(self.path))
            if self.recording or self._added:
                save(self.path, self._entries, self._redaction)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close without writing anything."""
        self._closed = True
        self._log.close()
        if self._replay is not None:
            self._replay.network.close()
        if self._network is not None:
            self._network.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "recording" if self.recording else "replaying"
        return f"<Recorder {self.path.name} {state}>"
