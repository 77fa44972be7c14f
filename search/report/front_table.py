"""The front as a table for the terminal."""

from collections.abc import Collection, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from search.report.describe import describe
from search.report.formatting import format_score
from search.trial_record import TrialRecord


def front_table(
    records: Sequence[TrialRecord],
    front_numbers: Sequence[int],
    baseline: TrialRecord,
    equal: Collection[int] = (),
) -> Table:
    """Return the front as a table for the terminal, in the given order, below the baseline.

    The size is that of the packed file, in kB (1,000 bytes) and as a share of the baseline's fp32
    run file; latency is the ratio to the baseline's; gain is the verdict. Only the recipe wraps:
    the table needs 80 columns and reads well from 100. The scores of the trials whose numbers are
    in `equal` are marked with `=`.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("trial", "score ± se", "drop", "kB", "size", "latency"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("gain", no_wrap=True)
    table.add_column("recipe", min_width=12)
    by_number = {record.number: record for record in records}
    members = [by_number[n] for n in front_numbers if n != baseline.number]
    for place, record in enumerate([baseline, *members]):
        cells = _front_cells(record, baseline)
        cells[1] += _mark(record, equal)
        table.add_row(*(Text(cell) for cell in cells), end_section=place == 0)
    return table


def _mark(record: TrialRecord, equal: Collection[int]) -> str:
    """Return the mark behind a score; scores without one keep its place."""
    if not equal:
        return ""
    return " =" if record.number in equal else "  "


def _front_cells(record: TrialRecord, baseline: TrialRecord) -> list[str]:
    metrics = record.metrics
    size = metrics["size_bytes"]
    error = metrics.get("score_standard_error")
    spread = "" if error is None else f" ± {format_score(error)}"
    latency = metrics.get("latency_ratio")
    drop = metrics.get("score_drop")
    return [
        str(record.number),
        f"{format_score(metrics['score'])}{spread}",
        "" if drop is None else format_score(drop + 0.0),
        f"{size / 1000:.1f}",
        f"1/{baseline.metrics['run_bytes'] / size:.1f}",
        "" if latency is None else f"{latency:.2f}",
        record.verdict.removesuffix(" gain").removesuffix(" only"),
        describe(record),
    ]
