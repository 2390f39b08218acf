"""TimeoutArgument: what `timeout=` of a call takes, and DEFAULT, which it is when it is not given."""

from __future__ import annotations

import enum
from typing import Final

from turbosock.config import Timeouts


class Default(enum.Enum):
    """The type of DEFAULT, so that signatures can tell "not given" from None."""

    NOT_GIVEN = "not given"

    def __repr__(self) -> str:
        return "DEFAULT"


# What `timeout=` means when it is not given: the timeouts of the configuration.
DEFAULT: Final = Default.NOT_GIVEN
TimeoutArgument = float | Timeouts | Default
