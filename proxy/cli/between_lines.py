"""A table with whole sentences between its lines: in a cell they would widen its column."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.measure import Measurement
from rich.segment import Segment

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text


class BetweenLines:
    """`said` come after so many rows of the table, whose rows and head are a line each."""

    def __init__(self, table: "Table", said: Mapping[int, Sequence["Text"]]) -> None:
        self._table = table
        self._said = said

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        for number, line in enumerate(console.render_lines(self._table, options, pad=False)):
            yield from line
            yield Segment.line()
            yield from self._said.get(number, ())

    def __rich_measure__(self, console: "Console", options: "ConsoleOptions") -> Measurement:
        """The table's: sentences may be broken."""
        return Measurement.get(console, options, self._table)
