"""Messages go where the program sends them, and nowhere else."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from support.observed import Observed
from turbosock import Client, Loop, RetryPolicy
from turbosock.logs import area


def test_root_has_a_handler_that_says_nothing() -> None:
    assert any(isinstance(each, logging.NullHandler) for each in logging.getLogger("turbosock").handlers)
    script = "import turbosock, logging; logging.getLogger('turbosock.pool').error('nobody asked')"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert ran.stderr == b""


def test_area_is_a_logger_below_the_root() -> None:
    assert area("pool").name == "turbosock.pool"
    assert area("pool").parent is logging.getLogger("turbosock")


@pytest.mark.parametrize("face", [Client, Loop])
def test_connections_and_retries_are_logged_with_what_they_are_made_of(
    face: type[Client] | type[Loop], caplog: pytest.LogCaptureFixture
) -> None:
    observed = Observed(face, retries=RetryPolicy(count=1, backoff_first_s=0.001))
    with caplog.at_level(logging.DEBUG, "turbosock"), observed.source:
        observed.ask("/503?token=s3cr3t", auth=("user", "s3cr3t"))
    by_area = {record.name: record for record in caplog.records}
    retry, closed = by_area["turbosock.client"].__dict__, by_area["turbosock.pool"].__dict__
    assert (retry["method"], retry["url"], retry["error"], retry["attempts"]) == (
        "GET", "http://peer.test/503", "503", 2,
    )  # fmt: skip
    assert (closed["host"], closed["open"]) == ("peer.test:80", 0)
    assert "s3cr3t" not in caplog.text
