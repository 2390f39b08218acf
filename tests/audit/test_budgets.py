"""Every scenario keeps to its budget: counts of allocations, which do not drift with the machine.

`tox -e audit` runs these alone. With TURBOSOCK_AUDIT_WRITE=1 what is measured is printed, and sites.json written anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.audit_budgets import BUDGETS, SITES, Budget, budgets, by_function, exceeded, known_sites
from support.audit_peer import audit_peer
from support.audit_reports import SITE, report
from turbosock.audit import AuditPlan, Counts, audit
from turbosock.audit.counting import usable_memray
from turbosock.config import Config, TlsConfig, TlsProviderMode, TransportMode
from turbosock.tls.selfsigned import make_self_signed

# Enough for every cache; and as many that the interpreter's arenas, one now and then, do not show.
WARM_UP = 300
COUNT = 500

# What each URL's scenario adds to a plan; those that are no URLs are functions of support.audit_ticks.
URLS: dict[str, tuple[str, dict[str, Any]]] = {
    "http1_blocking": ("http://127.0.0.1:{http}/", {}),
    "http1_ticking": ("http://127.0.0.1:{http}/", {"in_flight": 1}),
    "http1_hundred_in_flight": ("http://127.0.0.1:{http}/", {"in_flight": 100, "count": 3000}),
    "https_blocking": ("https://127.0.0.1:{https}/", {"versions": ("HTTP/1.1",)}),
    "https_ticking": ("https://127.0.0.1:{https}/", {"versions": ("HTTP/1.1",), "in_flight": 1}),
    "http2_blocking": ("https://127.0.0.1:{https}/", {"versions": ("HTTP/2",)}),
    "http2_ticking": ("https://127.0.0.1:{https}/", {"versions": ("HTTP/2",), "in_flight": 1}),
    "websocket_blocking": ("ws://127.0.0.1:{websocket}/", {}),
    "websocket_ticking": ("ws://127.0.0.1:{websocket}/", {"in_flight": 1}),
}
TICKS = {
    "sse_blocking": "sse",
    "sse_ticking": "sse_in_loop",
    "udp_ticking": "udp",
    "tcp_ticking": "tcp",
    "http1_listener": "http_listener",
}


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    directory = tmp_path_factory.mktemp("certificate")
    make_self_signed("127.0.0.1").write(directory)
    with audit_peer(directory) as ports:
        yield {**ports, "ca_file": directory / "ca.pem"}


def plan_of(name: str, peer: dict[str, Any]) -> AuditPlan:
    """The plan of a scenario."""
    if name in TICKS:
        return AuditPlan(f"support.audit_ticks:{TICKS[name]}", warm_up=WARM_UP, count=COUNT)
    url, fields = URLS[name]
    fields = {"warm_up": WARM_UP, "count": COUNT, **fields}
    versions = fields.pop("versions", ("HTTP/1.1",))
    tls = TlsConfig(ca_file=peer["ca_file"], provider=TlsProviderMode.SYSTEM_ONLY)
    # What is budgeted are the defaults, whatever the environment switches.
    config = Config(
        transport=TransportMode.STREAM, zero_alloc=True, diagnostics=False, poller=None, tls=tls, http_versions=versions
    )
    return AuditPlan(url.format(**peer), config=config, **fields)


@pytest.mark.parametrize("name", [*URLS, *TICKS])
def test_scenario_keeps_to_its_budget(name: str, peer: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    if usable_memray() is None:
        pytest.skip("memray is not installed, or something else traces: pip install 'turbosock[test]'")
    ports = {key: value for key, value in peer.items() if key != "ca_file"}
    monkeypatch.setenv("TURBOSOCK_AUDIT_PEER", json.dumps(ports))
    monkeypatch.setenv("TURBOSOCK_POOL_DIAGNOSTICS", "")
    found = audit(plan_of(name, peer), growth=False, apart=False)
    assert found.system is not None and found.python is not None
    print(f"{name}: {found.system.made:.2f} mallocs, {found.python.made:.2f} allocations")
    if os.environ.get("TURBOSOCK_AUDIT_WRITE") == "1":
        SITES.write_text(
            json.dumps({**known_sites(), name: by_function(found.python)}, indent=1, sort_keys=True) + "\n"
        )
    over = exceeded(name, found, budgets(BUDGETS.read_text())[name], known_sites())
    assert not over, f"\n{over}"
    assert found.leases <= 1, "only what is being read may be lent"


def test_every_scenario_has_a_budget_and_every_budget_a_scenario() -> None:
    for version in ("3.11", "3.12", "3.13"):
        assert budgets(BUDGETS.read_text(), version).keys() == {*URLS, *TICKS}


def test_budget_that_is_exceeded_tells_the_functions_that_are_new() -> None:
    known = {"app": {"/srv/app/game.py step": 1.5}}
    told = exceeded("app", report(), Budget(2, 3), known)
    assert told.splitlines()[0] == "app: 4.50 allocations a request, 3 allowed"
    assert "save()" in told and "frame = " in told
    grown = report(python=Counts(4.5, 1.0, 0.0, 0.0, (SITE, SITE._replace(function="save", made=3.0)), ()))
    told = exceeded("app", grown, Budget(1, 9), known)
    assert told.splitlines()[0] == "app: 1.50 mallocs a request, 1 allowed"
    told = exceeded("app", grown, Budget(2, 1), known)
    assert [line.split()[1] for line in told.splitlines()[1:]] == ["save:"]
    assert exceeded("app", grown, Budget(1.5, 4.5), known) == ""


@pytest.mark.parametrize(
    "text",
    ["[a]\nmallocs = 0\n", "[a]\nmallocs = [0]\n", "[a]\nmallocs = [0, '']\n", "[a]\nmalocs = [0, 'why']\n", "[a]\n"],
)
def test_budget_without_a_reason_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a: "):
        budgets(text)


def test_peer_that_is_asked_to_end_does(tmp_path: Path) -> None:
    make_self_signed("127.0.0.1").write(tmp_path)
    with audit_peer(tmp_path) as ports:
        assert set(ports) == {"http", "https", "websocket", "control"}
