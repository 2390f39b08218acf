"""Answers: only the right one passes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.peers import Peer, nginx
from turbosock.cli.demo.answers import fetch
from turbosock.cli.demo.leg import BODY, BUFFER_BYTES
from turbosock.client.client import Client
from turbosock.errors import ProtocolError


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """Serves files of its root: the body itself, and neighbours of it."""
    directory: Path = tmp_path_factory.mktemp("nginx")
    with nginx(directory, locations="location = /failing { error_page 404 =500 /right; return 404; }") as running:
        (running.root / "right").write_bytes(BODY)
        (running.root / "shorter").write_bytes(BODY[:-1])
        (running.root / "longer").write_bytes(BODY + b"x")
        (running.root / "other").write_bytes(b"x" + BODY[1:])
        (running.root / "nothing").write_bytes(b"")
        yield running


def _fetch(url: str) -> None:
    buffer = bytearray(BUFFER_BYTES)
    with Client() as client:
        fetch(client, url, buffer, memoryview(buffer))


def test_fetch_of_the_right_answer_passes(peer: Peer) -> None:
    _fetch(peer.url("/right"))


@pytest.mark.parametrize("path", ["/shorter", "/longer", "/other", "/nothing", "/failing", "/missing"])
def test_fetch_of_another_answer_is_an_error_that_names_it(path: str, peer: Peer) -> None:
    with pytest.raises(ProtocolError, match=path):
        _fetch(peer.url(path))
