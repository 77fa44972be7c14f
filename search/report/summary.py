"""What a study found, in plain language: methods, parameters, rivals, and what to try next."""

from collections.abc import Sequence
from pathlib import Path

from search.config.study_config import StudyConfig
from search.pareto.front import Objectives
from search.pareto.selection import knee
from search.pareto.stagnation import stagnated
from search.report.boundary_values import crowded_edges
from search.report.describe import describe, last_line
from search.report.infeasible_ranges import culprit
from search.report.parameter_importance import FEWEST_TRIALS, importances
from search.report.reference_recipes import ReferenceComparison, comparisons
from search.report.result import StudyResult
from search.report.step_effects import MIN_TRIALS, StepEffect, step_effects
from search.report.tables import format_score
from search.utils.files import write_atomically

MOST_METHODS = 4
MOST_EDGES = 2
MOST_RIVALS = 3
FEWEST_MEMBERS = 3
"""Members of the front below which a step's absence from it says little."""


def summary(config: StudyConfig, result: StudyResult) -> list[str]:
    """Return at most about 15 lines on what the finished trials show.

    What is said of methods and parameters is read off trials in which everything varied at once:
    evidence, not proof; where it is thin the line says so.
    """
    if not result.front:
        return [f"{len(result.records)} trials, none feasible", *_advice(config, result, [])]
    methods = step_effects(result.records, [r.number for r in result.front], config.objectives)
    return [
        *_opening(config, result),
        *_methods(methods),
        *_parameters(config, result),
        *_rivals(comparisons(result.records, result.front, config.objectives), config.objectives),
        *_advice(config, result, methods),
    ]


def write_summary(config: StudyConfig, result: StudyResult) -> Path:
    """Write summary.txt into the study's folder, replaced in one step; return its path."""
    path = config.folder / "summary.txt"
    with write_atomically(path) as file:
        file.write("".join(f"{line}\n" for line in summary(config, result)).encode())
    return path


def _opening(config: StudyConfig, result: StudyResult) -> list[str]:
    chosen = knee(result.records, config.objectives, config.preferences.weights)
    feasible = sum(record.feasible for record in result.records)
    preferred = f" ({config.preferences})" if str(config.preferences) else ""
    return [
        f"{len(result.records)} trials, {feasible} feasible, {len(result.front)} on the front; "
        f"the knee{preferred} is trial {chosen.number}: {describe(chosen)}"
    ]


def _methods(methods: Sequence[StepEffect]) -> list[str]:
    seen = [method for method in methods if method.front_share > 0 and method.without_step]
    lines = [_method(method) for method in seen[:MOST_METHODS]]
    if others := seen[MOST_METHODS:]:
        shares = [f"{m.step} in {m.front_share:.0%} of the front" for m in others]
        lines.append(f"less telling: {', '.join(shares)}")
    return lines


def _method(method: StepEffect) -> str:
    effects = ", ".join(_effect(name, *pair) for name, pair in method.medians.items())
    thin = f" (thin: {method.with_step} trials with it, {method.without_step} without)"
    return (
        f"{method.step}: in {method.front_share:.0%} of the front, {method.feasible_share:.0%} of "
        f"the feasible; medians with it: {effects}{thin if method.thin else ''}"
    )


def _effect(name: str, having: float, lacking: float) -> str:
    """Return the difference between two medians, as a share where the metric is an amount."""
    if name.startswith(("score", "relative_drop", "fidelity")) or lacking == 0:
        return f"{name} {having - lacking:+.3g}"
    return f"{name} {having / lacking - 1:+.0%}"


def _parameters(config: StudyConfig, result: StudyResult) -> list[str]:
    found = importances(result.records, config.objectives, config.space)
    if not found:
        return [f"fewer than {FEWEST_TRIALS} measured trials: too few to weigh the parameters"]
    measured = sum(record.status == "ok" for record in result.records)
    lines = [
        f"of {measured} trials the best by {objective} hung on "
        + ", ".join(f"{name} ({share:.0%})" for name, share in shares.items())
        for objective, shares in found.items()
        if shares
    ]
    unclear = [objective for objective, shares in found.items() if not shares]
    return lines + ([f"no parameter stands out for {', '.join(unclear)}"] if unclear else [])


def _rivals(held: Sequence[ReferenceComparison], objectives: Objectives) -> list[str]:
    return [_rival(comparison, objectives) for comparison in held[:MOST_RIVALS]] or [
        "no trivial rival was measured: nothing is known of int8 alone"
    ]


def _rival(comparison: ReferenceComparison, objectives: Objectives) -> str:
    if comparison.rival.status != "ok":
        why = last_line(comparison.rival.error) or comparison.rival.status
        return f"rival {comparison.name}: not measured: {why}"
    if comparison.winner is None:
        if comparison.name == "int8":
            return (
                "the front does not beat int8 post-training quantisation (trial "
                f"{comparison.rival.number}): no trial is as good in every objective and better "
                "in one"
            )
        return f"rival {comparison.name}: not beaten (trial {comparison.rival.number})"
    figures = [
        f"{name} {figure(name, comparison.winner.metrics[name])} against "
        f"{figure(name, comparison.rival.metrics[name])}"
        for name in objectives
    ]
    return (
        f"rival {comparison.name}: beaten by trial {comparison.winner.number}: {', '.join(figures)}"
    )


def figure(name: str, value: float) -> str:
    """Return a metric with as many digits as tell something, bytes as kB (1,000 bytes)."""
    if name.endswith("_bytes"):
        return f"{value / 1000:.1f} kB"
    return format_score(value) if name.startswith("score") else f"{value:.3g}"


def _advice(config: StudyConfig, result: StudyResult, methods: Sequence[StepEffect]) -> list[str]:
    lines = [
        f"try {edge.overrides}: {edge.members} of {edge.of} members of the front are at "
        f"{edge.parameter}={edge.value:g}"
        for edge in crowded_edges(result.front, config.space)[:MOST_EDGES]
    ]
    idle = [m for m in methods if m.front_share == 0 and m.with_step >= MIN_TRIALS]
    if idle and len(result.front) >= FEWEST_MEMBERS:
        dropped = " ".join(f"'~steps.{m.step}'" for m in idle)
        lines.append(f"try {dropped}: never on the front")
    if found := culprit(result.records, config.space):
        lines.append(
            f"try {found.override}: {found.inside} of {found.failing} trials that failed "
            f"({found.reason}) had {found.part}, no feasible one had"
        )
    return [*lines, *_growth(result)]


def _growth(result: StudyResult) -> list[str]:
    last = max(5, len(result.records) // 4)
    if len(result.history) <= last:
        return []
    if not any(result.history.values()):
        return ["no trial gains in every objective: drop one, or set preferences.reference"]
    if stagnated(result.history, last):
        return [
            f"the last {last} trials added less than 1 % to the hypervolume: enough of this space"
        ]
    return [f"try trials={2 * len(result.records)}: the last {last} trials still found better ones"]
