"""What to try next: overrides that widen, narrow or continue a study."""

from search.config.study_config import StudyConfig
from search.pareto.stagnation import stagnated
from search.recipe.step_values import recovers
from search.report.boundary_values import boundary_hits
from search.report.infeasible_ranges import infeasible_range
from search.report.result import StudyResult
from search.report.significance import LEVEL, MIN_MEMBERS, MIN_TRIALS, chance_of_at_least
from search.report.step_effects import steps_of

MAX_LINES = 5
"""Lines of advice at most."""
MAX_BOUNDARIES = 2
"""Ends of ranges that are suggested for widening at most."""


def next_steps(config: StudyConfig, result: StudyResult) -> list[str]:
    """Return at most five suggestions, one a line, each with the override that follows it.

    What to widen, narrow or drop is said only where chance does not explain what was seen, see
    `significance`; a recovery is never dropped or made shorter.

    Args:
        config: The study's configuration.
        result: Its finished trials.
    """
    lines = [
        *_wider_ranges(config, result),
        *_unused_steps(config, result),
        *_narrower_range(config, result),
        *_more_trials(result),
    ]
    return lines[:MAX_LINES]


def _wider_ranges(config: StudyConfig, result: StudyResult) -> list[str]:
    return [
        f"try {hit.overrides}: {hit.members} of {hit.of} members of the front are at "
        f"{hit.parameter}={hit.value:g}, of all trials {hit.trials} of {hit.of_trials}"
        for hit in boundary_hits(result.front, result.records, config.space)[:MAX_BOUNDARIES]
    ]


def _unused_steps(config: StudyConfig, result: StudyResult) -> list[str]:
    """Suggest to drop steps that many trials have and, beyond chance, no member of the front."""
    trials = [r for r in result.records if r.status == "ok" and r.origin != "baseline"]
    members = [r for r in trials if r.number in result.front_numbers]
    if len(members) < MIN_MEMBERS:
        return []
    counts = {
        name: sum(name in steps_of(record) for record in trials)
        for name in config.space.steps
        if not recovers(config.space, name)
    }
    tested = {n: c for n, c in counts.items() if min(c, len(trials) - c) >= MIN_TRIALS}
    used = {name for member in members for name in steps_of(member)}

    def chance(having: int) -> float:
        """Return the chance that all members are among the trials without the step."""
        lacking = len(trials) - having
        return chance_of_at_least(len(members), len(members), of=lacking, total=len(trials))

    unused = {
        name: count
        for name, count in tested.items()
        if name not in used and chance(count) <= LEVEL / len(tested)
    }
    if not unused:
        return []
    dropped = " ".join(f"'~steps.{name}'" for name in unused)
    figures = ", ".join(f"{name} in {count}" for name, count in unused.items())
    return [f"try {dropped}: never on the front ({figures} of {len(trials)} measured trials)"]


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
        return []  # `doubts` says why
    if stagnated(result.history, last):
        return [f"the last {last} trials added less than 1 % to the hypervolume"]
    return [f"try trials={2 * len(result.records)}: the last {last} trials still found better ones"]
