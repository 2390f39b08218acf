"""Screen: drawn over in place on a terminal, plain elsewhere."""

from __future__ import annotations

import io
import os

import pytest

from support.terminal import FakeTerminal
from turbosock.cli.top.report import Line
from turbosock.cli.top.screen import Screen

LINES = [Line("one", "title"), Line("two"), Line("three", "bad")]


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((40, 10)))


def drawn(lines: list[Line]) -> str:
    terminal = FakeTerminal()
    Screen(terminal).draw(lines)
    return terminal.getvalue()


def test_second_drawing_covers_the_first() -> None:
    terminal = FakeTerminal()
    screen = Screen(terminal)
    screen.draw(LINES[1:2] * 3)
    screen.draw(LINES[1:2])
    assert terminal.getvalue() == "two\x1b[K\n" * 3 + "\x1b[J" + "\x1b[3Ftwo\x1b[K\n\x1b[J"


def test_colours_are_for_terminals() -> None:
    assert drawn(LINES) == "\x1b[1mone\x1b[0m\x1b[K\ntwo\x1b[K\n\x1b[31mthree\x1b[0m\x1b[K\n\x1b[J"


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert drawn(LINES) == "one\x1b[K\ntwo\x1b[K\nthree\x1b[K\n\x1b[J"


@pytest.mark.parametrize("kind", [io.StringIO, FakeTerminal])
def test_what_is_no_terminal_or_a_dumb_one_gets_plain_lines(
    kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = kind()
    screen = Screen(stream)
    screen.draw(LINES)
    screen.draw(LINES)
    assert not screen.live
    assert stream.getvalue() == "one\ntwo\nthree\n" * 2


def test_drawing_is_cut_to_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((5, 3)))
    assert drawn([Line("abcdefgh")] * 4) == "abcd\x1b[K\n" * 2 + "\x1b[J"


def test_last_drawing_is_whole_and_covers_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((5, 3)))
    terminal = FakeTerminal()
    screen = Screen(terminal)
    screen.draw([Line("a")] * 4)
    screen.draw([Line("b")] * 4, last=True)
    assert terminal.getvalue() == "a\x1b[K\n" * 2 + "\x1b[J" + "\x1b[2F" + "b\x1b[K\n" * 4 + "\x1b[J"
