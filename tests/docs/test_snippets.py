"""Every ```python block of README.md and docs/ runs, against a server of this machine, so that the pages cannot rot.

The blocks of one page run in order and share their names, as a reader would type them. What a page cannot know is put
in its place first: `127.0.0.1:8080` is the server's address, `127.0.0.1:9000` a free port for the page's own listener,
`/tmp/app.sock` a Unix socket. A page that listens on port 9000 is visited by `http.client`. Every page has `world`,
the simulation that its tick loop steps, and an empty working directory of its own. The server is the program of
docs/how-to/site.md, which a page that needs it links to.

A ```text block behind a python block is what that block prints. `<!-- needs: memray -->` names a module without which
the page is skipped.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import http.client
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import peers
from support.docs_site import SITE_PAGE, SOCKET_PATH, DocsSite, World, site_program

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
TUTORIAL = DOCS / "tutorial.md"

BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n*^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"<!-- needs: (\S+) -->")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
SERVER = "127.0.0.1:8080"
LISTENER = "127.0.0.1:9000"
LISTENS = '("127.0.0.1", 9000)'


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks_of(page: Path) -> list[tuple[int, str, str | None]]:
    """Line, code and printed text (or None) of each python block."""
    text = page.read_text()
    return [(text.count("\n", 0, found.start(1)), found[1], found[2]) for found in BLOCK.finditer(text)]


def visit(port: int) -> None:
    """Ask a page's listener for something, as a client that is not ours."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/players?sort=name")
        answer = connection.getresponse()
        assert answer.status == 200, f"the page's listener answered {answer.status} {answer.read()!r}"
        assert answer.read(), "the page's listener answered with nothing"
    finally:
        connection.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocsSite]:
    with DocsSite(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    """The server that the tutorial tells its reader to start, with the same files."""
    directory = tmp_path_factory.mktemp("files")
    (directory / "hello.txt").write_bytes(b"hello\n")
    (directory / "big.bin").write_bytes(peers.big_body(10_000_000))
    with peers.http_server(directory) as peer:
        yield peer


@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=name_of)
def test_snippets_of_a_page_run_in_order(
    page: Path,
    request: pytest.FixtureRequest,
    site: DocsSite,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in NEEDS.findall(page.read_text()):
        pytest.importorskip(module)
    authority = site.authority
    if page == TUTORIAL:
        peer = request.getfixturevalue("files")
        authority = f"{peer.host}:{peer.port}"
    port = peers.unused_port()
    sock = str(site.socket_path)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for line, code, printed in blocks_of(page):
        if code == site_program():  # it runs already
            continue
        names["world"] = World(functools.partial(visit, port) if LISTENS in code else None)
        code = code.replace(SERVER, authority).replace(LISTENER, f"127.0.0.1:{port}")
        code = code.replace(LISTENS, f'("127.0.0.1", {port})')
        code = code.replace(SOCKET_PATH, sock)
        # Newlines in front, so that a traceback shows the line of the page.
        compiled = compile("\n" * line + code, str(page), "exec")
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compiled, names)
        if printed is not None:
            shown = out.getvalue().replace(authority, SERVER)
            assert shown == printed, f"{name_of(page)}, line {line + 1}"
    # What a page leaves open is found here, and not in whichever test the collector runs next.
    names.clear()
    gc.collect()


def links_of(page: Path) -> list[Path]:
    """The files of this repository that a page links to."""
    targets = [target for target in LINK.findall(page.read_text()) if "://" not in target]
    return [(page.parent / target).resolve() for target in targets]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    missing = [str(target) for target in links_of(page) if not target.exists()]

    assert not missing


def test_tests_that_pages_name_are_there() -> None:
    named = {(name, page) for page in PAGES for name in re.findall(r"`(tests/[\w/]+\.py)`", page.read_text())}

    assert named
    assert not [f"{name_of(page)}: {name}" for name, page in named if not (ROOT / name).is_file()]


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=name_of)
def test_page_whose_examples_need_the_site_or_a_world_links_to_them(page: Path) -> None:
    code = "".join(code for _, code, _ in blocks_of(page))
    needs = f"{SERVER}/" in code or re.search(r"\bworld\b", code) is not None

    assert page in (SITE_PAGE, TUTORIAL) or SITE_PAGE in links_of(page) or not needs


def test_world_that_the_site_page_offers_has_what_the_pages_use() -> None:
    offered: dict[str, object] = {}
    exec(blocks_of(SITE_PAGE)[1][1], offered)
    used = {name for page in PAGES for _, code, _ in blocks_of(page) for name in re.findall(r"\bworld\.(\w+)", code)}

    assert used
    assert not [name for name in used if not hasattr(offered["world"], name)]


def test_index_links_to_every_page() -> None:
    index = DOCS / "index.md"

    unlinked = set(DOCS.rglob("*.md")) - set(links_of(index)) - {index}

    assert not unlinked, "docs/index.md does not link to these pages"


def test_readme_shows_the_two_commands_as_they_are_run() -> None:
    text = (ROOT / "README.md").read_text()

    assert "\npython3 -m venv .venv && .venv/bin/pip install . && .venv/bin/turbosock demo\n" in text
    assert "\npython3 -m venv .venv && .venv/bin/pip install tox && .venv/bin/tox\n" in text
