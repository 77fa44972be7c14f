"""Effect of each step: its share of the front, and the metrics of trials with and without it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from search.pareto.front import Objectives
from search.trial_record import TrialRecord

MIN_TRIALS = 5
"""Trials that a comparison needs with a step, and as many without, not to be called thin."""


@dataclass(frozen=True, kw_only=True)
class StepEffect:
    """Finished trials with one step against those without; the other steps vary along with it."""

    step: str
    front_share: float
    """The share of the front's members that have the step."""
    feasible_share: float
    """The share of the feasible trials that have the step."""
    with_step: int
    """Measured trials that have the step."""
    without_step: int
    medians: Mapping[str, tuple[float, float]]
    """Medians by objective: in measured trials with the step, and in those without."""

    @property
    def thin(self) -> bool:
        """True when there are too few trials on one side to compare."""
        return min(self.with_step, self.without_step) < MIN_TRIALS


def step_effects(
    records: Sequence[TrialRecord], front_numbers: Collection[int], objectives: Objectives
) -> list[StepEffect]:
    """Return the effect of every step that a measured trial has.

    The step that is most overrepresented on the front comes first. The baseline counts neither as
    a trial nor as a member of the front. Medians are over all measured trials, including those that
    break a constraint: among feasible trials alone, a method that ruins models looks harmless.
    """
    measured = [r for r in records if r.status == "ok" and r.origin != "baseline"]
    members = [record for record in measured if record.number in front_numbers]
    names = sorted({name for record in measured for name in steps_of(record)})
    effects = [
        StepEffect(
            step=name,
            front_share=_share(name, members),
            feasible_share=_share(name, [record for record in measured if record.feasible]),
            with_step=sum(name in steps_of(record) for record in measured),
            without_step=sum(name not in steps_of(record) for record in measured),
            medians=_medians(name, measured, objectives),
        )
        for name in names
    ]
    return sorted(effects, key=lambda e: (e.feasible_share - e.front_share, -e.front_share, e.step))


def steps_of(record: TrialRecord) -> set[str]:
    """Return the names of the steps that act in a trial; a recovery of no epochs does not."""
    steps: Mapping[str, Any] = record.recipe.get("steps", {})
    # A point separates the name of a recovery from the number of its part, where rungs divide it.
    return {name.partition(".")[0] for name, values in steps.items() if values.get("epochs", 1)}


def _medians(
    step: str, measured: Sequence[TrialRecord], objectives: Objectives
) -> dict[str, tuple[float, float]]:
    """Return the medians by objective; nothing if all trials have the step, or none."""
    having = [record for record in measured if step in steps_of(record)]
    lacking = [record for record in measured if step not in steps_of(record)]
    if not having or not lacking:
        return {}
    return {
        name: (median(r.metrics[name] for r in having), median(r.metrics[name] for r in lacking))
        for name in objectives
    }


def _share(step: str, records: Sequence[TrialRecord]) -> float:
    return sum(step in steps_of(r) for r in records) / len(records) if records else 0.0
