"""A Client or a Loop to observe, closed at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.observed import FACES, Made, Observed


@pytest.fixture(params=FACES, ids=lambda face: face.__name__)
def observed(request: pytest.FixtureRequest) -> Iterator[Made]:
    """Makes one, of either face."""
    made: list[Observed] = []

    def make(**options: Any) -> Observed:
        made.append(Observed(request.param, **options))
        return made[-1]

    yield make
    for each in made:
        each.source.close()
