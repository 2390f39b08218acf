"""What a server receives on redirects and challenges: from `curl -L`, and from us.

What is compared is the same but for what docs/how-to/redirects.md says: curl sends a Content-Type that its user gave
also without the body, and brings fields of its user's back to their origin. Each is left out below where it shows.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support import peers
from support.middleware import Face
from support.two_origins import Site
from turbosock import DigestAuth
from turbosock.server.http_exchange import HttpExchange

CONTENT = b"one two three"
OWN = {"Authorization": "Secret s", "Cookie": "a=1", "X-Own": "1"}


class Received(NamedTuple):
    """A request, as far as it is compared."""

    origin: str
    method: str
    target: str
    authorization: str | None
    cookie: str | None
    own: str | None
    content_type: str | None
    body: bytes


@pytest.fixture(params=["stream", "saea", "loop"])
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    made = Face(request.param)
    yield made.open()
    made.close()


def received(site: Site) -> list[Received]:
    """What was asked since the last call."""
    found = [
        Received(
            "one" if headers["host"].endswith(f":{site.one.port}") else "other",
            method,
            target,
            headers.get("authorization"),
            headers.get("cookie"),
            headers.get("x-own"),
            # Without a body it says nothing, and curl keeps it.
            headers.get("content-type") if body else None,
            body,
        )
        for method, target, headers, body in site.asked
    ]
    site.asked.clear()
    return found


def run_curl(site: Site, url: str, *arguments: str) -> list[Received]:
    """What `curl -L` has a server receive."""
    curl = peers.require("curl", "apt-get install -y curl")
    # -q: whoever runs the tests may have settings.
    command = [curl, "-q", "-s", "-o", "/dev/null", "-L", "--noproxy", "*", "-H", "Expect:", *arguments, url]
    subprocess.run(command, check=True, timeout=30)
    return received(site)


def methods(path: Path) -> dict[str, tuple[list[str], dict[str, Any]]]:
    """Curl's arguments and our options for the same request."""
    path.write_bytes(CONTENT)
    text = {"Content-Type": "text/x"}
    return {
        "GET": ([], {}),
        "HEAD": (["-I"], {}),
        "POST": (["--data-binary", f"@{path}", "-H", "Content-Type: text/x"], {"content": CONTENT, "headers": text}),
        "PUT": (["-T", str(path), "-H", "Content-Type: text/x"], {"content": CONTENT, "headers": text}),
    }


@pytest.mark.parametrize("status_code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["same", "another"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT"])
@pytest.mark.parametrize("how", ["fields", "user"])
def test_redirect_is_followed_as_curl_does(
    face: Face, site: Site, tmp_path: Path, method: str, where: str, status_code: int, how: str
) -> None:
    site.redirect("/a", "/b" if where == "same" else site.other.url("/b"), status_code)
    arguments, options = methods(tmp_path / "content")[method]
    fields = OWN if how == "fields" else {"X-Own": "1"}
    arguments = [*arguments, *(part for name, value in fields.items() for part in ("-H", f"{name}: {value}"))]
    headers = {**options.pop("headers", {}), **fields}
    if how == "user":
        arguments += ["-u", "u:pw"]
        options["auth"] = ("u", "pw")
    theirs = run_curl(site, site.one.url("/a"), *arguments)
    face.request(method, site.one.url("/a"), headers=headers, **options)
    assert received(site) == theirs
    assert [each.target for each in theirs] == ["/a", "/b"]
    assert theirs[0].authorization is not None
    assert (theirs[1].authorization is None) == (where == "another")


@pytest.mark.parametrize(
    "location",
    ["b", "./b", "../b", "/b?c=d", "?c=d", "//127.0.0.1:{port}/b", "b#part", "/b%20c", "/b c", "/b/../c", "/./b"],
)
def test_location_is_understood_as_curl_does(face: Face, site: Site, location: str) -> None:
    fields = {"Location": location.format(port=site.other.port)}
    site.answers["/x/a"] = lambda exchange: exchange.respond(200 if "?" in exchange.request.target else 302, fields)
    theirs = run_curl(site, site.one.url("/x/a"))
    face.get(site.one.url("/x/a"))
    assert received(site) == theirs


def test_cookies_that_are_set_on_the_way_go_along_as_with_curl(face: Face, site: Site) -> None:
    site.answers["/a"] = lambda exchange: exchange.respond(
        302, [("Location", "/b/c"), ("Set-Cookie", "here=1"), ("Set-Cookie", "below=2; Path=/b")]
    )
    site.redirect("/b/c", site.other.url("/d"))
    theirs = run_curl(site, site.one.url("/a"), "-c", "/dev/null")
    face.get(site.one.url("/a"))
    assert received(site) == theirs
    # Ports do not keep cookies apart.
    assert [each.cookie for each in theirs] == [None, "below=2; here=1", "here=1"]


@pytest.mark.parametrize("content", [b"", CONTENT], ids=["GET", "POST"])
def test_digest_challenge_takes_as_many_requests_as_with_curl(
    face: Face, site: Site, tmp_path: Path, content: bytes
) -> None:
    def action(exchange: HttpExchange) -> None:
        if "response=" in exchange.request.headers.get("authorization", ""):
            exchange.respond(200)
        else:
            exchange.respond(401, {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'})

    site.answers["/a"] = action
    method = "POST" if content else "GET"
    arguments, options = methods(tmp_path / "content")[method]
    theirs = run_curl(site, site.one.url("/a"), "--digest", "-u", "u:pw", *arguments)
    face.request(method, site.one.url("/a"), auth=DigestAuth("u", "pw"), **options)
    ours = received(site)
    assert [each.method for each in ours] == [each.method for each in theirs]
    # Curl knows that the first will be challenged, and leaves its body out.
    assert [each.body for each in ours] == [content, content]
    assert theirs[-1].body == content

    def names(each: Received) -> set[str]:
        words = (each.authorization or "").removeprefix("Digest ").split(", ")
        return {word.partition("=")[0].strip() for part in words for word in part.split(",") if "=" in word}

    assert names(ours[-1]) == names(theirs[-1])


# Where we keep more to ourselves than curl


def test_fields_of_the_user_do_not_come_back_to_their_origin(face: Face, site: Site) -> None:
    site.redirect("/a", site.other.url("/b"))
    site.redirect("/b", site.one.url("/c"))
    face.get(site.one.url("/a"), headers=OWN)
    assert [(each.authorization, each.cookie, each.own) for each in received(site)] == [
        ("Secret s", "a=1", "1"),
        (None, None, "1"),
        (None, None, "1"),
    ]


def test_cookies_of_the_request_stay_with_its_origin(face: Face, site: Site) -> None:
    site.redirect("/a", site.other.url("/b"))
    face.get(site.one.url("/a"), cookies={"a": "1"})
    assert [each.cookie for each in received(site)] == ["a=1", None]
