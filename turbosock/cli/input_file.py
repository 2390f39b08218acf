"""Files that the command sends: `@FILE` opened, `@-` for standard input; what cannot be read is known before the rest.

Failures are Unreadable, an OSError of its own, so that they are not taken for failures of the output.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import ExitStack
from typing import BinaryIO, Final

from turbosock import limits
from turbosock.errors import InvalidOption

STANDARD_INPUT: Final = "-"


class Unreadable(OSError):
    """A file to send cannot be opened or read; `filename` names it."""


class InputFiles:
    """Opens what is to be sent; `stack` closes it. Standard input is given once."""

    __slots__ = ("_stack", "_stdin_of")

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._stdin_of: str | None = None

    def open(self, path: str, option: str) -> BinaryIO:
        """The file at `path`, or standard input for "-".

        Raises:
            Unreadable: it cannot be opened, or is a directory.
            InvalidOption: standard input was given before; both options are named.
        """
        if path == STANDARD_INPUT:
            if self._stdin_of is not None:
                raise InvalidOption(f"{self._stdin_of}, {option}: standard input is there once; give one of them")
            self._stdin_of = option
            if sys.stdin is None:
                raise Unreadable(errno.EBADF, "it is closed", "standard input")
            return sys.stdin.buffer
        try:
            return self._stack.enter_context(open(path, "rb"))
        except ValueError:
            raise InvalidOption(f"{option}: the path of a file cannot hold a zero byte") from None
        except OSError as error:
            raise Unreadable(error.errno, error.strerror, path) from error

    def read(self, path: str, option: str) -> bytes:
        """All of it.

        Raises:
            Unreadable, InvalidOption: as `open`, and where it cannot be read, or is too long for memory.
        """
        file = self.open(path, option)
        maximum = limits.MAX_SERIALIZED_BYTES
        try:
            data = file.read(maximum + 1)
        except OSError as error:
            raise Unreadable(error.errno, error.strerror, path) from error
        if len(data) > maximum:
            raise InvalidOption(
                f"{option}: the file has more than {maximum} bytes; --data-binary @FILE sends any length"
            )
        return data


def text_bytes(text: str) -> bytes:
    """The bytes that the shell gave, whatever their encoding."""
    return os.fsencode(text)
