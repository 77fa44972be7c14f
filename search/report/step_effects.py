"""Effect of each step on each objective, where a comparison of trials supports it."""

import json
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from search.pareto.front import Objectives
from search.report.significance import (
    LEVEL,
    MIN_PAIRS,
    MIN_TRIALS,
    groups_differ,
    pairs_differ,
)
from search.trial_record import TrialRecord

ERRORS = {
    "score": "score_standard_error",
    "score_drop": "score_standard_error",
    "latency_ratio": "latency_spread",
}
"""By metric, the metric that is its standard error of measurement; the others are exact."""
DIFFERENCES = ("score", "relative_drop", "fidelity", "nll")
"""How metrics begin that may be 0 or negative, whose effect is a difference and not a share."""


@dataclass(frozen=True, kw_only=True)
class StepEffect:
    """What one step changes, in the objectives in which a comparison shows it."""

    step: str
    changes: Mapping[str, float]
    """By objective: the mean over pairs or the difference of medians, as `with / without - 1`
    where `is_share` holds, else as `with - without`."""
    pairs: int
    """Pairs of recipes that differ only in this step; 0 where all trials were compared."""
    with_step: int
    """Trials with the step that were compared."""
    without_step: int


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """The trials with and without one step."""

    step: str
    groups: Sequence[tuple[Sequence[TrialRecord], Sequence[TrialRecord]]]
    """Trials with and without it, whose recipes are equal otherwise."""
    having: Sequence[TrialRecord]
    lacking: Sequence[TrialRecord]

    @property
    def paired(self) -> bool:
        """Whether there are enough pairs to compare by them alone."""
        return len(self.groups) >= MIN_PAIRS

    def effect(self, objectives: Sequence[str], level: float) -> StepEffect:
        """Return what differs at a level of significance."""
        found = {name: self._change(name, level) for name in objectives}
        sides = self.groups if self.paired else [(self.having, self.lacking)]
        return StepEffect(
            step=self.step,
            changes={name: change for name, change in found.items() if change is not None},
            pairs=len(self.groups) if self.paired else 0,
            with_step=sum(len(having) for having, _ in sides),
            without_step=sum(len(lacking) for _, lacking in sides),
        )

    def _change(self, name: str, level: float) -> float | None:
        if self.paired:
            differences = [_mean(name, a) - _mean(name, b) for a, b in self.groups]
            errors = [math.hypot(_error(name, a), _error(name, b)) for a, b in self.groups]
            differ = pairs_differ(differences, errors, level=level)
            return _readable(name, fmean(differences)) if differ else None
        values = [[_scaled(name, r) for r in side] for side in (self.having, self.lacking)]
        if not groups_differ(*values, level=level):
            return None
        return _readable(name, median(values[0]) - median(values[1]))


def step_effects(
    records: Sequence[TrialRecord], objectives: Objectives, recoveries: Collection[str]
) -> list[StepEffect]:
    """Return the steps that change an objective, as far as comparisons of measured trials show.

    A step with three or more pairs of trials whose recipes differ in it alone is judged by these
    pairs, else by all trials if ten have it and ten do not; `significance` says how seldom chance
    is taken for an effect. Steps that were compared in pairs come first.

    Args:
        records: Finished trials; the baseline is a partner in pairs.
        objectives: The metrics to compare.
        recoveries: Steps that are compared in pairs alone: recipes have them where they were
            damaged, so that those with them are worse for another reason.
    """
    measured = [record for record in records if record.status == "ok"]
    compressed = [record for record in measured if record.origin != "baseline"]
    found = [
        _comparison(step, measured, () if step in recoveries else compressed)
        for step in sorted({name for record in measured for name in steps_of(record)})
    ]
    known = [c for c in found if c.paired or min(len(c.having), len(c.lacking)) >= MIN_TRIALS]
    level = LEVEL / max(1, len(known) * len(objectives))
    effects = [comparison.effect(list(objectives), level) for comparison in known]
    return sorted((e for e in effects if e.changes), key=lambda e: (-e.pairs, e.step))


def steps_of(record: TrialRecord) -> set[str]:
    """Return the names of the steps that act in a trial; a recovery of no epochs does not."""
    return {_whole(name) for name in _acting(record)}


def is_share(name: str) -> bool:
    """Tell whether changes of a metric are shares of it."""
    return not name.startswith(DIFFERENCES)


def _comparison(
    step: str, measured: Sequence[TrialRecord], compared: Sequence[TrialRecord]
) -> _Comparison:
    """Return a step's pairs among measured trials, and all that are compared without pairs."""
    sides: dict[str, tuple[list[TrialRecord], list[TrialRecord]]] = defaultdict(lambda: ([], []))
    for record in measured:
        sides[_without(step, record)][step not in steps_of(record)].append(record)
    groups = [(having, lacking) for having, lacking in sides.values() if having and lacking]
    return _Comparison(
        step=step,
        groups=groups,
        having=[record for record in compared if step in steps_of(record)],
        lacking=[record for record in compared if step not in steps_of(record)],
    )


def _acting(record: TrialRecord) -> Mapping[str, Any]:
    steps: Mapping[str, Any] = record.recipe.get("steps", {})
    return {name: values for name, values in steps.items() if values.get("epochs", 1)}


def _whole(name: str) -> str:
    # A point separates the name of a recovery from the number of its part, where rungs divide it.
    return name.partition(".")[0]


def _without(step: str, record: TrialRecord) -> str:
    """Return what identifies a recipe but for one step and the seed."""
    others = {name: v for name, v in _acting(record).items() if _whole(name) != step}
    return json.dumps(others, sort_keys=True)


def _scaled(name: str, record: TrialRecord) -> float:
    """Return a metric on the scale of its differences, the logarithm where they are shares."""
    value = record.metrics[name]
    return math.log(max(value, 1e-12)) if is_share(name) else value


def _readable(name: str, difference: float) -> float:
    return math.expm1(difference) if is_share(name) else difference


def _mean(name: str, records: Sequence[TrialRecord]) -> float:
    return fmean(_scaled(name, record) for record in records)


def _error(name: str, records: Sequence[TrialRecord]) -> float:
    """Return the standard error of one of these trials, on the scale of differences."""
    errors = [record.metrics.get(ERRORS.get(name, ""), 0.0) for record in records]
    scales = [record.metrics[name] if is_share(name) else 1.0 for record in records]
    return max(error / (scale or 1.0) for error, scale in zip(errors, scales, strict=True))
