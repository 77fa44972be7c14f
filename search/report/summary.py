"""What a study found, in plain language: steps, parameters, reference recipes, what to try next."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from search.config.study_config import StudyConfig
from search.pareto.front import Objectives
from search.pareto.selection import knee
from search.report.describe import describe, last_line
from search.report.formatting import format_metric
from search.report.next_steps import next_steps
from search.report.parameter_importance import MIN_TRIALS, parameter_importances
from search.report.reference_recipes import ReferenceComparison, compare_with_references
from search.report.result import StudyResult
from search.report.step_effects import StepEffect, step_effects
from search.utils.files import write_atomically

MAX_STEPS = 4
"""Steps that have a line of their own at most."""
MAX_REFERENCES = 3
"""Reference recipes that are named at most."""


def summary(config: StudyConfig, result: StudyResult) -> list[str]:
    """Return at most about 15 lines on what the finished trials show.

    Steps and parameters are judged by trials in which everything varied at once, which is
    evidence and no proof; a line says so where few trials support it.
    """
    if not result.front:
        return [f"{len(result.records)} trials, none feasible", *next_steps(config, result, [])]
    effects = step_effects(result.records, result.front_numbers, config.objectives)
    compared = compare_with_references(result.records, result.front, config.objectives)
    return [
        _overview(config, result),
        *_step_lines(effects),
        *_parameter_lines(config, result),
        *_reference_lines(compared, config.objectives),
        *next_steps(config, result, effects),
    ]


def write_summary(config: StudyConfig, result: StudyResult) -> Path:
    """Write summary.txt into the study's folder, replaced in one step; return its path."""
    path = config.folder / "summary.txt"
    with write_atomically(path) as file:
        file.write("".join(f"{line}\n" for line in summary(config, result)).encode())
    return path


def _overview(config: StudyConfig, result: StudyResult) -> str:
    chosen = knee(result.records, config.objectives, config.preferences.weights)
    feasible = sum(record.feasible for record in result.records)
    preferred = f" ({config.preferences})" if str(config.preferences) else ""
    return (
        f"{len(result.records)} trials, {feasible} feasible, {len(result.front)} on the front; "
        f"the knee{preferred} is trial {chosen.number}: {describe(chosen)}"
    )


def _step_lines(effects: Sequence[StepEffect]) -> list[str]:
    used = [effect for effect in effects if effect.front_share > 0 and effect.without_step]
    lines = [_step_line(effect) for effect in used[:MAX_STEPS]]
    if others := used[MAX_STEPS:]:
        shares = [f"{other.step} in {other.front_share:.0%} of the front" for other in others]
        lines.append(f"other steps: {', '.join(shares)}")
    return lines


def _step_line(effect: StepEffect) -> str:
    differences = ", ".join(_difference(name, *pair) for name, pair in effect.medians.items())
    thin = f" (thin: {effect.with_step} trials with it, {effect.without_step} without)"
    return (
        f"{effect.step}: in {effect.front_share:.0%} of the front, {effect.feasible_share:.0%} of "
        f"the feasible; medians with it: {differences}{thin if effect.thin else ''}"
    )


def _difference(name: str, having: float, lacking: float) -> str:
    """Return the difference between two medians, as a share where the metric is an amount."""
    if name.startswith(("score", "relative_drop", "fidelity")) or lacking == 0:
        return f"{name} {having - lacking:+.3g}"
    return f"{name} {having / lacking - 1:+.0%}"


def _parameter_lines(config: StudyConfig, result: StudyResult) -> list[str]:
    found = parameter_importances(result.records, config.objectives, config.space)
    if not found:
        return [f"fewer than {MIN_TRIALS} measured trials: too few to judge the parameters"]
    measured = sum(record.status == "ok" for record in result.records)
    lines = [
        f"parameters that decide which of {measured} trials are best by {objective}: "
        f"{_percentages(shares)}"
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
