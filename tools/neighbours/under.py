"""The pytest plugin that puts turbosock under a library while that library's own tests run.

`NEIGHBOUR` in the environment names the library, `OUTCOMES` the file that gets a line of JSON for each test: its id,
its outcome, and whether it sent a request through turbosock. Where `UNDER` is empty, turbosock is left out.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest

from turbosock import Config, InvalidOption, PoolConfig, Proxy, TlsConfig
from turbosock.client.client import Client

NEIGHBOUR = os.environ["NEIGHBOUR"]
OUTCOMES = os.environ["OUTCOMES"]

_sent: list[str] = []
_outcomes: dict[str, str] = {}


def _counted(send: Callable[..., Any]) -> Callable[..., Any]:
    def forward(self: Client, method: str, url: str, *arguments: Any, **options: Any) -> Any:
        _sent.append(url)
        return send(self, method, url, *arguments, **options)

    return forward


Client.forward = _counted(Client.forward)  # type: ignore[method-assign]  # it is counted and done


def put_under_requests() -> None:
    """Have every session of requests, and every adapter that a test makes, be one of turbosock."""
    import requests.adapters
    import requests.sessions

    from turbosock.integrations.requests import TurbosockAdapter

    for module in (requests.adapters, requests.sessions):
        module.HTTPAdapter = TurbosockAdapter  # type: ignore[misc]  # that is the purpose


def put_under_httpx(library: Any, transport: type) -> None:
    """Have every client of `library`, and every transport that a test makes, be one of turbosock."""

    class HTTPTransport(transport):  # type: ignore[misc]  # either library's
        """What turbosock has of the arguments of the library's own transport."""

        def __init__(
            self, verify: Any = True, cert: Any = None, trust_env: bool = True, http1: bool = True, http2: bool = False,
            limits: Any = None, proxy: Any = None, uds: str | None = None, local_address: str | None = None, **_: Any,
        ) -> None:  # fmt: skip
            versions = (*(("HTTP/2",) if http2 else ()), *(("HTTP/1.1",) if http1 else ()))
            most = None if limits is None else limits.max_connections
            pool = PoolConfig() if most is None else PoolConfig(max_connections=most)
            super().__init__(
                Config(
                    http_versions=versions,
                    tls=_tls(verify),
                    proxy=_proxy(proxy),
                    local_address=local_address,
                    pool=pool,
                )
            )

    library.HTTPTransport = library._client.HTTPTransport = HTTPTransport


def _tls(verify: Any) -> TlsConfig:
    if isinstance(verify, bool):
        return TlsConfig(verify=verify)
    if isinstance(verify, str):
        return TlsConfig(ca_file=verify)
    found = "".join(ssl.DER_cert_to_PEM_cert(each) for each in verify.get_ca_certs(binary_form=True))
    return TlsConfig(
        verify=verify.verify_mode is ssl.CERT_REQUIRED,
        check_hostname=verify.check_hostname,
        ca_data=found.encode() or None,
    )


def _proxy(proxy: Any) -> Any:
    if proxy is None:
        return False
    url = str(getattr(proxy, "url", proxy))
    user, password = getattr(proxy, "auth", None) or (None, None)
    try:
        parsed = Proxy.parse(url)
    except InvalidOption as error:
        raise ValueError(str(error)) from error
    return parsed if user is None else parsed.with_credentials(user, password)


if NEIGHBOUR == "httpx2":
    import httpx2

    # httpx2 comes without its tests; those of httpx are of the same interface.
    httpx2.alias_httpx()
if not os.environ.get("UNDER"):
    # The same tests without turbosock, to compare.
    pass
elif NEIGHBOUR in ("requests", "responses"):
    put_under_requests()
else:
    put_under_httpx(import_module(NEIGHBOUR), import_module(f"turbosock.integrations.{NEIGHBOUR}").TurbosockTransport)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Note what each test does."""
    _sent.clear()
    _outcomes.pop(item.nodeid, None)
    yield
    line = {"test": item.nodeid, "outcome": _outcomes.get(item.nodeid, "skipped"), "sent": bool(_sent)}
    with open(OUTCOMES, "a") as file:
        file.write(json.dumps(line) + "\n")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """The worst of what a test's three parts say."""
    if report.failed:
        _outcomes[report.nodeid] = "failed"
    elif report.when == "call":
        _outcomes.setdefault(report.nodeid, "skipped" if report.skipped else "passed")
