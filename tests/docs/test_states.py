"""The drawings of the state machines are those of the tables, and the page shows each of them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from types import ModuleType

import pytest

from support.tool import load_tool
from turbosock.protocol.http1 import state as http1
from turbosock.protocol.http2 import stream_state
from turbosock.protocol.websocket import state as websocket


@pytest.fixture(scope="module")
def diagrams() -> ModuleType:
    return load_tool("state_diagrams.py")


def test_drawings_are_those_of_the_tables(diagrams: ModuleType) -> None:
    drawn = {path.stem: path.read_text() for path in diagrams.DIRECTORY.glob("*.svg")}

    expected = {name: diagrams.draw(machine) for name, machine in diagrams.machines().items()}

    assert drawn == expected, "run: python3 tools/state_diagrams.py --write"


def test_page_shows_every_drawing(diagrams: ModuleType) -> None:
    page = (diagrams.DIRECTORY.parent / "states.md").read_text()

    assert all(f"(states/{name}.svg)" in page for name in diagrams.machines())


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("http1-client", len(http1.CLIENT_TABLE)),
        ("http1-server", len(http1.SERVER_TABLE)),
        ("http2-stream", sum(then >= 0 for row in stream_state.TABLE for then in row)),
        ("websocket", len(websocket.TABLE)),
    ],
)
def test_drawing_names_each_step_of_its_table_once(diagrams: ModuleType, name: str, steps: int) -> None:
    machine = diagrams.machines()[name]
    root = ElementTree.fromstring(diagrams.draw(machine))
    texts = [
        (element.get("class"), element.text or "")
        for element in root.iter("{http://www.w3.org/2000/svg}text")
        if element.get("class") != "error"
    ]

    boxes = [text for kind, text in texts if kind == "state"]
    events = [event for kind, text in texts if kind != "state" for event in text.replace("no change:", "").split(",")]

    assert sorted(boxes) == sorted({state for state, _ in machine.steps} | set(machine.steps.values()))
    assert len([event for event in events if event.strip()]) == steps
