"""Which framing an argument of the user's means."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from turbosock.errors import InvalidOption
from turbosock.protocol.framing.custom import CustomFraming
from turbosock.protocol.framing.framing import Framing
from turbosock.protocol.framing.raw import RawFraming

FramingArgument: TypeAlias = Framing | Callable[[memoryview, int], "int | tuple[int, int, int]"] | None

_RAW = RawFraming()


def framing_of(framing: FramingArgument) -> Framing:
    """The framing that a `framing=` argument means: None is raw, a function finds the messages.

    Raises:
        InvalidOption: it is neither.
    """
    if framing is None:
        return _RAW
    if isinstance(framing, Framing):
        return framing
    if isinstance(framing, type) or not callable(framing):
        raise InvalidOption(f"framing={framing!r}: give a Framing, a function that finds messages, or None for raw")
    return CustomFraming(framing)
