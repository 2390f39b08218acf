"""Certificates made on the spot serve both engines, strictly verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.tls import Network, shake
from turbosock.config import TlsConfig, TlsProviderMode, TlsServerConfig
from turbosock.errors import InvalidOption, TlsVerificationError
from turbosock.tls import DONE, provider_for
from turbosock.tls.selfsigned import make_self_signed


@pytest.mark.parametrize("mode", [TlsProviderMode.SYSTEM_ONLY, TlsProviderMode.PYOPENSSL_ONLY])
def test_self_signed_certificate_is_good_for_its_hosts_only(mode: TlsProviderMode, tmp_path: Path) -> None:
    serving = TlsServerConfig(make_self_signed("localhost", "127.0.0.1", "::1").write(tmp_path))
    network = Network(provider_for(TlsConfig(provider=mode)))
    trusting = TlsConfig(ca_file=tmp_path / "ca.pem")
    for host in ("localhost", "127.0.0.1", "::1"):
        assert shake(*network.sessions(trusting, serving, host)) == (DONE, DONE)
    outcome, _ = shake(*network.sessions(trusting, serving, "127.0.0.2"))
    assert isinstance(outcome, TlsVerificationError)
    network.close()


def test_self_signed_key_is_written_for_its_owner_only(tmp_path: Path) -> None:
    made = make_self_signed("localhost")
    certificate = made.write(tmp_path)
    assert certificate.key_file is not None
    assert Path(certificate.key_file).stat().st_mode & 0o077 == 0
    assert Path(certificate.key_file).read_bytes() == made.key_pem


def test_self_signed_without_hosts_is_refused() -> None:
    with pytest.raises(InvalidOption, match="hosts"):
        make_self_signed()
