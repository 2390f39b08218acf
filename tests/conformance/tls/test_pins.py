"""Pins and the verification callback, on both providers: what they see and refuse, and that they cannot accept."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from support.tls import HOST, Authority, Files, Network, self_signed, shake
from turbosock.config import PinScope, TlsConfig, TlsServerConfig, TlsVerdict
from turbosock.errors import StateError, TlsVerificationError
from turbosock.tls import DONE, pin_of
from turbosock.tls.certificate import public_key_pin

WRONG = "sha256/" + "A" * 43 + "="
Seen = list[tuple[tuple[bytes, ...], TlsVerdict, str]]


def test_pin_of_the_leaf_is_accepted_among_others(
    network: Network, authority: Authority, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    pin = pin_of(authority.leaf().der)
    client, server = network.sessions(replace(trusting, pins=(WRONG, pin)), serving)
    assert shake(client, server) == (DONE, DONE)


def test_pin_in_hexadecimal_is_the_same_pin(
    network: Network, authority: Authority, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    pin = public_key_pin(authority.leaf().der).hex()
    assert shake(*network.sessions(replace(trusting, pins=(pin,)), serving))[0] == DONE


def test_pin_that_does_not_match_refuses_and_names_what_was_there(
    network: Network, authority: Authority, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    client, server = network.sessions(replace(trusting, pins=(WRONG,)), serving)
    outcome, _ = shake(client, server)
    assert isinstance(outcome, TlsVerificationError)
    assert outcome.reason == "pin_mismatch"
    assert pin_of(authority.leaf().der) in str(outcome)
    with pytest.raises(StateError):
        client.send(b"past the pins")


def test_pin_of_an_authority_counts_in_the_chain_scope_only(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files
) -> None:
    between = Authority("between", authority)
    serving = TlsServerConfig(files.certificate(between.leaf()))
    for signer in (authority, between):
        pinned = replace(trusting, pins=(pin_of(signer.leaf()._replace(certificate=signer.certificate).der),))
        outcome, _ = shake(*network.sessions(pinned, serving))
        assert isinstance(outcome, TlsVerificationError)
        assert outcome.reason == "pin_mismatch"
        chained = replace(pinned, pin_scope=PinScope.CHAIN)
        client, server = network.sessions(chained, serving)
        assert shake(client, server)[0] == DONE
        assert len(client.peer_chain_der) == 3


def test_pin_of_a_certificate_only_sent_along_does_not_count(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files
) -> None:
    # Anybody can append a certificate that he has seen; it is not part of the verified chain.
    bystander = Authority("bystander").certificate
    leaf = authority.leaf()._replace(intermediates=(bystander,))
    pin = pin_of(leaf._replace(certificate=bystander).der)
    config = replace(trusting, pins=(pin,), pin_scope=PinScope.CHAIN)
    outcome, _ = shake(*network.sessions(config, TlsServerConfig(files.certificate(leaf))))
    assert isinstance(outcome, TlsVerificationError)
    assert outcome.reason == "pin_mismatch"


def test_pin_without_verification_still_decides(network: Network, files: Files) -> None:
    leaf = self_signed()
    serving = TlsServerConfig(files.certificate(leaf))
    assert shake(*network.sessions(TlsConfig(verify=False, pins=(pin_of(leaf.der),)), serving))[0] == DONE
    outcome, _ = shake(*network.sessions(TlsConfig(verify=False, pins=(WRONG,)), serving))
    assert isinstance(outcome, TlsVerificationError)


def test_pins_report_only_logs_and_goes_on(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig, caplog: pytest.LogCaptureFixture
) -> None:
    config = replace(trusting, pins=(WRONG,), pins_report_only=True)
    with caplog.at_level(logging.WARNING, "turbosock.tls"):
        assert shake(*network.sessions(config, serving)) == (DONE, DONE)
    assert len(caplog.records) == 1
    assert f"the certificate of {HOST} is refused: none of the pins" in caplog.text


def watcher(seen: Seen, answer: bool = True) -> Callable[[tuple[bytes, ...], TlsVerdict, str], bool]:
    """A callback that notes what it is told."""

    def watch(chain: tuple[bytes, ...], verdict: TlsVerdict, host: str) -> bool:
        seen.append((chain, verdict, host))
        return answer

    return watch


def test_callback_sees_the_chain_the_verdict_and_the_host(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files
) -> None:
    seen: Seen = []
    between = Authority("between", authority)
    leaf = between.leaf()
    config = replace(trusting, verify_callback=watcher(seen))
    assert shake(*network.sessions(config, TlsServerConfig(files.certificate(leaf))))[0] == DONE
    root, middle = (leaf._replace(certificate=item.certificate).der for item in (authority, between))
    assert seen == [((leaf.der, middle, root), TlsVerdict.VERIFIED, HOST)]


def test_callback_without_verification_is_told_so(network: Network, files: Files) -> None:
    seen: Seen = []
    leaf = self_signed()
    config = TlsConfig(verify=False, verify_callback=watcher(seen))
    assert shake(*network.sessions(config, TlsServerConfig(files.certificate(leaf))))[0] == DONE
    assert seen == [((leaf.der,), TlsVerdict.UNVERIFIED, HOST)]


def test_callback_that_says_no_refuses(network: Network, trusting: TlsConfig, serving: TlsServerConfig) -> None:
    client, server = network.sessions(replace(trusting, verify_callback=watcher([], answer=False)), serving)
    outcome, _ = shake(client, server)
    assert isinstance(outcome, TlsVerificationError)
    assert outcome.reason == "refused_by_callback"
    with pytest.raises(StateError):
        client.send(b"past the callback")


def test_callback_that_raises_refuses_with_its_error_as_the_cause(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    def broken(*_: object) -> bool:
        raise KeyError("a bug")

    outcome, _ = shake(*network.sessions(replace(trusting, verify_callback=broken), serving))
    assert isinstance(outcome, TlsVerificationError)
    assert outcome.reason == "refused_by_callback"
    assert isinstance(outcome.__cause__, KeyError)


def test_callback_cannot_accept_what_the_engine_refused(network: Network, trusting: TlsConfig, files: Files) -> None:
    seen: Seen = []
    config = replace(trusting, verify_callback=watcher(seen))
    outcome, _ = shake(*network.sessions(config, TlsServerConfig(files.certificate(self_signed()))))
    assert isinstance(outcome, TlsVerificationError)
    assert outcome.reason == "self_signed"
    assert seen == []
