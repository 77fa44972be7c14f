"""Two trials, or two studies, side by side: what differs, and whether beyond the noise."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from search.config.metric_names import METRICS
from search.config.study_config import StudyConfig
from search.report.describe import step_words
from search.report.equal_scores import STANDARD_ERRORS, score_difference
from search.report.formatting import format_metric
from search.report.result import StudyResult
from search.report.step_effects import ERRORS
from search.trial_record import TrialRecord

TESTED = ("test_score", "test_nll")
BEYOND, WITHIN, PAIRED = "beyond", "within", "paired"


@dataclass(frozen=True, kw_only=True)
class ComparedValue:
    """One figure or setting of both sides."""

    name: str
    first: str
    """Empty where this side does not have it."""
    second: str
    difference: str = ""
    """The second less the first, for a score in its unit and otherwise in percent of the first."""
    noise: str = ""
    """Whether the difference lies `beyond` two standard errors or `within`, and whether it was
    measured in pairs; empty for what has no noise."""


def compare_trials(
    first: tuple[StudyConfig, TrialRecord], second: tuple[StudyConfig, TrialRecord]
) -> list[ComparedValue]:
    """Return the values in which two recipes differ, then every metric of both trials.

    Scores on the test set are compared sample by sample where both trials kept them and the
    studies have one task; other noise is that of both figures, added in squares.

    Args:
        first: A measured trial and the study that it is from.
        second: Another one, maybe of another study.
    """
    steps = [record.recipe.get("steps", {}) for _, record in (first, second)]
    shared = steps[0].keys() & steps[1].keys()
    ours, theirs = ({**_values(side, shared), **_names(side, shared)} for side in steps)
    metrics = [record.metrics for _, record in (first, second)]
    return [*_differing(ours, theirs), *(_metric(first, second, n) for n in _shown(*metrics))]


def compare_studies(
    first: tuple[StudyConfig, StudyResult], second: tuple[StudyConfig, StudyResult]
) -> list[ComparedValue]:
    """Return the settings in which two studies differ, then what each of them found."""
    left_out = {"study", "runs_dir"}
    settings = [
        _flat({key: value for key, value in config.composed.items() if key not in left_out})
        for config, _ in (first, second)
    ]
    found = [_found(result) for _, result in (first, second)]
    rows = [
        ComparedValue(name=name, first=found[0][name], second=found[1][name]) for name in found[0]
    ]
    return [*_differing(*settings), *rows]


def _found(result: StudyResult) -> dict[str, str]:
    return {
        "finished": str(len(result.records)),
        "feasible": str(sum(record.feasible for record in result.records)),
        "on the front": str(len(result.front)),
        "hypervolume": f"{max(result.history.values(), default=0.0):.4f}",
    }


def _values(steps: Mapping[str, Any], shared: Collection[str]) -> dict[str, str]:
    """Return the values of the steps that both recipes have."""
    values = {name: step for name, step in steps.items() if name in shared}
    return {name: value for name, value in _flat(values).items() if not name.endswith("_target_")}


def _names(steps: Mapping[str, Any], shared: Collection[str]) -> dict[str, str]:
    """Return in a few words the acting steps that one recipe alone has."""
    words = {name: step_words(name, step) for name, step in steps.items() if name not in shared}
    return {name: text.removeprefix(name).strip() or "yes" for name, text in words.items() if text}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested values by their names with points: `prune.ratio`."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = f"{value:g}" if isinstance(value, float) else str(value)
    return flat


def _differing(first: Mapping[str, str], second: Mapping[str, str]) -> list[ComparedValue]:
    return [
        ComparedValue(name=name, first=first.get(name, ""), second=second.get(name, ""))
        for name in dict.fromkeys([*first, *second])
        if first.get(name) != second.get(name)
    ]


def _shown(first: Mapping[str, float], second: Mapping[str, float]) -> Iterator[str]:
    """Return the names of metrics that a side has; standard errors stand beside what they bound."""
    for name in (*TESTED, *METRICS):
        error = name.endswith("standard_error") or name in ERRORS.values()
        if not error and (name in first or name in second):
            yield name


def _metric(
    first: tuple[StudyConfig, TrialRecord], second: tuple[StudyConfig, TrialRecord], name: str
) -> ComparedValue:
    sides = [record.metrics for _, record in (first, second)]
    error = ERRORS.get(name, f"{name}_standard_error")
    texts = [_text(name, metrics, error) for metrics in sides]
    if not all(name in metrics for metrics in sides):
        return ComparedValue(name=name, first=texts[0], second=texts[1])
    difference = sides[1][name] - sides[0][name]
    noise = ""
    if name in ("score", "test_score") and all(error in metrics for metrics in sides):
        found = score_difference(second, first, "test" if name == "test_score" else "validation")
        noise = BEYOND if found.exceeds_noise else WITHIN
        noise += f", {PAIRED}" if found.paired else ""
    elif all(error in metrics for metrics in sides):
        bound = STANDARD_ERRORS * math.hypot(*(metrics[error] for metrics in sides))
        noise = BEYOND if abs(difference) > bound else WITHIN
    in_percent = sides[0][name] > 0 and "score" not in name and not name.endswith("_drop")
    if difference == 0:
        return ComparedValue(name=name, first=texts[0], second=texts[1], difference="=")
    shown = f"{difference / sides[0][name]:+.1%}" if in_percent else f"{difference:+.4f}"
    return ComparedValue(name=name, first=texts[0], second=texts[1], difference=shown, noise=noise)


def _text(name: str, metrics: Mapping[str, float], error: str) -> str:
    if name not in metrics:
        return ""
    spread = (
        f" ± {format_metric(name.removeprefix('test_'), metrics[error])}"
        if error in metrics
        else ""
    )
    return f"{format_metric(name.removeprefix('test_'), metrics[name])}{spread}"
