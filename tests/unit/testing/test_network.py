"""A network in memory: its time, latency, bandwidth and loss, who serves on it, and how its connections end."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from turbosock import (
    Client,
    Config,
    Event,
    EventKind,
    InvalidOption,
    Loop,
    RetryPolicy,
    TickClock,
    Timeouts,
    TransportMode,
)
from turbosock.errors import ConnectError, ConnectTimeout, MisuseError, ReadTimeout, StateError, TotalTimeout
from turbosock.protocol.framing.length import LengthPrefixed
from turbosock.reactor.clock import NS_PER_S, ManualClock
from turbosock.reactor.context import PENDING
from turbosock.server.http_exchange import HttpExchange
from turbosock.testing import MockTransport, Network, VirtualClock

URL = "http://server.example/"
ADDRESS = ("server.example", 80)


def echo(exchange: HttpExchange) -> None:
    exchange.respond(200, {"X-Path": exchange.request.path}, exchange.request.content or b"hello")


def never(exchange: HttpExchange) -> None:
    """The handler keeps the exchange for ever."""


def answer(event: Event, data: bytes | str) -> None:
    connection: Any = event.connection
    connection.send(data)


def elapsed_s(network: Network) -> float:
    return network.clock.now_ns() / NS_PER_S - 1


def get_in_loop(loop: Loop, url: str = URL, **options: Any) -> Any:
    exchange = loop.request("GET", url, **options)
    for _ in range(1000):
        if exchange.done:
            break
        loop.poll(1.0)
    return exchange


@pytest.mark.parametrize("mode", TransportMode)
def test_client_lives_in_the_networks_time(mode: TransportMode) -> None:
    with Network(latency_s=0.05) as network, Client(Config(transport=mode), connector=network) as client:
        network.listen(ADDRESS, handler=echo)
        assert client.get(URL).content == b"hello"
        # A round trip for the connection, and one for the request.
        assert elapsed_s(network) == pytest.approx(0.2)
        assert client.get(URL).elapsed.total_seconds() == pytest.approx(0.1)


def test_loop_lives_in_the_networks_time() -> None:
    with Network(latency_s=0.05) as network, Loop(connector=network) as loop:
        network.listen(ADDRESS, handler=echo)
        assert get_in_loop(loop).content == b"hello"
        assert elapsed_s(network) == pytest.approx(0.2)


def test_https_takes_a_round_trip_more() -> None:
    with Network(latency_s=0.05) as network, Client(connector=network) as client:
        network.listen(("server.example", 443), handler=echo)
        response = client.get("https://server.example/")
        assert response.tls is not None
        assert elapsed_s(network) == pytest.approx(0.3)


def test_bandwidth_bounds_how_fast_a_body_comes() -> None:
    with Network(bandwidth_bytes_s=100_000) as network, Client(connector=network) as client:
        network.listen(ADDRESS, handler=echo)
        assert client.post(URL, content=bytes(500_000)).content == bytes(500_000)
        assert 10.0 < elapsed_s(network) < 10.1


def lossy(seed: int) -> list[float]:
    """When each of some answers was there."""
    times = []
    with Network(seed, latency_s=0.01, loss=0.2) as network, Client(connector=network) as client:
        network.listen(ADDRESS, handler=echo)
        for size in range(10, 20_000, 2_000):
            assert client.post(URL, content=bytes(size)).content == bytes(size)
            times.append(elapsed_s(network))
    return times


def test_loss_delays_bytes_and_repeats_by_its_seed() -> None:
    assert lossy(1) == lossy(1)
    assert lossy(1) != lossy(2)
    assert lossy(1)[-1] > 10 * 0.02 + 0.2


def test_silent_server_ends_in_the_timeout_that_is_nearer() -> None:
    with Network() as network, Client(connector=network) as client:
        network.listen(ADDRESS, handler=never)
        with pytest.raises(ReadTimeout):
            client.get(URL, timeout=Timeouts(read_s=20.0))
        assert elapsed_s(network) == pytest.approx(20.0)
        with pytest.raises(TotalTimeout):
            client.get(URL, timeout=3.0)
        assert elapsed_s(network) == pytest.approx(23.0)
    with Network() as network, Loop(connector=network) as loop:
        network.listen(ADDRESS, handler=never)
        assert isinstance(get_in_loop(loop, timeout=3.0).error, TotalTimeout)
        assert elapsed_s(network) == pytest.approx(3.0)


def test_connection_over_a_line_that_is_too_long_times_out() -> None:
    with Network(latency_s=2.0) as network, Client(connector=network) as client:
        network.listen(ADDRESS, handler=echo)
        with pytest.raises(ConnectTimeout):
            client.get(URL, timeout=Timeouts(connect_s=3.0))
        assert elapsed_s(network) == pytest.approx(3.0)


def test_pauses_before_retries_take_no_time() -> None:
    asked = []

    def busy_first(exchange: HttpExchange) -> None:
        asked.append(elapsed_s(network))
        exchange.respond(503 if len(asked) < 3 else 200, {"Retry-After": "30"})

    with Network() as network, Client(connector=network, retries=RetryPolicy()) as client:
        network.listen(ADDRESS, handler=busy_first)
        assert client.get(URL).status_code == 200
    assert asked[1] - asked[0] >= 30.0
    assert asked[2] - asked[1] >= 30.0


@pytest.mark.parametrize("face", [Client, Loop])
def test_http2_is_spoken_where_it_is_agreed_on(face: type[Client] | type[Loop]) -> None:
    with Network(latency_s=0.01) as network, face(connector=network) as owner:
        network.listen(("server.example", 443), handler=echo, alpn="h2")
        url = "https://server.example/a"
        answer = owner.get(url) if isinstance(owner, Client) else get_in_loop(owner, url)
        assert (answer.http_version, answer.content) == ("HTTP/2", b"hello")


def test_threads_share_a_client_and_its_network() -> None:
    found: list[bytes] = []
    with Network(latency_s=0.01) as network, Client(connector=network) as client:
        network.listen(("server.example", 443), handler=echo, alpn="h2")
        network.listen(ADDRESS, handler=echo)

        def work(number: int) -> None:
            for round_ in range(10):
                body = b"%d %d" % (number, round_)
                for url in (URL, "https://server.example/"):
                    found.append(client.post(url, content=body).content)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert sorted(found) == sorted(2 * [b"%d %d" % (number, round_) for number in range(4) for round_ in range(10)])


def test_server_of_a_loop_is_stepped_by_its_owner() -> None:
    with Network() as network, Loop(clock=network.clock) as server, Loop(connector=network) as loop:
        listener = network.listen(ADDRESS, loop=server, protocol="tcp", framing=LengthPrefixed(2))
        connection = loop.connect(ADDRESS, framing=LengthPrefixed(2))
        told = []
        for _ in range(20):
            loop.poll(0.01)
            for event in loop.events:
                if event.kind is EventKind.OPEN:
                    connection.send(b"hello")
                elif event.kind is EventKind.MESSAGE:
                    told.append(bytes(event.data))
            server.poll()
            for event in server.events:
                if event.kind is EventKind.MESSAGE:
                    answer(event, bytes(event.data).upper())
            server.flush()
        assert told == [b"HELLO"]
        assert listener.stats().open == 1


def test_ticks_of_a_game_loop_are_those_of_its_network() -> None:
    steps: list[float] = []
    with Network(latency_s=0.1) as network, Loop(connector=network) as loop:
        network.listen(ADDRESS, handler=echo)
        ticks = TickClock(60, clock=network.clock)
        exchange = loop.get(URL)
        answered_at = 0
        while len(steps) < 60:
            ticks.wait(loop)
            list(loop.events)
            steps += ticks.due() * [elapsed_s(network)]
            answered_at = answered_at or (len(steps) if exchange.done else 0)
        assert steps == [pytest.approx(number / 60, abs=1e-8) for number in range(60)]
        assert (ticks.missed, ticks.late) == (0, 0)
        # Four times 100 ms.
        assert answered_at in (24, 25)


def test_turn_that_does_not_wait_sees_what_is_due() -> None:
    with Network(latency_s=0.1) as network, Loop(connector=network) as loop:
        network.listen(ADDRESS, handler=echo)
        exchange = loop.get(URL)
        for _ in range(50):
            loop.poll()
            network.clock.advance(0.01)
        assert exchange.done
        assert exchange.elapsed.total_seconds() == pytest.approx(0.4, abs=0.03)


def test_clients_beyond_max_connections_wait_for_a_place() -> None:
    with Network() as network, Loop(connector=network) as loop:
        listener = network.listen(ADDRESS, handler=echo, max_connections=1)
        exchanges = [loop.get(URL, headers={"Connection": "close"}) for _ in range(3)]
        for _ in range(50):
            loop.poll(0.1)
        assert [exchange.content for exchange in exchanges] == 3 * [b"hello"]
        assert listener.stats().crowded == 2


def test_bytes_that_are_not_read_hold_their_sender_up() -> None:
    with Network() as network:
        near, far = network.pair()
        near.send_context.set_buffer(bytes(1_000_000), 0, 1_000_000)
        assert not near.send(near.send_context)
        first = near.send_context.bytes_transferred
        assert 0 < first < 1_000_000
        near.send_context.set_buffer(bytes(10), 0, 10)
        assert near.send(near.send_context)
        near.await_writable(NS_PER_S)
        assert near.send_context.state == PENDING
        into = bytearray(1_000_000)
        far.await_readable(0)
        far.receive_context.set_buffer(into, 0, len(into))
        assert not far.receive(far.receive_context)
        assert far.receive_context.bytes_transferred == first
        near.await_writable(NS_PER_S)
        assert near.send_context.bytes_transferred == 10
        near.close()
        far.close()


@pytest.mark.parametrize("face", [Client, Loop])
def test_address_that_nobody_serves_is_refused_with_those_that_are(face: type[Client] | type[Loop]) -> None:
    with Network() as network, face(connector=network) as owner:
        network.listen(("other.example", 80), handler=echo)
        if isinstance(owner, Client):
            with pytest.raises(ConnectError, match=r"server\.example.*other\.example"):
                owner.get(URL)
        else:
            assert isinstance(get_in_loop(owner).error, ConnectError)


def test_closed_network_serves_nobody() -> None:
    network = Network()
    network.listen(ADDRESS, handler=echo)
    network.close()
    network.close()
    with Client(connector=network) as client, pytest.raises(StateError, match="closed"):
        client.get(URL)
    with pytest.raises(StateError, match="closed"):
        network.listen(None, handler=echo)


def test_closed_network_and_mock_close_the_loop_that_served_there() -> None:
    with Network() as network:
        network.listen(ADDRESS, handler=echo)
        server = network._server
        assert server is not None and not server.closed
    assert server.closed
    mock = MockTransport()
    server = mock._network._server
    mock.close()
    assert server is not None and server.closed


def test_connection_that_a_network_closes_is_made_anew() -> None:
    closing = [True]

    def once(exchange: HttpExchange) -> None:
        exchange.respond(200, {"Connection": "close"} if closing.pop() else None, b"one")

    with Network(latency_s=0.01) as network, Client(connector=network) as client:
        network.listen(ADDRESS, handler=lambda exchange: once(exchange) if closing else echo(exchange))
        assert client.get(URL).content == b"one"
        assert client.get(URL).content == b"hello"


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("seed", "7"),
        ("seed", True),
        ("latency_s", -1.0),
        ("bandwidth_bytes_s", 0),
        ("loss", 1.0),
        ("loss", "1 %"),
        ("clock", ManualClock()),
    ],
)
def test_options_of_a_network_are_checked(name: str, bad: Any) -> None:
    with pytest.raises(InvalidOption, match=name):
        Network(**{name: bad})


def test_address_of_a_closed_listener_is_free_again() -> None:
    with Network() as network, Client(connector=network) as client:
        network.listen(ADDRESS, handler=never).close()
        with pytest.raises(ConnectError, match="nobody at all"):
            client.get(URL)
        network.listen(ADDRESS, handler=echo)
        assert client.get(URL).content == b"hello"


def test_options_of_listen_are_checked() -> None:
    with Network() as network, Loop() as elsewhere:
        network.listen(ADDRESS, handler=echo)
        with pytest.raises(InvalidOption, match="already"):
            network.listen(ADDRESS, handler=echo)
        with pytest.raises(InvalidOption, match="clock"):
            network.listen(None, handler=echo, loop=elsewhere)
        with pytest.raises(InvalidOption, match="udp"):
            network.listen(None, protocol="udp")
        with pytest.raises(InvalidOption, match="colour"):
            network.listen(None, handler=echo, colour="red")
        with pytest.raises(InvalidOption, match="alpn"):
            network.listen(None, handler=echo, alpn="h3")
        with pytest.raises(InvalidOption, match="address"):
            network.listen(["h", 80], handler=echo)  # type: ignore[arg-type]  # which is the mistake
        with pytest.raises(InvalidOption, match="loop"):
            network.listen(None, handler=echo, loop="mine")  # type: ignore[arg-type]  # which is the mistake


def test_loop_takes_no_other_clock_beside_that_of_a_network() -> None:
    with Network() as network, pytest.raises(InvalidOption, match="clock"):
        Loop(connector=network, clock=ManualClock())
    shared = VirtualClock()
    with Network(clock=shared) as network, Loop(connector=network, clock=shared) as loop:
        assert loop.reactor.clock is shared
        with pytest.raises(MisuseError):
            network.listen(ADDRESS, handler="none")


def test_websockets_are_opened_on_a_network() -> None:
    with Network(latency_s=0.01) as network, Loop(clock=network.clock) as server, Client(connector=network) as client:
        network.listen(ADDRESS, loop=server, protocol="websocket")

        def turn() -> None:
            server.poll()
            for event in server.events:
                if event.kind is EventKind.MESSAGE:
                    answer(event, event.data.upper())
            server.flush()
            network.clock.after(0.001, turn)

        turn()
        with client.websocket("ws://server.example/") as socket:
            socket.send("hello")
            assert socket.recv(timeout=5.0) == "HELLO"
            with pytest.raises(ReadTimeout):
                socket.recv(timeout=50.0)
        assert elapsed_s(network) >= 50.0
