"""The table: aligned, each leg titled once, each note told once."""

from __future__ import annotations

from turbosock.cli.demo.leg import Figure, Outcome
from turbosock.cli.demo.table import WIDTH, table


def test_table_has_aligned_rows_and_each_title_and_note_once() -> None:
    note = "A note that two legs share."
    shown = table(
        [
            ("first leg", Outcome((Figure("rate", "1,234"), Figure("longest tick", "5 ms")), (note,))),
            ("second", Outcome((Figure("rate", "7"),), (note,))),
        ]
    )
    assert shown == (
        "------------------------------\n"
        "first leg  rate          1,234\n"
        "           longest tick   5 ms\n"
        "second     rate              7\n"
        "------------------------------\n"
        "A note that two legs share.\n"
    )


def test_table_long_note_is_wrapped() -> None:
    note = "word " * 100
    lines = table([("leg", Outcome((Figure("rate", "1"),), (note,)))]).splitlines()
    assert max(len(line) for line in lines) <= WIDTH
    assert " ".join(lines[3:]) == note.strip()
