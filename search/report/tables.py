"""Finished trials as a table: one row per trial, in memory and in files."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from search.report.describe import describe, last_line
from search.trial_record import TrialRecord
from search.utils.files import replaced_when_written


def trials_frame(records: Sequence[TrialRecord], front_numbers: Collection[int]) -> pd.DataFrame:
    """Return one row per trial, in the order of their numbers.

    The columns are: number, status, origin, front, feasible, verdict, description, every metric
    under its own name, `param.<name>`, `violation.<constraint>`, recipe_hash, seed, started and
    finished (UTC), seconds (between them), error (the last line of it). A value that a trial does
    not have is missing.

    Args:
        records: finished trials in any order.
        front_numbers: numbers of the trials on the front.
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
            "started": pd.to_datetime([r.started for r in rows], unit="s", utc=True),
            "finished": pd.to_datetime([r.finished for r in rows], unit="s", utc=True),
            "seconds": [r.finished - r.started for r in rows],
            "error": [last_line(r.error) for r in rows],
        }
    )
    return pd.concat([fixed, measured, params, violations, closing], axis=1)


def write_tables(frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Write trials.parquet and trials.csv, each replaced in one step; return their paths."""
    parquet, csv = folder / "trials.parquet", folder / "trials.csv"
    with replaced_when_written(parquet) as part:
        frame.to_parquet(part, index=False)
    with replaced_when_written(csv) as part:
        frame.to_csv(part, index=False)
    return [parquet, csv]


def _columns(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Return rows of plain values as columns that a parquet file can hold."""
    names = dict.fromkeys(name for row in rows for name in row)
    return pd.DataFrame({name: _column([row.get(name) for row in rows]) for name in names})


def _column(values: Sequence[Any]) -> "pd.Series[Any]":
    """Return values of one type as they are and values of several types as text."""
    types = {type(value) for value in values if value is not None}
    if types <= {int, float}:
        return pd.Series(values, dtype="Int64" if types == {int} else "float64")
    if types == {bool}:
        return pd.Series(values, dtype="boolean")
    return pd.Series([None if v is None else str(v) for v in values], dtype="str")


def _prefixed(prefix: str, values: Mapping[str, object]) -> dict[str, object]:
    return {prefix + name: value for name, value in values.items()}
