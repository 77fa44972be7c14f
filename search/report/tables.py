"""Finished trials as tables: a frame, files of it, and the front for the terminal."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from search.report.describe import describe, last_line
from search.trial_record import TrialRecord


def trials_frame(records: Sequence[TrialRecord], front_numbers: Collection[int]) -> pd.DataFrame:
    """Return one row per trial in the order of their numbers.

    Columns: number, status, origin, front, feasible, verdict, description, every metric under its
    own name, `param.<name>`, `violation.<constraint>`, recipe_hash, seed, seconds (from start to
    finish), error (its last line). What a trial lacks is a missing value.
    """
    rows = sorted(records, key=lambda record: record.number)
    fixed = pd.DataFrame(
        {
            "number": [r.number for r in rows],
            "status": [r.status for r in rows],
            "origin": [r.origin for r in rows],
            "front": [r.number in front_numbers for r in rows],
            "feasible": [r.feasible for r in rows],
            "verdict": [r.verdict for r in rows],
            "description": [describe(r) for r in rows],
        }
    )
    measured = _columns([{k: v for k, v in r.metrics.items() if k != "seconds"} for r in rows])
    params = _columns([_prefixed("param.", r.params) for r in rows])
    violations = _columns([_prefixed("violation.", r.violations) for r in rows])
    closing = pd.DataFrame(
        {
            "recipe_hash": [r.recipe_hash for r in rows],
            "seed": [r.seed for r in rows],
            "seconds": [r.finished - r.started for r in rows],
            "error": [last_line(r.error) for r in rows],
        }
    )
    return pd.concat([fixed, measured, params, violations, closing], axis=1)


def write_tables(frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Write trials.parquet and trials.csv, each replaced in one step; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    parquet, csv = folder / "trials.parquet", folder / "trials.csv"
    _replace(parquet, lambda path: frame.to_parquet(path, index=False))
    _replace(csv, lambda path: frame.to_csv(path, index=False))
    return [parquet, csv]


def front_table(
    records: Sequence[TrialRecord], front_numbers: Sequence[int], baseline: TrialRecord
) -> Table:
    """Return the front as a table for the terminal, in the given order, below the baseline.

    Sizes are of the packed file in kB (1,000 bytes) and as a share of the baseline's fp32 run
    file, latency is the ratio to the baseline's, gain the verdict. Only the recipe wraps; 100
    columns are comfortable, 80 suffice.
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
        table.add_row(*(Text(cell) for cell in cells), end_section=place == 0)
    return table


def format_score(value: float) -> str:
    """Return a score with four digits after the point, or fewer where it is large."""
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.4g}"


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


def _columns(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Return rows of plain values as columns that a parquet file can hold."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pd.DataFrame({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: Sequence[Any]) -> "pd.Series[Any]":
    """Return values of one type as they are, of several types as text; None is missing."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        return pd.Series(values, dtype="Int64" if kinds == {int} else "float64")
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean")
    return pd.Series([None if v is None else str(v) for v in values], dtype="str")


def _prefixed(prefix: str, values: Mapping[str, object]) -> dict[str, object]:
    return {prefix + name: value for name, value in values.items()}


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside a file and move over it, so that a reader never sees half of one."""
    draft = path.with_name(f".{path.name}.part")
    write(draft)
    os.replace(draft, path)
