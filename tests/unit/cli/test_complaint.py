"""What the command says of an error: one line, which ends with what to do."""

from __future__ import annotations

import pytest

from turbosock import errors
from turbosock.cli.complaint import HINTS, complaint
from turbosock.cli.exit_status import ExitStatus, status_of
from turbosock.errors import Phase


def test_complaint_without_a_hint_has_that_of_its_status() -> None:
    error = errors.ProtocolError("the response begins with 'HELLO', which is not HTTP/1")
    said = complaint(error.during(Phase.HEAD, "GET", "http://host/"))
    assert said.startswith("GET http://host/: the response begins with 'HELLO', which is not HTTP/1 (while waiting")
    assert said.endswith("); check scheme, port and path: something else may answer there")


@pytest.mark.parametrize("said", ["the peer sent nothing; try later", "no: check that the server runs (ECONNREFUSED)"])
def test_complaint_with_a_hint_is_left_alone(said: str) -> None:
    assert complaint(errors.ReadError(said)) == said


def test_complaint_names_options() -> None:
    assert complaint(errors.InvalidOption("ca_file='/nope': no such file")) == "--cacert='/nope': no such file"


@pytest.mark.parametrize(
    "kind",
    [
        errors.NetworkError,
        errors.DeadlineError,
        errors.ProtocolError,
        errors.TlsError,
        errors.LimitError,
        errors.StatusError,
        errors.ProxyError,
        errors.ResolveError,
    ],
)
def test_every_failure_of_a_peer_has_a_hint(kind: type[errors.TurbosockError]) -> None:
    assert HINTS[status_of(kind())]


def test_hints_are_for_what_no_file_and_no_option_is_to_blame() -> None:
    own = {ExitStatus.OK, ExitStatus.FAILED, ExitStatus.USAGE, ExitStatus.OUTPUT, ExitStatus.INPUT}
    assert not own & HINTS.keys()
