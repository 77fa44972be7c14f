"""The front and the hypervolume by their definitions, over all trials at once.

Nothing here is shared with `search.pareto` except the costs of a trial.
"""

import math
from collections.abc import Mapping, Sequence

import moocore
import numpy as np

from search.pareto.front import cost_matrix
from search.trial_record import TrialRecord


def feasible(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the feasible trials in order of number."""
    found = [r for r in records if r.status == "ok" and max(r.violations.values(), default=0) <= 0]
    return sorted(found, key=lambda record: record.number)


def front_by_definition(
    records: Sequence[TrialRecord], objectives: Mapping[str, str]
) -> list[TrialRecord]:
    """Compare every trial with every other; the lowest number of equal trials stays."""
    known = feasible(records)
    costs = cost_matrix(known, objectives)
    kept = [
        row
        for row, cost in enumerate(costs)
        if not any(
            (other <= cost).all() and ((other < cost).any() or place < row)
            for place, other in enumerate(costs)
            if place != row
        )
    ]
    return [known[row] for row in sorted(kept, key=lambda row: (*costs[row], known[row].number))]


def front_by_moocore(
    records: Sequence[TrialRecord], objectives: Mapping[str, str]
) -> list[TrialRecord]:
    """Filter all trials at once with moocore, which keeps the first of equal rows."""
    known = feasible(records)
    if not known:
        return []
    costs = cost_matrix(known, objectives)
    kept = np.flatnonzero(moocore.is_nondominated(costs))
    return [known[row] for row in sorted(kept, key=lambda row: (*costs[row], known[row].number))]


def scale(
    name: str, way: str, baseline: Mapping[str, float], reference: Mapping[str, float]
) -> tuple[float, float]:
    """Return the value that is worth nothing and the value that is worth 1."""
    better = 1 if way == "maximize" else -1
    score = baseline.get("score", math.nan)
    if name == "score":
        worthless, perfect = score - better * 0.1 * abs(score), score
    elif name == "score_drop":
        worthless, perfect = 0.1 * abs(score), 0.0
    elif name == "relative_drop":
        worthless, perfect = 0.1, 0.0
    else:
        worthless, perfect = baseline[name], 0.0
    return reference.get(name, worthless), perfect


def volume(
    records: Sequence[TrialRecord],
    objectives: Mapping[str, str],
    baseline: Mapping[str, float],
    reference: Mapping[str, float],
) -> float:
    """Return the hypervolume of all feasible trials, dominated ones included."""
    gains = []
    for record in feasible(records):
        row = []
        for name, way in objectives.items():
            worthless, perfect = scale(name, way, baseline, reference)
            gain = record.metrics[name] - worthless
            row.append((gain if way == "maximize" else -gain) / (abs(perfect - worthless) or 1.0))
        if min(row) > 0:
            gains.append(row)
    return float(moocore.hypervolume(np.array(gains), ref=0.0, maximise=True)) if gains else 0.0


def history(
    records: Sequence[TrialRecord],
    objectives: Mapping[str, str],
    reference: Mapping[str, float] | None = None,
) -> dict[int, float]:
    """Return the hypervolume of each prefix, by trial number; trial 0 measured the baseline."""
    ordered = sorted(records, key=lambda record: record.number)
    baseline = ordered[0].metrics
    return {
        record.number: volume(ordered[:count], objectives, baseline, reference or {})
        for count, record in enumerate(ordered, 1)
    }
