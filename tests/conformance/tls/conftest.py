"""Every test of this folder runs on both TLS providers, over a socket and over a carrier of bytes (TLS inside TLS)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.tls import Authority, CarriedNetwork, Files, Network
from turbosock.config import TlsConfig, TlsProviderMode, TlsServerConfig
from turbosock.tls import provider_for


@pytest.fixture(params=[TlsProviderMode.SYSTEM_ONLY, TlsProviderMode.PYOPENSSL_ONLY], ids=["ssl", "pyopenssl"])
def mode(request: pytest.FixtureRequest) -> TlsProviderMode:
    chosen: TlsProviderMode = request.param
    return chosen


@pytest.fixture(params=[Network, CarriedNetwork], ids=["socket", "carried"])
def network(request: pytest.FixtureRequest, mode: TlsProviderMode) -> Iterator[Network]:
    made: Network = request.param(provider_for(TlsConfig(provider=mode)))
    yield made
    made.close()


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def trusting(authority: Authority, files: Files) -> TlsConfig:
    """A client that trusts the authority and nobody else."""
    return TlsConfig(ca_file=files.write(authority.pem))


@pytest.fixture
def serving(authority: Authority, files: Files) -> TlsServerConfig:
    """A server with a good certificate for support.tls.HOST."""
    return TlsServerConfig(files.certificate(authority.leaf()))
