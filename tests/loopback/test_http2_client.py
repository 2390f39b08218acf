"""HTTP/2 as users of both faces meet it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.faces import Face, face
from support.http2_server import WIRES, Wire, http2_site, say_path, serving
from support.https import Pki


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest, pki: Pki) -> Wire:
    return Wire(request.param, pki)


@pytest.fixture(params=["stream", "loop"])
def user(request: pytest.FixtureRequest, wire: Wire) -> Iterator[Face]:
    with face(request.param, diagnostics=True, **wire.options) as made:
        yield made


def test_get_says_http2(user: Face, wire: Wire) -> None:
    with http2_site(wire, serving(say_path)) as site:
        for path in ("/a", "/b", "/" + "c" * 5000):
            answer = user.get(site.url(path))
            assert (answer.http_version, answer.status_code, answer.content) == ("HTTP/2", 200, path.encode())
        assert len(site.connections) == 1
