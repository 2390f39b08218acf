"""A real browser: Chromium without a window, driven over its DevTools protocol by our own Client and WebSocket.

Waits are by condition: the page itself looks until it holds, for at most GUARD_S.

    with Browser() as browser:
        page = browser.open(url)
        page.until("document.querySelector('#state').textContent === 'connected'")
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from support.peers import require
from turbosock import Client, Config, WebSocket

INSTALL = "apt-get install -y chromium"
GUARD_S = 60.0
MAX_MESSAGE = 16 * 1024 * 1024
FLAGS = (
    "--headless=new",
    "--remote-debugging-port=0",
    # A container gives it no namespaces to build a sandbox of, and little shared memory.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--password-store=basic",
    "--window-size=1280,760",
    # Certificates of the tests are signed by nobody.
    "--ignore-certificate-errors",
)


class PageError(AssertionError):
    """The page raised, or what was waited for did not come."""


class Browser:
    """Chromium for the length of a with block.

    Attributes:
        pages: those that were opened, by their session.
        ws: the WebSocket that drives it.
    """

    def __init__(self) -> None:
        # It has sockets in there, and their paths must be short. What it leaves behind as it ends may come meanwhile.
        self._directory = tempfile.TemporaryDirectory(prefix="turbosock-", ignore_cleanup_errors=True)
        self._client = Client(Config(trust_env=False))
        self._process: subprocess.Popen[bytes] | None = None
        self._last_id = 0
        self.pages: dict[str, Page] = {}
        self.ws: WebSocket

    def __enter__(self) -> Browser:
        try:
            self._start(require("chromium", INSTALL))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start(self, executable: str) -> None:
        directory = Path(self._directory.name)
        profile = directory / "profile"
        environment = {**os.environ, "HOME": str(directory), "TMPDIR": str(directory)}
        environment.pop("DBUS_SESSION_BUS_ADDRESS", None)
        with (directory / "said").open("wb") as said:
            # A session of its own: it is many processes, which end together.
            process = self._process = subprocess.Popen(
                [executable, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment, start_new_session=True,
            )  # fmt: skip
        port_file = profile / "DevToolsActivePort"
        deadline = time.monotonic() + GUARD_S
        lines: list[str] = []
        while len(lines) < 2:
            # It has said where it listens, or has ended, or a moment has passed.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
            if process.returncode is not None or time.monotonic() > deadline:
                words = (directory / "said").read_text(errors="replace")
                raise RuntimeError(f"chromium did not start within {GUARD_S:g} s: {words[-2000:]}")
            with contextlib.suppress(FileNotFoundError):
                lines = port_file.read_text().splitlines()
        self.ws = self._client.websocket(f"ws://127.0.0.1:{lines[0]}{lines[1]}", max_message=MAX_MESSAGE)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        self._client.close()
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._directory.cleanup()

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """One command, and its result; events that come meanwhile are given to their pages."""
        self._last_id += 1
        command = {"id": self._last_id, "method": method, "params": params}
        if session is not None:
            command["sessionId"] = session
        self.ws.send(json.dumps(command))
        while True:
            said = json.loads(self.ws.recv(timeout=2 * GUARD_S))
            if said.get("id") == self._last_id:
                break
            page = self.pages.get(said.get("sessionId", ""))
            if page is not None and "method" in said:
                page.note(said["method"], said["params"])
        if "error" in said:
            raise PageError(f"{method}: {said['error']}")
        result: dict[str, Any] = said["result"]
        return result

    def open(self, url: str) -> Page:
        """A new tab that shows `url`."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session)
        for domain in ("Runtime", "Log", "Page"):
            page.call(f"{domain}.enable")
        # Answered when the new document has taken the place of the old one.
        page.call("Page.navigate", url=url)
        page.until("document.readyState === 'complete'")
        return page


class Page:
    """One tab.

    Attributes:
        complaints: exceptions that nobody caught, and errors on the console.
    """

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.complaints: list[str] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol."""
        return self._browser.call(method, self._session, **params)

    def note(self, method: str, params: dict[str, Any]) -> None:
        """An event of the protocol."""
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript, awaited where it is a promise."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Return as soon as an expression is true; PageError, with what the page shows, if it is too late."""
        looks = f"""new Promise((done) => {{
            const end = performance.now() + {GUARD_S * 1000};
            (function look() {{
                const holds = Boolean({condition});
                if (holds || performance.now() > end) done(holds);
                else setTimeout(look, 20);
            }})();
        }})"""
        if not self.evaluate(looks):
            shown = self.evaluate("document.body.innerText")
            raise PageError(f"not true within {GUARD_S:g} s: {condition}\n{shown}\n{self.complaints}")

    def press(self, key: str, code: str) -> None:
        """Hold a key down."""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=code)

    def release(self, key: str, code: str) -> None:
        """Let it go."""
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=code)

    def write(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click the middle of an element."""
        x, y = self.evaluate(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
