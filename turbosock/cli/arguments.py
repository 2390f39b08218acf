"""Arguments of the command line: a parser whose complaints repeat no credential, and the types of its options.

What argparse says of a wrong argument goes to terminals and logs of scheduled jobs. So a complaint names the option,
and never repeats a value: a forgotten `-H` turns `Authorization: …` into a stray word.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import NoReturn

from turbosock import limits
from turbosock.config import check_seconds
from turbosock.errors import InvalidOption


class Parser(argparse.ArgumentParser):
    """An ArgumentParser without abbreviations, that names stray options and only counts stray words."""

    def __init__(self, prog: str, description: str, epilog: str | None = None) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        # Of nested commands the innermost one's is what stays.
        self.set_defaults(parser=self)

    def error(self, message: str) -> NoReturn:
        """End with status 2, in one line with the way to the help: the usage of forty options would hide it."""
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help says what it takes\n")

    def parse_strictly(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """The parsed arguments; ends the program with status 2, as argparse does, where they cannot be used."""
        arguments, stray = self.parse_known_args(argv)
        if stray:
            parser: Parser = arguments.parser
            options = [_option_of(word) for word in stray if word.startswith("-")]
            if options:
                parser.error(f"not an option here: {', '.join(options)}")
            parser.error(f"{len(stray)} argument(s) too many; quote values that hold spaces")
        return arguments


def _option_of(word: str) -> str:
    """The name of the option in a word; what is glued to it may be a password."""
    return word.partition("=")[0] if word.startswith("--") else word[:2]


def seconds(text: str) -> float:
    """A time in seconds that the library takes."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError("give seconds as a number") from None
    try:
        check_seconds("seconds", value)
    except InvalidOption:
        raise argparse.ArgumentTypeError(f"give more than 0 and at most {limits.MAX_TIMEOUT_S:.0f} seconds") from None
    return value


def seconds_or_zero(text: str) -> float:
    """A time in seconds that the library takes, or 0."""
    return 0.0 if text == "0" else seconds(text)


def seconds_up_to(maximum_s: float) -> Callable[[str], float]:
    """The type of a time in seconds of at most `maximum_s`."""

    def bounded(text: str) -> float:
        value = seconds(text)
        if value > maximum_s:
            raise argparse.ArgumentTypeError(f"give at most {maximum_s:g} seconds")
        return value

    return bounded


def count_up_to(maximum: int, minimum: int = 0) -> Callable[[str], int]:
    """The type of a number from `minimum` to `maximum`."""

    def bounded(text: str) -> int:
        short = text.isascii() and text.isdigit() and len(text) <= len(str(maximum))
        if not (short and minimum <= int(text) <= maximum):
            raise argparse.ArgumentTypeError(f"give a number from {minimum} to {maximum}")
        return int(text)

    return bounded


def header(text: str) -> tuple[str, str]:
    """A field as `Name: value`; what names and values may hold is the library's to judge."""
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise argparse.ArgumentTypeError("give a header as 'Name: value'")
    return name, value.strip(" \t")


def text(argument: str) -> str:
    """Text that is text: bytes that are not UTF-8 arrive from the shell as lone surrogates."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("it holds bytes that are not UTF-8; percent-encode them") from None
    return argument
