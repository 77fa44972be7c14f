"""The front as a table for the terminal."""

from collections.abc import Collection, Sequence
from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from search.report.describe import shortened
from search.report.formatting import format_score
from search.report.views.front_rows import BASELINE, FrontRow
from search.trial_record import TrialRecord

VERDICT_WIDTH = 100
"""Columns from which the verdict has one of its own."""


def front_table(
    rows: Sequence[FrontRow], baseline: TrialRecord, equal: Collection[int] = (), width: int = 80
) -> Table:
    """Return the front as a table, the baseline above and other trials of interest below it.

    The score is that on validation data, beside that on the test set where it was measured; the
    size is that of the packed file, in kB (1,000 bytes) and as a share of the baseline's fp32 run
    file; latency is the ratio to the baseline's. The recipe loses its last steps where it does not
    fit. The scores of the trials whose numbers are in `equal` are marked with `=`.

    Args:
        rows: The trials to show, in order.
        baseline: The measured trial of the uncompressed model.
        equal: Numbers of the trials that share the best score.
        width: Columns of the terminal, 80 or more.
    """
    tested = any("test_score" in row.record.metrics for row in rows)
    scores = ("score", "test ± se") if tested else ("score ± se",)
    names = ["trial", *scores, "kB", "size", "latency"]
    right = len(names)
    names += ["gain"] if width >= VERDICT_WIDTH else []
    names.append("")
    cells = [_cells(row, baseline, equal, tested=tested)[:right] for row in rows]
    for row, line in zip(rows, cells, strict=True):
        line += [_gain(row.record)] if width >= VERDICT_WIDTH else []
        line.append("\n".join(row.roles))
    space = int(width >= VERDICT_WIDTH)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, space, 0, 0))
    taken = 2
    for place, name in enumerate(names):
        justify: Literal["left", "right"] = "right" if place < right else "left"
        table.add_column(name, justify=justify, no_wrap=True)
        widest = [part for line in cells for part in line[place].split("\n")]
        taken += max(map(len, [name, *widest])) + 1 + space
    table.add_column("recipe", no_wrap=True)
    for place, (row, line) in enumerate(zip(rows, cells, strict=True)):
        recipe = shortened(row.recipe, width - taken)
        following = rows[place + 1 : place + 2]
        ends = BASELINE in row.roles or bool(following and row.front != following[0].front)
        table.add_row(*(Text(cell) for cell in (*line, recipe)), end_section=ends)
    return table


def _cells(
    row: FrontRow, baseline: TrialRecord, equal: Collection[int], *, tested: bool
) -> list[str]:
    """Return the figures of a row."""
    metrics, size = row.record.metrics, row.record.metrics["size_bytes"]
    mark = "" if not equal else " =" if row.record.number in equal else "  "
    test = _with_error(row.record, "test_score") if "test_score" in metrics else ""
    scores = (
        [format_score(metrics["score"]), test] if tested else [_with_error(row.record, "score")]
    )
    latency = metrics.get("latency_ratio")
    return [
        str(row.record.number),
        *scores[:-1],
        scores[-1] + mark,
        f"{size / 1000:.1f}",
        f"1/{baseline.metrics['run_bytes'] / size:.1f}",
        "" if latency is None else f"{latency:.2f}",
    ]


def _with_error(record: TrialRecord, name: str) -> str:
    error = record.metrics.get(f"{name}_standard_error")
    spread = "" if error is None else f" ± {format_score(error)}"
    return f"{format_score(record.metrics[name])}{spread}"


def _gain(record: TrialRecord) -> str:
    return record.verdict.removesuffix(" only").replace(" gain", "")
