"""A real Prometheus that scrapes one address: a process of its own on a free port, ended by its process id."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from support.peers import require, stop, unused_port

INSTALL = "apt-get install -y prometheus"
JOB = "turbosock-test"
# Often enough that a rate over a second has values.
_CONFIG = """\
global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}
scrape_configs:
  - job_name: {job}
    static_configs: [{{targets: ["{target}"]}}]
"""


@contextlib.contextmanager
def prometheus(directory: Path, target: str) -> Iterator[str]:
    """Run Prometheus for the length of a with block, which scrapes /metrics at `target`; the URL of its own HTTP API.

    It may not answer yet.
    """
    executable = require("prometheus", INSTALL)
    configuration = directory / "prometheus.yml"
    configuration.write_text(_CONFIG.format(job=JOB, target=target))
    address = f"127.0.0.1:{unused_port()}"
    process = subprocess.Popen(
        [
            executable,
            f"--config.file={os.fspath(configuration)}",
            f"--storage.tsdb.path={os.fspath(directory / 'data')}",
            f"--web.listen-address={address}",
            "--log.level=error",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://{address}"
    finally:
        stop(process)
