"""What to try next: overrides that widen, narrow or continue a study."""

from collections.abc import Sequence

from search.config.study_config import StudyConfig
from search.pareto.stagnation import stagnated
from search.report.boundary_values import boundary_hits
from search.report.infeasible_ranges import infeasible_range
from search.report.result import StudyResult
from search.report.step_effects import MIN_TRIALS, StepEffect

MAX_BOUNDARIES = 2
"""Ends of ranges that are suggested for widening at most."""
MIN_MEMBERS = 3
"""Members of the front below which a step's absence from it says little."""


def next_steps(
    config: StudyConfig, result: StudyResult, effects: Sequence[StepEffect]
) -> list[str]:
    """Return suggestions, one a line, each with the override that follows it.

    Args:
        config: the study's configuration.
        result: its finished trials.
        effects: the effect of each step; empty where there is no front.
    """
    return [
        *_wider_ranges(config, result),
        *_unused_steps(result, effects),
        *_narrower_range(config, result),
        *_more_trials(result),
    ]


def _wider_ranges(config: StudyConfig, result: StudyResult) -> list[str]:
    return [
        f"try {hit.overrides}: {hit.members} of {hit.of} members of the front are at "
        f"{hit.parameter}={hit.value:g}"
        for hit in boundary_hits(result.front, config.space)[:MAX_BOUNDARIES]
    ]


def _unused_steps(result: StudyResult, effects: Sequence[StepEffect]) -> list[str]:
    unused = [e for e in effects if e.front_share == 0 and e.with_step >= MIN_TRIALS]
    if not unused or len(result.front) < MIN_MEMBERS:
        return []
    dropped = " ".join(f"'~steps.{effect.step}'" for effect in unused)
    return [f"try {dropped}: never on the front"]


def _narrower_range(config: StudyConfig, result: StudyResult) -> list[str]:
    found = infeasible_range(result.records, config.space)
    if found is None:
        return []
    return [
        f"try {found.override}: {found.inside} of {found.failing} trials that failed "
        f"({found.reason}) had {found.part}, no feasible one had"
    ]


def _more_trials(result: StudyResult) -> list[str]:
    last = max(5, len(result.records) // 4)
    if len(result.history) <= last:
        return []
    if not any(result.history.values()):
        return ["no trial gains in every objective: drop one, or set preferences.reference"]
    if stagnated(result.history, last):
        return [
            f"the last {last} trials added less than 1 % to the hypervolume: more trials of this "
            "space will hardly find better ones"
        ]
    return [f"try trials={2 * len(result.records)}: the last {last} trials still found better ones"]
