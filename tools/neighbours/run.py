#!/usr/bin/env python3
"""The own tests of requests, httpx, httpx2 and responses, with turbosock under them.

    python tools/neighbours/run.py [NAME...] [--environment DIRECTORY] [--write]

Nothing of theirs is kept here: the releases named below are fetched as sdists from the package index, with what their
tests need, into a directory that is made the first time. `under.py` is the plugin that puts turbosock in the place of
their own transport.

It fails where a test fails that passes without turbosock, unless `known.toml` says why it cannot pass; and where one
passes that is listed there. `--write` puts the counts and the list into docs/reference/neighbours.md.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tarfile
import tomllib
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "reference" / "neighbours.md"
# One test of theirs may hang; the slowest that passes takes ten seconds.
TEST_S = 60


@dataclass(frozen=True, slots=True)
class Suite:
    """A library's tests.

    Attributes:
        sdist: the release that has them; version: of the library that is tested.
        tests: below the sdist's directory.
        needs: packages.
        about: one sentence for the page.
    """

    sdist: str
    library: str
    tests: tuple[str, ...]
    needs: tuple[str, ...]
    about: str


_HTTPX_NEEDS = (
    "anyio",
    "brotli",
    "certifi",
    "chardet",
    "cryptography",
    "h2",
    "httpcore",
    "socksio",
    "trio",
    "trustme",
    "uvicorn",
    "zstandard",
)

SUITES = {
    "requests": Suite(
        "requests==2.34.2",
        "requests==2.34.2",
        ("tests",),
        ("PySocks", "httpbin~=0.10.0", "pytest-httpbin==2.1.0", "pytest-mock", "trustme"),
        "Every Session has TurbosockAdapter, and every HTTPAdapter that a test makes is one.",
    ),
    "responses": Suite(
        "responses==0.26.3",
        "responses==0.26.3",
        ("responses/tests",),
        ("PyYAML", "pytest-asyncio", "pytest-httpserver", "tomli", "tomli-w"),
        "It answers in the place of the adapter, also where that is TurbosockAdapter.",
    ),
    "httpx": Suite(
        "httpx==0.28.1",
        "httpx==0.28.1",
        ("tests",),
        _HTTPX_NEEDS,
        "Every Client has TurbosockTransport, as has every HTTPTransport of a test. AsyncClient is httpx's own.",
    ),
    "httpx2": Suite(
        "httpx==0.28.1",
        "httpx2==2.16.2",
        ("tests",),
        _HTTPX_NEEDS,
        "Its sdist has no tests: these are those of httpx, by `httpx2.alias_httpx()`.",
    ),
}


class Failed(Exception):
    """What was to be run did not run."""


def run(*command: str | Path, cwd: Path | None = None, **variables: str) -> int:
    """Run a command with these variables of the environment changed; its exit status."""
    return subprocess.run(
        [str(each) for each in command], cwd=cwd, env={**os.environ, **variables}, check=False
    ).returncode


def prepared(name: str, suite: Suite, directory: Path) -> tuple[Path, Path]:
    """The interpreter for a suite, and the directory of its sdist; both are made the first time."""
    environment, sources = directory / name, directory / "sdists"
    python = environment / "bin" / "python"
    ready = environment / "ready"
    wanted = "\n".join((suite.sdist, suite.library, *suite.needs))
    if not ready.exists() or ready.read_text() != wanted:
        venv.create(environment, with_pip=True, clear=True)
        packages = (suite.library, *suite.needs, "pytest", "pytest-timeout", str(ROOT))
        if run(python, "-m", "pip", "install", "-q", *packages):
            raise Failed(f"{name}: what its tests need cannot be installed")
        ready.write_text(wanted)
    package, _, version = suite.sdist.partition("==")
    unpacked = sources / f"{package}-{version}"
    if not unpacked.exists():
        if run(python, "-m", "pip", "download", "-q", "--no-binary", ":all:", "--no-deps", "-d", sources, suite.sdist):
            raise Failed(f"{name}: the sdist cannot be fetched")
        with tarfile.open(sources / f"{package}-{version}.tar.gz") as archive:
            archive.extractall(sources, filter="data")
    return python, unpacked


def outcomes(name: str, suite: Suite, directory: Path, *, ours: bool) -> dict[str, dict[str, object]]:
    """What each test of a suite does, with turbosock under it or without."""
    python, unpacked = prepared(name, suite, directory)
    kept = directory / f"{name}-{'under' if ours else 'alone'}.jsonl"
    kept.unlink(missing_ok=True)
    run(
        python, "-m", "pytest", "-q", "--no-header", "--tb=line", "-p", "under", "-p", "no:cacheprovider",
        f"--timeout={TEST_S}", "-W", "default", *suite.tests,
        cwd=unpacked, PYTHONPATH=os.pathsep.join((str(HERE), str(ROOT))),
        NEIGHBOUR=name, OUTCOMES=str(kept), UNDER="turbosock" if ours else "",
    )  # fmt: skip
    if not kept.exists():
        raise Failed(f"{name}: no test ran")
    lines = (json.loads(line) for line in kept.read_text().splitlines())
    return {line["test"]: line for line in lines}


def known(name: str) -> list[dict[str, Any]]:
    """What cannot pass, from known.toml; what httpx2 runs are httpx's tests."""
    entries: list[dict[str, Any]] = tomllib.loads((HERE / "known.toml").read_text()).get(name.rstrip("2"), [])
    return entries


def matching(tests: Iterable[str], entries: list[dict[str, Any]]) -> list[str]:
    """Those of the tests that the entries have; brackets in ids mean themselves."""
    patterns = [pattern.replace("[", "[[]") for entry in entries for pattern in entry["tests"]]
    return [test for test in tests if any(fnmatch.fnmatchcase(test, pattern) for pattern in patterns)]


def judged(
    name: str, suite: Suite, under: dict[str, dict[str, object]], alone: dict[str, dict[str, object]]
) -> tuple[list[str], str]:
    """What is wrong with a suite's outcomes, with turbosock under it and without, and its row of the page."""
    entries = known(name)
    failed = [test for test, line in under.items() if line["outcome"] == "failed"]
    elsewhere = [test for test in failed if alone.get(test, {}).get("outcome") == "failed"]
    listed = matching((test for test in failed if test not in elsewhere), entries)
    wrong = [f"{test}: fails" for test in failed if test not in elsewhere and test not in listed]
    for entry in entries:
        # Of a test with parameters, one that fails is enough.
        if not entry.get("sometimes") and not matching(failed, [entry]):
            wrong.append(f"{', '.join(entry['tests'])}: passes; take it out of known.toml")
    sent = [line for line in under.values() if line["sent"]]
    passed = sum(line["outcome"] == "passed" for line in sent)
    counts = (len(under), len(sent), passed, len(listed), len(elsewhere))
    return wrong, f"| {suite.library.replace('==', ' ')} | {' | '.join(map(str, counts))} |"


def page(rows: list[str]) -> str:
    """The page of the counts and of what cannot pass."""
    lines = [
        "# The neighbours' own tests",
        "",
        "`tox -e neighbours` fetches the sdists of requests, responses and httpx, and runs their tests with turbosock",
        "[under them](../how-to/replace-requests.md). This page is written by `tools/neighbours/run.py --write`.",
        "",
        "| library | tests | sent requests through turbosock | of these passed | cannot pass | fail without it, too |",
        "|---|--:|--:|--:|--:|--:|",
        *rows,
        "",
        "What fails without turbosock, too, does so for want of a network, whose addresses answer or do not as a test",
        "expects, or because of a release of another package that the tests do not know yet.",
        "",
    ]
    for name, suite in SUITES.items():
        lines += [f"## {name}", "", suite.about, ""]
        entries = known(name)
        for entry in entries:
            tests = ", ".join(f"`{test}`" for test in entry["tests"])
            lines += [f"- {tests}: {entry['why']}"]
        lines += [""] if entries else ["All pass.", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description="The own tests of other libraries, with turbosock under them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(SUITES)}; none for all")
    parser.add_argument("--environment", type=Path, default=ROOT / ".neighbours", help="where all is kept")
    parser.add_argument("--write", action="store_true", help="write docs/reference/neighbours.md, where all are run")
    options = parser.parse_args()
    names = options.names or list(SUITES)
    for name in names:
        if name not in SUITES:
            parser.error(f"no library {name!r}; there are {', '.join(SUITES)}")
    directory = options.environment.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    rows, wrong = [], []
    for name in names:
        try:
            under, alone = (outcomes(name, SUITES[name], directory, ours=ours) for ours in (True, False))
            own, row = judged(name, SUITES[name], under, alone)
        except Failed as failure:
            own, row = [str(failure)], ""
        wrong += own
        rows.append(row)
        print(row, flush=True)
    if options.write and not options.names:
        PAGE.write_text(page(rows))
    for each in wrong:
        print(f"failed: {each}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
