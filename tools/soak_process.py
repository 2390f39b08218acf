"""The server of `soak.py`, in a process of its own: `soak_server.py`, started, asked and ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from turbosock.tls.selfsigned import make_self_signed

HERE = Path(__file__).resolve().parent


class ServerProcess:
    """soak_server.py for the length of a with block."""

    def __init__(self, seed: int) -> None:
        made = make_self_signed("127.0.0.1")
        self.ca_pem = made.ca_pem
        with tempfile.TemporaryDirectory(prefix="turbosock-soak-") as directory:
            certificate = made.write(directory)
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    os.fspath(HERE / "soak_server.py"),
                    os.fspath(certificate.cert_file or ""),
                    os.fspath(certificate.key_file or ""),
                    str(seed),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            # It has read the key by the time that it says its ports.
            ports = self._line().split()
        self.urls = (f"http://127.0.0.1:{ports[0]}", f"https://127.0.0.1:{ports[1]}")

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the server ended early; what it wrote above says why")
        return line

    def stats(self) -> dict[str, int]:
        """Its descriptors, connections and traced bytes."""
        assert self._process.stdin is not None
        self._process.stdin.write("stats\n")
        self._process.stdin.flush()
        answer: dict[str, int] = json.loads(self._line())
        return answer

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
