"""TlsDialer: made ready once, for every thread that asks, and never half."""

from __future__ import annotations

import errno
import socket
import sys
from types import FrameType
from typing import Any

import pytest

from turbosock.config import TlsConfig
from turbosock.errors import NetworkError, Origin, TlsHandshakeError, TurbosockError
from turbosock.transport.secure import TlsDialer


class FakeProvider:
    """An engine that makes contexts and sessions of nothing."""

    def __init__(self) -> None:
        self.configs: list[TlsConfig] = []
        self.wrapped: list[tuple[object, str, int]] = []
        self.failure: Exception | None = None

    def client_context(self, config: TlsConfig) -> object:
        self.configs.append(config)
        return config

    def wrap(self, sock: socket.socket | None, context: object, host: str, port: int, pool_key: object) -> str:
        assert context in self.configs
        if self.failure is not None:
            raise self.failure
        self.wrapped.append((sock, host, port))
        return "a session"


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> FakeProvider:
    made = FakeProvider()
    monkeypatch.setattr("turbosock.tls.selector.provider_for", lambda config: made)
    return made


def test_dialer_makes_its_context_once(provider: FakeProvider) -> None:
    dialer = TlsDialer(TlsConfig(), ("http/1.1",))
    dialer.prepare()
    dialer.prepare()
    assert len(provider.configs) == 1
    assert dialer.wrap(None, "a.test", 443) == "a session"  # type: ignore[arg-type,comparison-overlap]  # fakes
    assert provider.wrapped == [(None, "a.test", 443)]
    assert len(provider.configs) == 1


def test_dialer_whose_socket_the_system_refuses_to_set_up_raises_in_our_words(provider: FakeProvider) -> None:
    dialer = TlsDialer(TlsConfig(), ("http/1.1",))
    provider.failure = OSError(errno.ENOMEM, "injected")
    with pytest.raises(NetworkError, match="set up a socket") as caught:
        dialer.wrap(None, "a.test", 443)  # type: ignore[arg-type]  # a fake
    assert (caught.value.code, caught.value.origin) == ("exhausted", Origin.LOCAL)


@pytest.mark.parametrize("failure", [NetworkError("ours"), TlsHandshakeError("ours")])
def test_dialer_passes_on_what_is_in_our_words(provider: FakeProvider, failure: TurbosockError) -> None:
    dialer = TlsDialer(TlsConfig(), ("http/1.1",))
    provider.failure = failure
    with pytest.raises(TurbosockError) as caught:
        dialer.wrap(None, "a.test", 443)  # type: ignore[arg-type]  # a fake
    assert caught.value is failure


def test_dialer_offers_what_is_spoken_unless_the_configuration_says_otherwise(provider: FakeProvider) -> None:
    TlsDialer(TlsConfig(), ("http/1.1",)).prepare()
    TlsDialer(TlsConfig(alpn=("h2", "http/1.1")), ("http/1.1",)).prepare()
    assert [config.alpn for config in provider.configs] == [("http/1.1",), ("h2", "http/1.1")]


def test_dialer_serves_another_thread_at_every_line_of_its_preparation(provider: FakeProvider) -> None:
    reached = True
    line = 0
    while reached:
        reached = prepare_interrupted(line)
        line += 1
        assert len(provider.wrapped) == line - (not reached)
    assert line > 4


def prepare_interrupted(at: int) -> bool:
    """Prepare a dialer, and use it before line `at` as a thread would that runs there; whether there is such a line."""
    dialer = TlsDialer(TlsConfig(), ("http/1.1",))
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        if frame.f_code is TlsDialer.prepare.__code__ and event == "line":
            if lines == at:
                dialer.wrap(None, "a.test", 443)  # type: ignore[arg-type]  # a fake
            lines += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        dialer.prepare()
    finally:
        sys.settrace(before)
    return lines > at
