"""The environment of the benchmarks: a virtual environment with the peers and with turbosock's own dependencies.

It is made on first use under .bench/ in the checkout, and renewed when a requirement changes. turbosock itself is
imported from the checkout, so that what is measured is what is being edited. A peer that cannot be installed (pycurl
needs libcurl's headers where there is no wheel) is reported and left out.
"""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
CACHE = CHECKOUT / ".bench"

# Some libraries obey these rather than what they are told: requests takes a CA bundle over its Session's.
FOREIGN = ("_PROXY", "_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")


def requirement_lines(text: str) -> list[str]:
    """The requirements in `text`, one a line, without comments."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def requirements() -> tuple[list[str], list[str]]:
    """(turbosock's own dependencies, the peers), each a list of requirement lines."""
    settings = configparser.ConfigParser()
    settings.read(CHECKOUT / "setup.cfg")
    own = settings["options"]["install_requires"]
    return requirement_lines(own), requirement_lines((HERE / "requirements.txt").read_text())


def ensure() -> Path:
    """Path of the environment's interpreter, made or renewed where needed."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    directory = CACHE / f"py{version.replace('.', '')}"
    python = directory / "bin" / "python"
    own, peers = requirements()
    stamp, wanted = directory / "requirements.stamp", "\n".join([sys.version, *own, *peers])
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"making the environment of the benchmarks in {directory.relative_to(CHECKOUT)} ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", os.fspath(directory)], check=True)
    pip = [os.fspath(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, *own], check=True)
    if subprocess.run([*pip, *peers]).returncode:
        for peer in peers:
            if subprocess.run([*pip, peer]).returncode:
                print(f"{peer} could not be installed and is left out")
    stamp.write_text(wanted)
    return python


def variables(checkout: Path = CHECKOUT) -> dict[str, str]:
    """A contestant's environment variables: ours, the checkout first on its path, no proxies and no authorities."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().endswith(FOREIGN)}
    # What pip installs is compiled; so is what is measured here.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, "PYTHONPATH": os.pathsep.join([os.fspath(checkout), os.fspath(HERE)])}
