"""Two trials or studies side by side as a table for the terminal."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from search.report.views.comparison import ComparedValue


def comparison_table(rows: Sequence[ComparedValue], first: str, second: str) -> Table:
    """Return compared values as a table of 80 columns or fewer, where names allow it.

    Args:
        rows: The values.
        first: The title of one side.
        second: The title of the other.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column(first, justify="right")
    table.add_column(second, justify="right")
    if any(row.difference for row in rows):
        table.add_column("difference", justify="right", no_wrap=True)
        table.add_column("noise", no_wrap=True)
    for row in rows:
        cells = [row.name, row.first, row.second, row.difference, row.noise]
        table.add_row(*(Text(cell) for cell in cells[: len(table.columns)]))
    return table
