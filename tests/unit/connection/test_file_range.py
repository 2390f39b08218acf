"""Parts of files on their way to a socket: what moves, and whose fault a failure is."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from turbosock.connection.file_range import FileRange
from turbosock.errors import Origin, WriteError


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        yield near, far


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return path


def refusing(code: int) -> object:
    def sendfile(*arguments: object) -> int:
        raise OSError(code, os.strerror(code))

    return sendfile


def test_range_moves_its_bytes_and_leaves_the_files_position(
    path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    with path.open("rb") as file:
        part = FileRange(file, 2, 8, 10)
        assert part.transfer(near, 2, 5) == 5
        part.moved(5)
        assert (part.offset, part.count) == (7, 3)
        assert part.transfer(near, 7, 3) == 3
        assert far.recv(100) == b"23456789"
        assert file.tell() == 0


def test_range_beyond_the_end_of_its_file_moves_nothing(path: Path, pair: tuple[socket.socket, socket.socket]) -> None:
    with path.open("rb") as file:
        part = FileRange(file, 4, 6, 8)
        os.truncate(path, 4)
        assert part.transfer(pair[0], 4, 6) == 0
        error = part.ended()
    assert error.origin is Origin.LOCAL
    assert "ended 6 bytes before the 8 that were announced" in str(error)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_range_of_a_file_that_cannot_be_moved_is_read_and_sent(
    code: int, path: Path, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sendfile", refusing(code))
    near, far = pair
    with path.open("rb") as file:
        part = FileRange(file, 2, 8, 10)
        assert part.transfer(near, 2, 5) == 5
        # And is not tried again.
        monkeypatch.setattr(os, "sendfile", refusing(errno.EIO))
        assert part.transfer(near, 7, 5) == 3
        assert part.transfer(near, 10, 5) == 0
    assert far.recv(100) == b"23456789"


@pytest.mark.parametrize("code", [errno.EIO, errno.EBADF])
def test_range_of_a_file_that_cannot_be_read_is_a_local_write_error(
    code: int, path: Path, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sendfile", refusing(code))
    with path.open("rb") as file, pytest.raises(WriteError, match="the file cannot be read") as caught:
        FileRange(file, 0, 10, 10).transfer(pair[0], 0, 10)
    assert (caught.value.origin, caught.value.errno) == (Origin.LOCAL, code)


def test_range_of_a_file_that_was_closed_is_a_local_write_error(
    path: Path, pair: tuple[socket.socket, socket.socket]
) -> None:
    with path.open("rb") as file:
        part = FileRange(file, 0, 10, 10)
    # Its number may be another file's by now.
    with path.open("rb"), pytest.raises(WriteError, match="closed while it was sent") as caught:
        part.transfer(pair[0], 0, 10)
    assert caught.value.origin is Origin.LOCAL


def test_range_passes_on_what_the_socket_says(path: Path, pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    with path.open("rb") as file:
        part = FileRange(file, 0, 10, 10)
        with contextlib.suppress(BlockingIOError):
            while near.send(bytes(100_000)):
                pass
        with pytest.raises(BlockingIOError):
            part.transfer(near, 0, 10)
        far.close()
        with pytest.raises(BrokenPipeError):
            part.transfer(near, 0, 10)
