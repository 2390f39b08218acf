"""UDP over a real socket: datagrams as events, sessions, rates, floods, and the end."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from support.loop_peer import MODE_NAMES, MODES, make_clock, make_config, turns
from turbosock import DatagramSession, EventKind, Loop, Send, UdpListener, limits
from turbosock.errors import ClientClosed, InvalidOption, NetworkError
from turbosock.reactor.clock import ManualClock

OPEN, MESSAGE, WRITABLE, CLOSED = EventKind.OPEN, EventKind.MESSAGE, EventKind.WRITABLE, EventKind.CLOSED
LOCAL = ("127.0.0.1", 0)


@pytest.fixture
def clock() -> ManualClock:
    return make_clock()


@pytest.fixture(params=MODES, ids=MODE_NAMES)
def loop(request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[Loop]:
    poller, zero_alloc = request.param
    with Loop(make_config(poller, zero_alloc), clock=clock) as loop:
        yield loop


@contextlib.contextmanager
def peers(listener: UdpListener, count: int = 1) -> Iterator[list[socket.socket]]:
    """Connected sockets; what they send is there at once."""
    with contextlib.ExitStack() as opened:
        made = []
        for _ in range(count):
            sock = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.settimeout(5)
            sock.connect(listener.address)
            made.append(sock)
        yield made


def listen(loop: Loop, **options: Any) -> UdpListener:
    return loop.listen(LOCAL, protocol="udp", **options)


def taken(loop: Loop) -> list[tuple[EventKind, Any, bytes | None]]:
    """The events that wait: kind, connection, a copy of the data."""
    return [(each.kind, each.connection, None if each.data is None else bytes(each.data)) for each in loop.events]


def messages(loop: Loop, count: int = 1) -> list[bytes | None]:
    """The messages of some turns."""
    found = []
    for _ in range(count):
        loop.poll()
        found += [data for kind, _, data in taken(loop) if kind is MESSAGE]
    return found


# Datagrams


def test_datagrams_come_in_one_turn_with_their_addresses_and_go_back(loop: Loop) -> None:
    listener = listen(loop)
    with peers(listener, 2) as (one, two):
        one.send(b"from one")
        two.send(b"")
        one.send(b"x" * limits.MAX_DATAGRAM_BYTES)
        loop.poll()
        seen = [(bytes(event.data), event.address, event.connection) for event in loop.events]  # type: ignore[attr-defined]  # ConnectionEvents
        assert [data for data, _, _ in seen] == [b"from one", b"", b"x" * limits.MAX_DATAGRAM_BYTES]
        assert [address for _, address, _ in seen] == [one.getsockname(), two.getsockname(), one.getsockname()]
        assert {connection for _, _, connection in seen} == {listener}
        assert listener.send_to(b"hello", seen[0][1]) is Send.OK
        assert listener.send_to(bytearray(b"two"), seen[1][1]) is Send.OK
        assert (one.recv(100), two.recv(100)) == (b"hello", b"two")
        stats = listener.stats()
        assert (stats.messages_in, stats.messages_out, stats.bytes_in, stats.bytes_out) == (3, 2, 2055, 8)
        assert loop.stats().listeners == (stats,)
        assert loop.stats().bytes_in == 2055


def test_datagram_is_lent_until_the_next_poll_though_more_came(loop: Loop) -> None:
    listener = listen(loop)
    with peers(listener) as (one,):
        one.send(b"first")
        loop.poll()
        (event,) = loop.events
        data = event.data
        one.send(b"second")
        assert bytes(data) == b"first"
        assert messages(loop) == [b"second"]
        with pytest.raises(ValueError, match="released"):
            data[0]


def test_datagrams_that_nobody_took_stay_intact(loop: Loop) -> None:
    listener = listen(loop)
    expected = [b"%d" % number * 50 for number in range(100)]
    with peers(listener) as (one,):
        for data in expected:
            one.send(data)
            loop.poll()
        assert [data for _, _, data in taken(loop)] == expected


def test_retained_datagram_outlives_the_poll(loop: Loop) -> None:
    listener = listen(loop)
    with peers(listener) as (one,):
        one.send(b"keep")
        loop.poll()
        kept = next(loop.events).retain()  # type: ignore[attr-defined]  # a ConnectionEvent
        for _ in range(5):
            one.send(b"other")
            assert messages(loop) == [b"other"]
        assert bytes(kept.data) == b"keep"
        kept.release()


def test_datagram_that_is_too_long_is_dropped_and_counted(loop: Loop) -> None:
    listener = listen(loop, max_datagram=10)
    with peers(listener) as (one,):
        for data in (b"x" * 11, b"y" * 10, b"z" * 1000, b"end"):
            one.send(data)
        assert messages(loop) == [b"y" * 10, b"end"]
        assert listener.stats().too_long == 2


def test_empty_datagrams_are_no_end(loop: Loop) -> None:
    listener = listen(loop)
    with peers(listener) as (one,):
        for _ in range(3):
            one.send(b"")
        assert messages(loop) == [b""] * 3


def test_flood_is_received_by_shares_and_others_are_served_between(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DATAGRAMS_PER_STEP", 10)
    flooded, quiet = listen(loop), listen(loop)
    with peers(flooded) as (flooder,), peers(quiet) as (one,):
        for number in range(50):
            flooder.send(b"%d" % number)
        one.send(b"me too")
        result = loop.poll()
        seen = taken(loop)
        assert len([1 for _, connection, _ in seen if connection is flooded]) == 10
        assert [data for _, connection, data in seen if connection is quiet] == [b"me too"]
        assert result.backlog == 1
        assert messages(loop, 5) == [b"%d" % number for number in range(10, 50)]


def test_budget_of_bytes_and_of_events_stops_a_flood(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DATAGRAMS_PER_STEP", 10)
    listener = listen(loop)
    with peers(listener) as (one,):
        for _ in range(50):
            one.send(b"x" * 100)
        assert loop.poll(max_bytes=1500).delivered == 20
        assert loop.poll(max_events=5).delivered == 10
        assert len(messages(loop, 5)) == 50


def test_memory_that_is_lent_is_bounded_and_receiving_goes_on_after(loop: Loop) -> None:
    listener = listen(loop, quota=1)
    slots = limits.RECEIVE_RING_BYTES // (limits.MAX_DATAGRAM_BYTES + 1)
    with peers(listener) as (one,):
        for number in range(2 * slots):
            one.send(b"%d" % number)
        for _ in range(3):
            loop.poll()
        assert len(loop.events) == slots and listener.held and listener.stats().held == 1
        kept = [event.retain() for event in loop.events]  # type: ignore[attr-defined]  # ConnectionEvents
        loop.poll()
        assert listener.held and len(loop.events) == 0
        for each in kept:
            each.release()
        assert messages(loop, 3) == [b"%d" % number for number in range(slots, 2 * slots)]
        assert not listener.held


# Sending


@pytest.mark.parametrize("host", ["localhost", "3com.example", "x1", ""])
def test_name_is_refused_because_it_would_block(loop: Loop, host: str) -> None:
    listener = listen(loop)
    listener._sendto = None  # type: ignore[assignment]  # whoever asks the system shows
    with pytest.raises(InvalidOption, match="numeric"):
        listener.send_to(b"x", (host, 9))


@pytest.mark.parametrize("address", [None, 5, (), "127.0.0.1", (None, 9), (b"127.0.0.1", 9), ("127.0.0.1", "9")])
def test_what_is_no_address_is_refused(loop: Loop, address: Any) -> None:
    listener = listen(loop)
    with pytest.raises(InvalidOption, match="address"):
        listener.send_to(b"x", address)


@pytest.mark.parametrize("host", ["1::2::3", "fe80::1%nowhere0"])
def test_host_that_the_system_cannot_read_is_refused_and_not_counted_as_lost(loop: Loop, host: str) -> None:
    listener = loop.listen(("::1", 0), protocol="udp")
    with pytest.raises(InvalidOption, match="which is none"):
        listener.send_to(b"x", (host, 9))
    assert listener.stats().lost == 0


@pytest.mark.parametrize("data", ["text", None, 5])
def test_what_is_no_datagram_is_refused(loop: Loop, data: Any) -> None:
    listener = listen(loop)
    with pytest.raises(InvalidOption, match="data"):
        listener.send_to(data, ("127.0.0.1", 9))


def test_datagram_longer_than_any_is_refused(loop: Loop) -> None:
    listener = listen(loop)
    with pytest.raises(InvalidOption, match="more than a datagram"):
        listener.send_to(bytes(70_000), ("127.0.0.1", 9))


def test_datagram_that_the_system_refuses_is_lost_and_counted(loop: Loop) -> None:
    listener = listen(loop)

    def refuse(*arguments: object) -> int:
        raise OSError(errno.ENETUNREACH, "no route")

    listener._sendto = refuse  # a system that refuses
    assert listener.send_to(b"x", ("192.0.2.1", 9)) is Send.OK
    assert listener.stats().lost == 1 and listener.stats().messages_out == 0


def test_full_is_said_where_the_system_has_no_room_and_writable_follows(loop: Loop) -> None:
    listener = listen(loop)
    sendto = listener._sendto

    def full(*arguments: object) -> int:
        raise BlockingIOError

    listener._sendto = full  # a system whose buffer is full
    assert [listener.send_to(b"x", ("127.0.0.1", 9)) for _ in range(2)] == [Send.FULL] * 2
    listener._sendto = sendto  # as before
    loop.poll(1.0)
    assert taken(loop) == [(WRITABLE, listener, None)]
    loop.poll()
    assert taken(loop) == [] and listener.stats().full == 2


def test_report_of_a_datagram_that_came_nowhere_disturbs_nobody(loop: Loop) -> None:
    listener = listen(loop)
    receive = listener._recvfrom_into
    reports = [OSError(errno.ECONNREFUSED, "nothing listens there")]

    def reporting(*arguments: Any) -> Any:
        if reports:
            raise reports.pop()
        return receive(*arguments)

    listener._recvfrom_into = reporting  # type: ignore[assignment]  # a system that reports
    with peers(listener) as (one,):
        one.send(b"hello")
        assert messages(loop, 2) == [b"hello"]
    assert listener.stats().lost == 1


# Sessions


def test_session_opens_with_its_first_datagram_and_closes_when_it_is_silent(loop: Loop, clock: ManualClock) -> None:
    listener = listen(loop, session_timeout_s=10)
    with peers(listener, 2) as (one, two):
        one.send(b"a")
        two.send(b"b")
        one.send(b"c")
        loop.poll()
        seen = taken(loop)
        assert [kind for kind, _, _ in seen] == [OPEN, MESSAGE, OPEN, MESSAGE, MESSAGE]
        first, second = seen[0][1], seen[2][1]
        assert isinstance(first, DatagramSession) and first.address == one.getsockname()
        assert [connection for _, connection, _ in seen] == [first, first, second, second, first]
        first.user = "mine"
        assert first.send(b"to one") is Send.OK and one.recv(100) == b"to one"
        clock.advance(6)
        one.send(b"still here")
        assert messages(loop) == [b"still here"]
        clock.advance(5)
        loop.poll()
        assert taken(loop) == [(CLOSED, second, None)] and not second.open and first.open
        assert second.send(b"too late") is Send.CLOSED
        clock.advance(6)
        loop.poll()
        assert taken(loop) == [(CLOSED, first, None)] and listener.sessions == {}
        one.send(b"again")
        loop.poll()
        kinds = taken(loop)
        assert [kind for kind, _, _ in kinds] == [OPEN, MESSAGE] and kinds[0][1] is not first


def test_session_that_is_closed_begins_anew_with_the_next_datagram(loop: Loop) -> None:
    listener = listen(loop, session_timeout_s=10)
    with peers(listener) as (one,):
        one.send(b"a")
        loop.poll()
        session = taken(loop)[0][1]
        session.close()
        session.close()
        one.send(b"b")
        loop.poll()
        assert [kind for kind, _, _ in taken(loop)] == [CLOSED, OPEN, MESSAGE]
        assert "closed" in repr(session)


def test_sessions_are_bounded_and_those_that_are_known_go_on(loop: Loop) -> None:
    listener = listen(loop, session_timeout_s=10, max_sessions=3)
    with peers(listener, 10) as made:
        for sock in made:
            sock.send(b"first")
        for sock in made:
            sock.send(b"second")
        loop.poll()
        seen = taken(loop)
        assert len([1 for kind, _, _ in seen if kind is OPEN]) == 3
        assert len([1 for kind, _, _ in seen if kind is MESSAGE]) == 6
        assert listener.stats().unknown == 14 and listener.stats().sessions == 3


def test_session_that_nobody_serves_loses_datagrams_and_others_do_not(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_QUEUED_DATAGRAMS", 5)
    listener = listen(loop, session_timeout_s=10)
    with peers(listener, 2) as (flooder, player):
        for _ in range(20):
            flooder.send(b"flood")
        player.send(b"hello")
        loop.poll()
        seen = [data for kind, _, data in taken(loop) if kind is MESSAGE]
        assert seen == [b"flood"] * 5 + [b"hello"] and listener.stats().overflowed == 15
        flooder.send(b"again")
        assert messages(loop, 2) == [b"again"]


# Rates


def test_host_above_its_rate_is_limited_and_recovers(loop: Loop, clock: ManualClock) -> None:
    listener = listen(loop, rate_per_s=10, burst=5)
    with peers(listener, 2) as (one, two):
        for _ in range(10):
            one.send(b"x")
            two.send(b"y")
        # One host, whatever its ports.
        assert len(messages(loop)) == 5 and listener.stats().limited == 15
        clock.advance(0.2)
        for _ in range(5):
            one.send(b"x")
        assert len(messages(loop)) == 2


def test_flood_from_many_addresses_is_bounded_in_memory(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each datagram seems to come from another host, as a sender may claim.
    listener = listen(loop, rate_per_s=1, burst=1, max_hosts=100, session_timeout_s=10, max_sessions=50)
    receive = listener._recvfrom_into
    hosts = iter(range(1_000_000))

    def spoofed(view: memoryview) -> tuple[int, tuple[str, int]]:
        count, _ = receive(view)
        number = next(hosts)
        return count, (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1234)

    listener._recvfrom_into = spoofed  # type: ignore[assignment]  # a network without checks
    with peers(listener) as (one,):
        for _ in range(20):
            for _ in range(100):
                one.send(b"x")
            loop.poll()
            taken(loop)
    stats = listener.stats()
    assert stats.messages_in == 2000 and stats.sessions == 50
    assert stats.limited == 1900 and stats.unknown == 50
    assert listener._limiter is not None and len(listener._limiter) == 100


# The end, and the beginning


def test_close_ends_sessions_and_what_was_delivered_stays_intact(loop: Loop) -> None:
    listener = listen(loop, session_timeout_s=10)
    with peers(listener) as (one,):
        one.send(b"last")
        loop.poll()
        listener.close()
        listener.close()
        assert [(kind, data) for kind, _, data in taken(loop)] == [(OPEN, None), (MESSAGE, b"last"), (CLOSED, None)]
        assert listener.send_to(b"x", one.getsockname()) is Send.CLOSED
        loop.poll()
        assert loop.stats().listeners == () and "closed" in repr(listener)


def test_address_that_is_taken_is_an_error_of_the_network(loop: Loop) -> None:
    listener = listen(loop)
    with pytest.raises(NetworkError, match="listen for datagrams"):
        loop.listen(listener.address, protocol="udp")


def test_ipv6_and_both_families(loop: Loop) -> None:
    try:
        listener = loop.listen(("::", 0), protocol="udp", dual_stack=True, buffer_bytes=1 << 16)
    except NetworkError:
        pytest.skip("this machine has no IPv6")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six, socket.socket(type=socket.SOCK_DGRAM) as four:
        six.settimeout(5)
        six.sendto(b"six", ("::1", listener.address[1]))
        four.sendto(b"four", ("127.0.0.1", listener.address[1]))
        found: list[tuple[bytes, Any]] = []

        def both() -> bool:
            found.extend((bytes(event.data), event.address) for event in loop.events)  # type: ignore[attr-defined]  # ConnectionEvents
            return len(found) == 2

        turns(loop, both)
        assert {data for data, _ in found} == {b"six", b"four"}
        for data, address in found:
            if data == b"six":
                assert listener.send_to(b"back", address) is Send.OK and six.recv(10) == b"back"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_datagram", 0),
        ("max_datagram", 70_000),
        ("quota", 0),
        ("session_timeout_s", 0),
        ("max_sessions", 0),
        ("rate_per_s", 0),
        ("rate_per_s", True),
        ("burst", 0),
        ("max_hosts", 0),
        ("max_hosts", (1 << 24) + 1),
        ("buffer_bytes", 0),
        ("buffer_bytes", 1 << 31),
        ("framing", None),
        ("dual_stack", True),
    ],
)
def test_wrong_option_is_named(option: str, value: object) -> None:
    with Loop() as loop, pytest.raises(InvalidOption, match=option):
        listen(loop, **{option: value})


@pytest.mark.parametrize("address", ["/tmp/x", ("127.0.0.1",), ("nowhere.invalid", 0), ("127.0.0.1", -1)])
def test_wrong_address_is_named(address: Any) -> None:
    with Loop() as loop, pytest.raises(InvalidOption, match="address"):
        loop.listen(address, protocol="udp")


def test_closed_loop_listens_no_more() -> None:
    loop = Loop()
    listener = listen(loop)
    loop.close()
    assert listener.closed
    with pytest.raises(ClientClosed):
        listen(loop)
