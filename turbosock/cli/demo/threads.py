"""ThreadsLeg: eight threads share one blocking Client."""

from __future__ import annotations

import threading
import time
from typing import Final

from turbosock.cli.demo.answers import fetch
from turbosock.cli.demo.leg import BUFFER_BYTES, CONFIG, Figure, Outcome, Stage
from turbosock.client.client import Client
from turbosock.config import Config

THREADS: Final = 8
# How often the watching thread wakes; each time costs the working ones a moment.
WATCH_INTERVAL_S: Final = 0.1


class _Worker(threading.Thread):
    """Sends one request after the other until its client is closed or its time is over."""

    def __init__(self, client: Client, url: str, end_s: float) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._url = url
        self._end_s = end_s
        self.answers = 0
        self.error: Exception | None = None

    def run(self) -> None:
        client, url, end_s, now = self._client, self._url, self._end_s, time.monotonic
        buffer = bytearray(BUFFER_BYTES)
        view = memoryview(buffer)
        try:
            while now() < end_s:
                fetch(client, url, buffer, view)
                self.answers += 1
        except Exception as error:
            # Raised where the threads are joined: figures of seven threads would pass for those of eight.
            self.error = error


class ThreadsLeg:
    """Requests per second of eight threads on one Client, each reading into a buffer of its own."""

    title = f"{THREADS} threads on one Client"
    timed = True

    def run(self, stage: Stage) -> Outcome:
        """See `Leg`."""
        url, config = self.target(stage)
        with Client(config) as client:
            buffer = bytearray(BUFFER_BYTES)
            # The name, the route and the code paths are warm when the clock starts.
            fetch(client, url, buffer, memoryview(buffer))
            start_s = time.monotonic()
            workers = [_Worker(client, url, start_s + stage.seconds) for _ in range(THREADS)]
            for worker in workers:
                worker.start()
            try:
                self._watch(workers, stage, start_s)
            except BaseException:
                # Wakes the workers that wait; their ends are no news then.
                client.close()
                raise
            finally:
                for worker in workers:
                    worker.join()
            elapsed_s = time.monotonic() - start_s
        for worker in workers:
            if worker.error is not None:
                raise worker.error
        answers = sum(worker.answers for worker in workers)
        return Outcome((Figure("requests per second", f"{answers / elapsed_s:,.0f}"),))

    def target(self, stage: Stage) -> tuple[str, Config]:
        """What is asked for, and by which Client."""
        return stage.url, CONFIG

    def _watch(self, workers: list[_Worker], stage: Stage, start_s: float) -> None:
        """Show the rate until all workers are done."""
        for worker in workers:
            while worker.is_alive():
                worker.join(WATCH_INTERVAL_S)
                elapsed_s = time.monotonic() - start_s
                answers = sum(each.answers for each in workers)
                if stage.line.is_due():
                    stage.line.draw(
                        f"{self.title}: {elapsed_s:.1f} of {stage.seconds:.1f} s, {answers / elapsed_s:,.0f} requests/s"
                    )
