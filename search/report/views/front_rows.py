"""What `paredown front` shows: the baseline, the members of the front, and their rivals."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

from search.config.study_config import StudyConfig
from search.pareto.selection import roles
from search.report.describe import describe
from search.report.reference_recipes import REFERENCE_PREFIX
from search.report.result import StudyResult
from search.trial_record import TrialRecord

SELECTED, RIVAL, BASELINE = "selected", "rival", "baseline"


@dataclass(frozen=True, kw_only=True)
class FrontRow:
    """One trial that is shown, and why."""

    record: TrialRecord
    front: bool
    """Whether it is a member of the front."""
    roles: tuple[str, ...]
    """Of baseline, rival, selected, knee, smallest, fastest and best those that it is."""

    @property
    def recipe(self) -> str:
        """The recipe in words, after the name of a reference recipe."""
        text = describe(self.record)
        if RIVAL not in self.roles:
            return text
        return f"{self.record.origin.removeprefix(REFERENCE_PREFIX)}: {text}"


def front_rows(
    config: StudyConfig, result: StudyResult, selected: TrialRecord | None = None
) -> list[FrontRow]:
    """Return the measured baseline, the front in its order, then the other trials of interest.

    These are the measured reference recipes, and the trials that have a role and are not on the
    front.

    Args:
        config: The study's configuration.
        result: Its finished trials.
        selected: A trial that the user asked for.
    """
    chosen = roles(result.records, config.objectives, config.preferences.weights)
    numbers = set(result.front_numbers)
    measured = [record for record in result.records if record.status == "ok"]
    baselines = [record for record in measured if record.origin == BASELINE]
    members = [record for record in result.front if record.origin != BASELINE]
    rows = [
        FrontRow(
            record=record,
            front=record.number in numbers,
            roles=(
                *((BASELINE,) if record.origin == BASELINE else ()),
                *((RIVAL,) if record.origin.startswith(REFERENCE_PREFIX) else ()),
                *((SELECTED,) if record is selected else ()),
                *chosen.get(record.number, ()),
            ),
        )
        for record in [*baselines, *members, *measured]
    ]
    kept = {row.record.number: row for row in rows if row.front or row.roles}
    return list(kept.values())


def front_json(config: StudyConfig, result: StudyResult, rows: Sequence[FrontRow]) -> str:
    """Return a study's front as JSON, with the whole recipe of every trial that is shown."""
    data = {
        "study": config.study,
        "folder": str(result.folder),
        "objectives": dict(config.objectives),
        "constraints": [str(constraint) for constraint in config.constraints],
        "trials": len(result.records),
        "feasible": sum(record.feasible for record in result.records),
        "hypervolume": max(result.history.values(), default=None),
        "rows": [
            {
                "trial": row.record.number,
                "front": row.front,
                "roles": list(row.roles),
                "feasible": row.record.feasible,
                "verdict": row.record.verdict,
                "description": describe(row.record),
                "metrics": dict(row.record.metrics),
                "recipe": dict(row.record.recipe),
            }
            for row in rows
        ],
    }
    return json.dumps(data, indent=2)


def front_csv(rows: Sequence[FrontRow]) -> str:
    """Return a study's front as CSV: a line for each trial that is shown, a column each metric."""
    metrics = list(dict.fromkeys(name for row in rows for name in row.record.metrics))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "front", "roles", "feasible", "verdict", "description", *metrics])
    for row in rows:
        record = row.record
        fixed = [record.number, row.front, " ".join(row.roles), record.feasible, record.verdict]
        writer.writerow(
            [*fixed, describe(record), *(record.metrics.get(name, "") for name in metrics)]
        )
    return text.getvalue()
