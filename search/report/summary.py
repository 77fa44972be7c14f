"""What a study found, in plain language: steps, parameters, reference recipes, what to try next."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from search.config.study_config import StudyConfig
from search.errors import SelectionError
from search.pareto.front import Objectives
from search.pareto.selection import knee
from search.recipe.step_values import recovers
from search.report.describe import describe, last_line
from search.report.doubts import doubts
from search.report.formatting import format_metric
from search.report.next_steps import next_steps
from search.report.parameter_importance import MIN_TRIALS, parameter_importances
from search.report.reference_recipes import ReferenceComparison, compare_with_references
from search.report.result import StudyResult
from search.report.step_effects import StepEffect, is_share, step_effects
from search.utils.files import write_atomically

Importances = Mapping[str, Mapping[str, float]]
"""As of `parameter_importances`."""
MAX_STEPS = 4
"""Steps that have a line of their own at most."""
MAX_REFERENCES = 3
"""Reference recipes that are named at most."""


def summary(
    config: StudyConfig, result: StudyResult, importances: Importances | None = None
) -> list[str]:
    """Return at most about 15 lines on what the finished trials show.

    Of steps and parameters it says only what a comparison of trials supports, with the figures and
    the test; nothing where none does.

    Args:
        config: The study's configuration.
        result: Its finished trials.
        importances: Those of the parameters where they are known already; they take a second.
    """
    if not result.front:
        return [f"{len(result.records)} trials, none feasible", *next_steps(config, result)]
    if importances is None:
        importances = parameter_importances(result.records, config.objectives, config.space)
    compared = compare_with_references(result.records, result.front, config.objectives)
    return [
        _overview(config, result),
        *doubts(config, result),
        *_step_lines(config, result),
        *_parameter_lines(result, importances),
        *_reference_lines(compared, config.objectives),
        *next_steps(config, result),
    ]


def write_summary(config: StudyConfig, result: StudyResult) -> Path:
    """Write summary.txt into the study's folder, replaced in one step; return its path."""
    path = config.folder / "summary.txt"
    with write_atomically(path) as file:
        file.write("".join(f"{line}\n" for line in summary(config, result)).encode())
    return path


def _overview(config: StudyConfig, result: StudyResult) -> str:
    feasible = sum(record.feasible for record in result.records)
    counts = f"{len(result.records)} trials, {feasible} feasible, {len(result.front)} on the front"
    try:
        chosen = knee(result.records, config.objectives, config.preferences.weights)
    except SelectionError as error:
        return f"{counts}; {error}"
    preferred = f" ({config.preferences})" if str(config.preferences) else ""
    return f"{counts}; the knee{preferred} is trial {chosen.number}: {describe(chosen)}"


def _step_lines(config: StudyConfig, result: StudyResult) -> list[str]:
    recoveries = [name for name in config.space.steps if recovers(config.space, name)]
    effects = step_effects(result.records, config.objectives, recoveries)
    return [_step_line(effect) for effect in effects[:MAX_STEPS]]


def _step_line(effect: StepEffect) -> str:
    changes = ", ".join(_change(*change) for change in effect.changes.items())
    if effect.pairs:
        return (
            f"{effect.step}: {changes} in the mean of {effect.pairs} pairs of recipes that differ "
            "in it alone (t interval, 5 %)"
        )
    return (
        f"{effect.step}: {changes} in the median of {effect.with_step} trials with it against "
        f"{effect.without_step} without, which differ in other steps too (Mann-Whitney test, 5 %)"
    )


def _change(name: str, change: float) -> str:
    return f"{name} {change:+.0%}" if is_share(name) else f"{name} {change:+.3g}"


def _parameter_lines(result: StudyResult, found: Importances) -> list[str]:
    if not found:
        return [f"fewer than {MIN_TRIALS} measured trials: too few to judge the parameters"]
    measured = sum(record.status == "ok" for record in result.records)
    lines = [
        f"the best tenth of {measured} trials by {objective} differs from the others in "
        f"{_percentages(shares)} (share of importance; Mann-Whitney and Fisher tests, 5 %)"
        for objective, shares in found.items()
        if shares
    ]
    unclear = [objective for objective, shares in found.items() if not shares]
    return lines + ([f"no parameter stands out for {', '.join(unclear)}"] if unclear else [])


def _percentages(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} ({share:.0%})" for name, share in shares.items())


def _reference_lines(compared: Sequence[ReferenceComparison], objectives: Objectives) -> list[str]:
    if not compared:
        return ["no reference recipe was measured: it is open whether int8 alone does as well"]
    return [_reference_line(comparison, objectives) for comparison in compared[:MAX_REFERENCES]]


def _reference_line(comparison: ReferenceComparison, objectives: Objectives) -> str:
    reference, winner = comparison.reference, comparison.winner
    if reference.status != "ok":
        why = last_line(reference.error) or reference.status
        return f"reference {comparison.name}: not measured: {why}"
    if winner is None:
        if comparison.name == "int8":
            return (
                "the front does not beat int8 post-training quantisation (trial "
                f"{reference.number}): no trial is as good in every objective and better in one"
            )
        return f"reference {comparison.name}: not beaten (trial {reference.number})"
    metrics = [
        f"{name} {format_metric(name, winner.metrics[name])} against "
        f"{format_metric(name, reference.metrics[name])}"
        for name in objectives
    ]
    return f"reference {comparison.name}: beaten by trial {winner.number}: {', '.join(metrics)}"
