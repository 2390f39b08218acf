"""Exit statuses: each failure has its own, and the help tells all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from turbosock import errors
from turbosock.cli.exit_status import MEANINGS, ExitStatus, status_of, table


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidOption(), ExitStatus.USAGE),
        (errors.InvalidUrl(), ExitStatus.USAGE),
        (errors.InvalidHeader(), ExitStatus.USAGE),
        (errors.ResolveError(), ExitStatus.RESOLVE),
        (errors.ConnectError(), ExitStatus.CONNECT),
        (errors.ConnectTimeout(), ExitStatus.TIMEOUT),
        (errors.TotalTimeout(), ExitStatus.TIMEOUT),
        (errors.ReadError(), ExitStatus.NETWORK),
        (errors.ConnectionClosed(), ExitStatus.NETWORK),
        (errors.WriteError(), ExitStatus.NETWORK),
        (errors.WriteError(origin=errors.Origin.LOCAL), ExitStatus.INPUT),
        (errors.ProxyError(), ExitStatus.PROXY),
        (errors.ProtocolError(), ExitStatus.PROTOCOL),
        (errors.BodyTruncated(), ExitStatus.PROTOCOL),
        (errors.TlsError(), ExitStatus.TLS),
        (errors.HeadTooLarge(), ExitStatus.LIMIT),
        (errors.RedirectError(), ExitStatus.PROTOCOL),
        (errors.TooManyRedirects(), ExitStatus.LIMIT),
        (errors.StatusError(), ExitStatus.HTTP_STATUS),
        (errors.Cancelled(), ExitStatus.INTERRUPTED),
        (errors.StateError(), ExitStatus.FAILED),
    ],
)
def test_status_of_error_tells_what_failed(error: errors.TurbosockError, status: ExitStatus) -> None:
    assert status_of(error) is status


def _classes(root: type[errors.TurbosockError]) -> Iterator[type[errors.TurbosockError]]:
    for kind in root.__subclasses__():
        # Not those that other tests made.
        if kind.__module__ == errors.__name__:
            yield kind
            yield from _classes(kind)


def test_status_of_every_error_that_is_no_misuse_is_a_specific_one() -> None:
    unspecific = {kind for kind in _classes(errors.TurbosockError) if status_of(kind()) is ExitStatus.FAILED}
    # No command plays a cassette.
    assert {kind for kind in unspecific if not issubclass(kind, errors.MisuseError)} == {errors.CassetteError}


def test_table_has_a_line_with_the_meaning_of_every_status() -> None:
    lines = table().splitlines()
    assert [int(line.split()[0]) for line in lines] == sorted(ExitStatus)
    for line, status in zip(lines, ExitStatus, strict=True):
        assert line.endswith(MEANINGS[status])


def test_documentation_has_a_row_with_the_meaning_of_every_status() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "command-line.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert rows == [f"| {status.value} | {MEANINGS[status]} |" for status in ExitStatus]
