"""Sinks: a file appears whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from turbosock.cli.sink import FileSink, StandardOutput


def test_file_sink_committed_replaces_the_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with FileSink(os.fspath(target)) as sink:
        sink.write(b"new ")
        sink.write(memoryview(b"content"))
        assert target.read_bytes() == b"old"
        sink.commit()
    assert target.read_bytes() == b"new content"
    assert os.listdir(tmp_path) == ["file"]


def test_file_sink_left_early_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        _write_half(target)
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def _write_half(target: Path) -> None:
    with FileSink(os.fspath(target)) as sink:
        sink.write(b"half")
        raise KeyboardInterrupt


def test_file_sink_left_early_makes_no_new_file(tmp_path: Path) -> None:
    with FileSink(os.fspath(tmp_path / "file")) as sink:
        sink.write(b"half")
    assert os.listdir(tmp_path) == []


def test_file_sink_new_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with FileSink(os.fspath(tmp_path / "file")) as sink:
            sink.commit()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_file_sink_existing_file_keeps_its_permissions(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.touch()
    target.chmod(0o604)
    with FileSink(os.fspath(target)) as sink:
        sink.commit()
    assert stat.S_IMODE(target.stat().st_mode) == 0o604


def test_file_sink_symbolic_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "file", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with FileSink(os.fspath(link)) as sink:
        sink.write(b"new")
        sink.commit()
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_file_sink_name_as_long_as_a_name_may_be_works(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 255)
    with FileSink(os.fspath(target)) as sink:
        sink.commit()
    assert target.exists()


def test_file_sink_device_is_written_and_not_replaced() -> None:
    with FileSink(os.devnull) as sink:
        sink.write(b"gone")
        sink.commit()
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_file_sink_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as raised:
        FileSink(os.fspath(tmp_path))
    assert raised.value.filename == os.fspath(tmp_path)


def test_file_sink_in_no_directory_fails_with_the_name_that_was_given(tmp_path: Path) -> None:
    missing = os.fspath(tmp_path / "missing" / "file")
    with pytest.raises(FileNotFoundError) as raised:
        FileSink(missing)
    assert raised.value.filename == missing


def test_file_sink_target_that_became_a_directory_fails_by_name_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with FileSink(os.fspath(target)) as sink:
        target.mkdir()
        with pytest.raises(OSError, match="directory") as raised:
            sink.commit()
    assert raised.value.filename == os.fspath(target)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
def test_file_sink_full_device_fails_with_the_name_that_was_given() -> None:
    with pytest.raises(OSError, match="space") as raised, FileSink("/dev/full") as sink:
        sink.write(bytes(1 << 16))
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == "/dev/full"


def test_standard_output_shows_each_piece_at_once(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with StandardOutput() as sink:
        sink.write(b"one")
        assert capfdbinary.readouterr().out == b"one"
        sink.write(memoryview(b"two"))
        assert capfdbinary.readouterr().out == b"two"


class Unbuffered:
    """A standard output as it is without buffers: it takes some bytes at a time, and then no more."""

    def __init__(self, room: int) -> None:
        self.buffer = self
        self.taken = b""
        self._room = room

    def write(self, data: memoryview) -> int | None:
        count = min(3, len(data), self._room)
        self._room -= count
        self.taken += data[:count]
        return count or None

    def flush(self) -> None:
        """There is nothing to flush."""


def test_standard_output_that_takes_parts_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Unbuffered(room=100)
    monkeypatch.setattr(sys, "stdout", stream)
    with StandardOutput() as sink:
        sink.write(b"in more than one part")
    assert stream.taken == b"in more than one part"


def test_standard_output_that_would_block_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Unbuffered(room=4))
    with StandardOutput() as sink, pytest.raises(BlockingIOError) as raised:
        sink.write(b"too much")
    assert raised.value.filename == "standard output"


def test_standard_output_closed_from_the_start_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OSError, match="closed") as raised:
        StandardOutput()
    assert raised.value.filename == "standard output"
