"""A doubt is said once, with its reason, and only where there is one."""

from pathlib import Path

import pytest

from search.config.compose import compose_search
from search.report.doubts import doubts
from search.report.result import study_result
from search.report.summary import summary
from search.trial_record import TrialRecord
from tests.search.made_up_records import trial

BASELINE = {"run_bytes": 1000.0, "score_standard_error": 0.01}
DISTILLED = {"seed": 0, "steps": {"distil": {"epochs": 4}}}


def said(folder: Path, *records: TrialRecord, overrides: tuple[str, ...] = ()) -> list[str]:
    config = compose_search([f"runs_dir={folder}", "tracking=none", *overrides])
    result = study_result(config, [trial(0, "baseline", metrics=BASELINE), *records])
    found = doubts(config, result)
    assert all(line in summary(config, result) for line in found)
    return found


def compressed(number: int, **changes: float) -> TrialRecord:
    gained = {"size_bytes": 500.0, "latency_ratio": 0.5, "score_standard_error": 0.01}
    drop = changes.pop("drop", 0.01)
    return trial(number, drop=drop, metrics={**gained, **changes}, recipe=DISTILLED)


def test_nothing_is_said_of_a_study_that_gains(tmp_path: Path) -> None:
    assert said(tmp_path, compressed(1), compressed(2, drop=-0.02)) == []


def test_a_recovery_that_trains_an_untrained_model_is_named(tmp_path: Path) -> None:
    [line] = said(tmp_path, compressed(1), compressed(2, drop=-0.105))
    assert "trial 2 scores 0.9945, the baseline 0.9000: its recovery trains" in line


@pytest.mark.parametrize("error", [0.05, 0.5])
def test_a_gain_within_the_noise_says_nothing_of_training(tmp_path: Path, error: float) -> None:
    assert said(tmp_path, compressed(2, drop=-0.105, score_standard_error=error)) == []


def test_a_gain_without_a_recovery_is_no_training(tmp_path: Path) -> None:
    pruned = {"seed": 0, "steps": {"prune": {"ratio": 0.4}, "distil": {"epochs": 0}}}
    better = trial(1, drop=-0.2, metrics={"size_bytes": 1.0, "latency_ratio": 0.5}, recipe=pruned)
    assert said(tmp_path, better) == []


def test_a_hypervolume_of_0_names_the_objective_in_which_none_gains(tmp_path: Path) -> None:
    slow = [compressed(1, latency_ratio=1.2), compressed(2, latency_ratio=1.1)]
    [line] = said(tmp_path, *slow)
    assert "the hypervolume is 0: no feasible trial has latency_ratio below 1" in line
    assert "the best, trial 2, has 1.1" in line
    assert "preferences.reference.latency_ratio" in line
    reference = ("preferences.reference.latency_ratio=2",)
    assert said(tmp_path, *slow, overrides=reference) == []


def test_a_hypervolume_of_0_though_each_objective_is_gained_is_said(tmp_path: Path) -> None:
    [line] = said(tmp_path, compressed(1, latency_ratio=1.2), compressed(2, size_bytes=2000.0))
    assert "in each objective some trial gains, but none in all at once" in line
