"""What event streams have counted together stays counted when they are gone."""

from __future__ import annotations

import gc

import pytest

from turbosock import Client, Loop
from turbosock.client.event_stream import EventStream
from turbosock.client.event_tally import EventTotals
from turbosock.testing.http_peer import HttpAnswer, HttpPeer
from turbosock.testing.memory import MemoryConnector

CONTENT = b"data: a\n\ndata: b\n\n"
URL = "http://peer.test/"


def connector() -> MemoryConnector:
    return MemoryConnector(HttpPeer(HttpAnswer(200, {"Content-Type": "text/event-stream"}, CONTENT)))


def short(totals: EventTotals) -> tuple[int, ...]:
    return (totals.reconnections, totals.events, totals.bytes_in, totals.parse.times, totals.delivery.times)


def test_streams_of_a_client_are_summed_while_they_are_read_and_once_they_are_closed() -> None:
    with Client(connector=connector()) as client:
        assert short(client.stats().events_read) == (0, 0, 0, 0, 0)
        with client.events(URL, reconnect=False) as one, client.events(URL, reconnect=False) as other:
            next(one)
            next(other)
            assert short(client.stats().events_read) == (0, 2, 2 * len(CONTENT), 2, 2)
            assert len(list(one)) == 1
        assert short(client.stats().events_read) == (0, 3, 2 * len(CONTENT), 2, 2)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_stream_that_was_dropped_stays_counted() -> None:
    with Client(connector=connector()) as client:
        stream = client.events(URL, reconnect=False)
        next(stream)
        del stream
        gc.collect()
        totals = client.stats().events_read
        assert short(totals) == (0, 1, len(CONTENT), 1, 1)
        assert client.stats().events_read == totals


def test_streams_of_a_loop_are_summed() -> None:
    with Loop(connector=connector()) as loop:
        stream = loop.events_from(URL, reconnect=False)
        while not stream.closed:
            loop.poll()
            list(loop.events)
        assert short(loop.stats().events_read) == (0, 2, len(CONTENT), 1, 1)
    assert short(loop.stats().events_read) == (0, 2, len(CONTENT), 1, 1)


def test_stream_that_could_not_be_made_is_dropped_in_silence() -> None:
    EventStream.__new__(EventStream).__del__()
