"""Which methods paid: how often each is on the front, and what its trials have that others lack."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from search.pareto.front import Objectives
from search.trial_record import TrialRecord

MIN_TRIALS = 5
"""Trials with a step, and as many without, below which a comparison is called thin."""


@dataclass(frozen=True, kw_only=True)
class StepEffect:
    """What the finished trials say of one step; the other steps vary along with it."""

    step: str
    front_share: float
    """The share of the front's members that have the step."""
    feasible_share: float
    """The share of the feasible trials that have the step."""
    with_step: int
    """Measured trials that have the step."""
    without_step: int
    medians: Mapping[str, tuple[float, float]]
    """By objective, its median in measured trials with the step and in those without."""

    @property
    def thin(self) -> bool:
        """True when there are too few trials on one side to compare."""
        return min(self.with_step, self.without_step) < MIN_TRIALS


def step_effects(
    records: Sequence[TrialRecord], front_numbers: Collection[int], objectives: Objectives
) -> list[StepEffect]:
    """Return the effect of every step that a measured trial has, the most overrepresented first.

    The baseline counts neither as a trial nor as a member of the front. Medians are over all
    measured trials, also those that break a constraint, since a method that ruins the model would
    look harmless among the survivors.
    """
    measured = [r for r in records if r.status == "ok" and r.origin != "baseline"]
    names = sorted({name for r in measured for name in steps_of(r)})
    found = [_payoff(name, measured, front_numbers, objectives) for name in names]
    return sorted(found, key=lambda p: (p.feasible_share - p.front_share, -p.front_share, p.step))


def steps_of(record: TrialRecord) -> set[str]:
    """Return the names of the steps that act in a trial; a recovery of no epochs does not."""
    steps: Mapping[str, Any] = record.recipe.get("steps", {})
    # What follows a point numbers the parts of a recovery that was divided at the rungs.
    return {name.partition(".")[0] for name, values in steps.items() if values.get("epochs", 1)}


def _payoff(
    step: str,
    measured: Sequence[TrialRecord],
    front_numbers: Collection[int],
    objectives: Objectives,
) -> StepEffect:
    having = [r for r in measured if step in steps_of(r)]
    lacking = [r for r in measured if step not in steps_of(r)]
    medians = {
        name: (median(r.metrics[name] for r in having), median(r.metrics[name] for r in lacking))
        for name in objectives
        if having and lacking
    }
    return StepEffect(
        step=step,
        front_share=_share(step, [r for r in measured if r.number in front_numbers]),
        feasible_share=_share(step, [r for r in measured if r.feasible]),
        with_step=len(having),
        without_step=len(lacking),
        medians=medians,
    )


def _share(step: str, records: Sequence[TrialRecord]) -> float:
    return sum(step in steps_of(r) for r in records) / len(records) if records else 0.0
