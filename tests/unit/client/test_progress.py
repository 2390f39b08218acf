"""Progress: one line, in place, on terminals only, and not too often."""

from __future__ import annotations

import io

import pytest

from support.terminal import FakeTerminal
from turbosock.client.progress import REDRAW_INTERVAL_S, StatusLine, transfer_line


class Seconds:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_status_line_without_a_terminal_writes_nothing() -> None:
    stream = io.StringIO()
    line = StatusLine(stream)
    assert not line.is_due()
    line.draw("working")
    line.keep()
    line.clear()
    assert stream.getvalue() == ""


def test_status_line_on_a_dumb_terminal_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = FakeTerminal()
    StatusLine(stream).draw("working")
    assert stream.getvalue() == ""


def test_status_line_on_a_terminal_is_rewritten_in_place_and_kept_once() -> None:
    stream = FakeTerminal()
    line = StatusLine(stream)
    line.draw("one")
    line.draw("two")
    line.keep()
    line.keep()
    assert stream.getvalue() == "\r\x1b[Kone\r\x1b[Ktwo\n"


def test_status_line_cleared_leaves_an_empty_line() -> None:
    stream = FakeTerminal()
    line = StatusLine(stream)
    line.clear()
    line.draw("one")
    line.clear()
    line.clear()
    assert stream.getvalue() == "\r\x1b[Kone\r\x1b[K"


def test_status_line_that_was_cleared_is_due_at_once() -> None:
    line = StatusLine(FakeTerminal(), Seconds())
    line.draw("one")
    assert not line.is_due()
    line.clear()
    assert line.is_due()


def test_status_line_is_due_at_once_and_then_at_its_interval() -> None:
    clock = Seconds()
    line = StatusLine(FakeTerminal(), clock)
    assert line.is_due()
    line.draw("one")
    assert not line.is_due()
    clock.now += REDRAW_INTERVAL_S / 2
    assert not line.is_due()
    clock.now += REDRAW_INTERVAL_S
    assert line.is_due()


def test_status_line_longer_than_the_terminal_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = FakeTerminal()
    StatusLine(stream).draw("x" * 100)
    assert stream.getvalue().count("x") == 19


def test_transfer_line_of_known_length_shows_share_rate_and_time_left() -> None:
    shown = transfer_line(512 * 1024, 2 * 1024 * 1024, 1.0)
    assert shown == " 25% [#######.......................] 512.0 KiB of 2.0 MiB  512.0 KiB/s  3 s left"


def test_transfer_line_at_the_end_has_a_full_bar_and_nothing_left() -> None:
    shown = transfer_line(2048, 2048, 2.0)
    assert shown == "100% [##############################] 2.0 KiB of 2.0 KiB  1.0 KiB/s"


def test_transfer_line_of_unknown_length_has_no_bar() -> None:
    assert transfer_line(2048, None, 2.0) == "2.0 KiB  1.0 KiB/s"


def test_transfer_line_of_an_empty_body_is_whole() -> None:
    assert transfer_line(0, 0, 0.0).startswith("100% [###")
