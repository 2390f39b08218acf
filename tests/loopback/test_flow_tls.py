"""Redirects over TLS: bodies that hold nothing up, and what goes from https to http and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.https import Pki, TlsSocket, secure
from support.middleware import Face
from support.rings import rings_are_free
from support.scripted_server import (
    Peer,
    Step,
    answer,
    await_close,
    close,
    drip,
    flood,
    read_request,
    scripted,
    send,
    stall,
)
from support.two_origins import Site
from turbosock import RedirectPolicy, TlsProviderMode
from turbosock.config import TlsCertificate, TlsServerConfig
from turbosock.errors import RedirectError, TlsVerificationError

SEE_OTHER = b"HTTP/1.1 302 Found\r\nLocation: /there\r\n"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(params=["stream", "saea", "loop"])
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    made = Face(request.param)
    yield made
    made.close()


@pytest.fixture(params=[TlsProviderMode.SYSTEM_ONLY, TlsProviderMode.PYOPENSSL_ONLY], ids=["ssl", "pyopenssl"])
def options(request: pytest.FixtureRequest, pki: Pki) -> dict[str, Any]:
    """What makes a client trust the sites of these tests."""
    return {"tls": replace(pki.trusting, provider=request.param)}


@pytest.fixture
def secure_site(pki: Pki) -> Iterator[Site]:
    path = pki.files.write(pki.good.pem())
    made = Site(TlsServerConfig(TlsCertificate(path)))
    with made.one, made.other:
        yield made


@pytest.fixture
def plain_site() -> Iterator[Site]:
    made = Site()
    with made.one, made.other:
        yield made


def part_of_a_record(peer: Peer) -> None:
    """Send a chunk, and then half of the record with the next."""
    tls = peer.socket
    assert isinstance(tls, TlsSocket)
    tls.sendall(SEE_OTHER + b"Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
    record = tls.encrypt(b"4\r\npart\r\n0\r\n\r\n")
    tls.raw.sendall(record[: len(record) // 2])


BODIES: dict[str, tuple[Step, ...]] = {
    "never ends": (send(SEE_OTHER + b"Content-Length: 100\r\n\r\npart"), stall),
    "stops in a chunk's line": (send(SEE_OTHER + b"Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n5"), stall),
    "stops in a record": (part_of_a_record, stall),
    "drips": (send(SEE_OTHER + b"Transfer-Encoding: chunked\r\n\r\n"), drip(b"1\r\nx\r\n", 0.01)),
    "floods": (send(SEE_OTHER + b"Transfer-Encoding: chunked\r\n\r\n"), flood(b"3e8\r\n" + bytes(1000) + b"\r\n")),
    "is cut": (send(SEE_OTHER + b"Content-Length: 100\r\n\r\npart"), close),
    "is whole": (send(SEE_OTHER + b"Content-Length: 4\r\n\r\npart"), read_request, answer(b"there"), await_close),
}


@pytest.mark.parametrize("body", BODIES)
def test_body_of_a_redirect_over_tls_holds_nothing_up(face: Face, options: dict[str, Any], pki: Pki, body: str) -> None:
    shake = secure(pki.context)
    with scripted((shake, read_request, *BODIES[body]), (shake, read_request, answer(b"there"), await_close)) as server:
        url = server.url().replace("http:", "https:")
        assert face.open(**options).get(url).content == b"there"
        assert server.accepted == (1 if body == "is whole" else 2)
        owner = face.loop if face.ticks else face.client
        stats = owner.stats()
        assert stats.open == stats.idle and rings_are_free(owner)


def test_https_to_http_is_refused_unless_it_is_allowed(
    face: Face, options: dict[str, Any], secure_site: Site, plain_site: Site
) -> None:
    secure_site.redirect("/a", plain_site.one.url("/b"))
    with pytest.raises(RedirectError) as caught:
        face.open(**options).get(secure_site.one.url("/a"), auth=("u", "pw"))
    assert caught.value.code == "redirect_downgrade"
    assert plain_site.asked == []
    face.close()
    face.open(redirects=RedirectPolicy(allow_downgrade=True), **options)
    response = face.get(secure_site.one.url("/a"), auth=("u", "pw"), cookies={"own": "1"})
    assert response.content == b"echo of /b"
    assert plain_site.field("authorization") == plain_site.field("cookie") == [None]


def test_http_to_https_is_another_origin(
    face: Face, options: dict[str, Any], secure_site: Site, plain_site: Site
) -> None:
    plain_site.redirect("/a", secure_site.one.url("/b"))
    secure_site.redirect("/b", secure_site.one.url("/c"))
    response = face.open(**options).get(plain_site.one.url("/a"), auth=("u", "pw"), cookies={"own": "1"})
    assert response.content == b"echo of /c"
    assert plain_site.field("authorization") == ["Basic dTpwdw=="]
    assert secure_site.field("authorization") == secure_site.field("cookie") == [None, None]


def test_secure_cookie_stays_with_https(
    face: Face, options: dict[str, Any], secure_site: Site, plain_site: Site
) -> None:
    secure_site.answer("/set", (200, [("Set-Cookie", "a=1; Secure; Path=/"), ("Set-Cookie", "b=2; Path=/")]))
    face.open(**options).get(secure_site.one.url("/set"))
    face.get(plain_site.one.url("/"))
    face.get(secure_site.other.url("/"))
    assert plain_site.field("cookie") == ["b=2"]
    assert secure_site.field("cookie") == [None, "a=1; b=2"]


def test_peer_that_is_not_trusted_is_not_followed_to(
    face: Face, options: dict[str, Any], secure_site: Site, plain_site: Site, tmp_path: Path
) -> None:
    plain_site.redirect("/a", secure_site.one.url("/b"))
    elsewhere = replace(options["tls"], ca_file=Pki(tmp_path).trusting.ca_file)
    with pytest.raises(TlsVerificationError):
        face.open(tls=elsewhere).get(plain_site.one.url("/a"))
    assert secure_site.asked == []
