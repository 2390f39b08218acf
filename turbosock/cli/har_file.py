"""HarFile: where --har puts the record of a run: opened before anything is sent, written however the run ends."""

from __future__ import annotations

import os
from types import TracebackType

from turbosock.cli.sink import FileSink
from turbosock.errors import InvalidOption
from turbosock.observe.har import HarRecorder


class HarFile:
    """A recorder, and the file for it at the end of a with block; none where nothing was tried.

    Args:
        path: the file, which appears, or is replaced, at the end.
        output: where the body goes, or None.

    Raises:
        InvalidOption: `path` is "-", or the output's own.
        OSError: the file cannot be written.
    """

    def __init__(self, path: str, output: str | None) -> None:
        if path == "-":
            raise InvalidOption("--har: standard output is for the body; give a file")
        if output is not None and os.path.realpath(output) == os.path.realpath(path):
            raise InvalidOption("-o, --har: they name the same file; give two")
        self.recorder = HarRecorder()
        self._sink = FileSink(path)

    def __enter__(self) -> HarFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._sink as sink:
            if self.recorder.entries:
                try:
                    sink.write(self.recorder.to_json())
                    sink.commit()
                except OSError:
                    # What went wrong first is what the user is told of.
                    if error is None:
                        raise
