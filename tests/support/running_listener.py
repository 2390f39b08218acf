"""A listener of ours whose Loop turns in a thread of its own, for tests with clients that block."""

from __future__ import annotations

import threading
from collections.abc import Callable

from turbosock import Loop
from turbosock.config import TlsServerConfig
from turbosock.server.http_exchange import HttpExchange

WAIT_S = 20.0


class RunningListener:
    """Answers for the length of a with block.

    Args:
        handler: its answers.
        tls: its certificates; None for plain HTTP.
    """

    def __init__(self, handler: Callable[[HttpExchange], object], tls: TlsServerConfig | None = None) -> None:
        self.loop = Loop()
        self.listener = self.loop.listen(("127.0.0.1", 0), handler=handler, tls=tls)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            self.loop.poll(WAIT_S)
        self.loop.close()

    @property
    def port(self) -> int:
        assert isinstance(self.listener.address, tuple)
        return self.listener.address[1]

    def url(self, path: str = "/") -> str:
        return self.listener.url + path

    def __enter__(self) -> RunningListener:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self.loop.wakeup()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
