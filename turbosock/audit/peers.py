"""The same request through other libraries, each used as its documentation says: a client kept, the body as bytes.

They follow redirects and are told whom to trust, as turbosock: an authority's file, or the system's own; the
environment's proxies are theirs to read.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any

from turbosock.audit.answers import Answers
from turbosock.audit.counting import Work
from turbosock.audit.plan import AuditPlan
from turbosock.errors import AuditError


@contextlib.contextmanager
def requests_by(plan: AuditPlan) -> Iterator[tuple[Work, Answers]]:
    """Requests of the plan's URL by its peer.

    Raises:
        AuditError: it is not installed, or its first request failed.
    """
    try:
        module: Any = importlib.import_module(plan.peer)
    except ImportError:
        raise AuditError(not_installed(plan.peer)) from None
    tls = plan.config.tls
    ca_file = None if tls.ca_file is None else str(tls.ca_file)
    with contextlib.ExitStack() as stack:
        step = _STEPS[plan.peer](module, plan.target, ca_file, tls.verify, stack)

        try:
            usual, _ = step()
        except Exception as error:
            message = " ".join(str(error).split())
            raise AuditError(f"{plan.peer}: {type(error).__name__}: {message}") from error
        answers = Answers(usual)

        def work(count: int) -> int:
            for _ in range(count):
                status_code, _ = step()
                if status_code != usual:
                    answers.note(status_code)
            return count

        yield work, answers


def not_installed(peer: str) -> str:
    """What to say about a peer that is not there."""
    return f"{peer} is not installed: pip install {peer}, or compare with another"


# Performs one request; the answer's status, and its body.
Step = Callable[[], tuple[int, bytes]]


def _requests(module: Any, url: str, ca_file: str | None, verify: bool, stack: contextlib.ExitStack) -> Step:
    session = stack.enter_context(module.Session())
    session.verify = (ca_file or True) if verify else False

    def step() -> tuple[int, bytes]:
        response = session.get(url)
        return response.status_code, response.content

    return step


def _urllib3(module: Any, url: str, ca_file: str | None, verify: bool, stack: contextlib.ExitStack) -> Step:
    manager = module.PoolManager(ca_certs=ca_file, cert_reqs="CERT_REQUIRED" if verify else "CERT_NONE")
    stack.callback(manager.clear)

    def step() -> tuple[int, bytes]:
        response = manager.request("GET", url)
        return response.status, response.data

    return step


def _httpx2(module: Any, url: str, ca_file: str | None, verify: bool, stack: contextlib.ExitStack) -> Step:
    import ssl

    trust = ssl.create_default_context(cafile=ca_file) if verify else False
    client = stack.enter_context(module.Client(verify=trust, follow_redirects=True))

    def step() -> tuple[int, bytes]:
        response = client.get(url)
        return response.status_code, response.content

    return step


def _pycurl(module: Any, url: str, ca_file: str | None, verify: bool, stack: contextlib.ExitStack) -> Step:
    handle = module.Curl()
    stack.callback(handle.close)
    handle.setopt(module.URL, url)
    handle.setopt(module.FOLLOWLOCATION, 1)
    if ca_file is not None:
        handle.setopt(module.CAINFO, ca_file)
    if not verify:
        handle.setopt(module.SSL_VERIFYPEER, 0)
        handle.setopt(module.SSL_VERIFYHOST, 0)
    parts: list[bytes] = []
    handle.setopt(module.WRITEFUNCTION, parts.append)
    perform = handle.perform

    def step() -> tuple[int, bytes]:
        parts.clear()
        perform()
        return handle.getinfo(module.RESPONSE_CODE), b"".join(parts)

    return step


_STEPS: dict[str, Callable[[Any, str, str | None, bool, contextlib.ExitStack], Step]] = {
    "requests": _requests,
    "urllib3": _urllib3,
    "httpx2": _httpx2,
    "pycurl": _pycurl,
}
