"""The arithmetic of the workloads of large bodies, and a contestant of each, with a body that is not large."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import peers
from support.bench import Load

BODY_BYTES = 3 * 1024 * 1024


@pytest.fixture
def load(load: Load) -> Load:
    """With a smaller body."""
    load("task").BIG_BYTES = BODY_BYTES  # type: ignore[attr-defined]  # the module goes again
    return load


def kept(make: Callable[..., Any], made: contextlib.ExitStack) -> Callable[..., Any]:
    """`make`, whose objects are closed with `made`."""
    return lambda *arguments: made.enter_context(make(*arguments))


@pytest.fixture
def server(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[peers.Peer]:
    locations = load("bench").FIXED + load("bench").CODED
    with peers.nginx(tmp_path / "nginx", big_bytes=BODY_BYTES, locations=locations) as peer:
        load("bodies").write_coded(peer.root / "coded")
        # A contestant's process ends without closing what it made.
        with contextlib.ExitStack() as made:
            libraries = load("libraries")
            for name in ("turbosock_client", "turbosock_loop"):
                monkeypatch.setattr(libraries, name, kept(getattr(libraries, name), made))
            yield peer


def task(load: Load, peer: peers.Peer, workload: str, contestant: str) -> object:
    return load("task").Task(workload, contestant, "report", peer.host, peer.port, 0.1, 0, 1, -1)


def test_coded_body_is_gzip_of_the_whole_length(load: Load, tmp_path: Path) -> None:
    size = load("bodies").write_coded(tmp_path / "coded")
    assert size == (tmp_path / "coded").stat().st_size
    assert len(gzip.decompress((tmp_path / "coded").read_bytes())) == BODY_BYTES


def test_run_that_brings_another_length_is_no_measurement(load: Load) -> None:
    with pytest.raises(RuntimeError, match="bytes of content"):
        load("workloads.gzip_download").measured(lambda: BODY_BYTES - 1)


@pytest.mark.parametrize("contestant", ["zlib", "turbosock loop"])
def test_contestant_of_gzip_download_decodes_all_of_it(load: Load, server: peers.Peer, contestant: str) -> None:
    answer = load("workloads.gzip_download").REPORTS[contestant](task(load, server, "gzip_download", contestant))
    assert answer["seconds"] > 0


@pytest.mark.parametrize("contestant", ["turbosock content", "turbosock segments"])
def test_contestant_of_large_body_tells_its_largest_allocation(load: Load, server: peers.Peer, contestant: str) -> None:
    pytest.importorskip("memray")
    answer = load("workloads.large_body").REPORTS[contestant](task(load, server, "large_body", contestant))
    limit = load("promises").SEGMENT_ALLOCATION_BYTES
    assert (answer["largest"] <= limit) is (contestant == "turbosock segments")
