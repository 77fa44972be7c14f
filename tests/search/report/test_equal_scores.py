"""Members of the front are equal where the noise of their scores does not tell them apart."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from search.config.compose import compose_search
from search.config.study_config import StudyConfig
from search.report.equal_scores import equal_scores, sample_scores
from search.tasks.loading import load_task
from search.trial.baseline import measure_baseline
from search.trial.jobs import score
from search.trial.messages import JobSetting, ScoreRequest
from search.trial_record import TrialRecord
from tests.search.report.small_study import trial


def study(folder: Path, *overrides: str) -> StudyConfig:
    return compose_search([f"runs_dir={folder}", "tracking=none", *overrides])


def member(number: int, score: float, error: float, split: str = "") -> TrialRecord:
    record = trial(number, score, 100.0 + number)
    measured = {f"{split}score": score, f"{split}score_standard_error": error}
    return replace(record, metrics={**record.metrics, "score_standard_error": error, **measured})


def keep(config: StudyConfig, samples: Mapping[int, NDArray[np.float64]]) -> list[TrialRecord]:
    """Write down the test scores of single samples; return the members that have them."""
    members = []
    for number, values in samples.items():
        path = sample_scores(config, number)
        path.parent.mkdir(parents=True)
        np.save(path, values)
        error = float(values.std(ddof=1)) / math.sqrt(len(values))
        members.append(member(number, float(values.mean()), error, "test_"))
    return members


def test_members_within_two_standard_errors_of_the_difference_are_equal(tmp_path: Path) -> None:
    front = [member(3, 0.90, 0.01), member(5, 0.88, 0.01), member(7, 0.87, 0.01)]
    found = equal_scores(study(tmp_path), front)
    assert found is not None
    assert 0.02 < 2 * math.hypot(0.01, 0.01) < 0.03
    assert found.numbers == {3, 5}
    assert found.line == (
        "= equal in validation score to the best, trial 3 (0.9000), within 2 standard errors of "
        "the difference: 5 (0.8800)"
    )


def test_a_member_that_is_best_alone_has_no_marks_and_no_line(tmp_path: Path) -> None:
    found = equal_scores(study(tmp_path), [member(1, 0.9, 0.001), member(2, 0.8, 0.001)])
    assert found is not None
    assert (found.numbers, found.line) == (frozenset(), "")
    assert equal_scores(study(tmp_path), []) is None


def test_the_lowest_score_is_best_where_the_study_minimises_it(tmp_path: Path) -> None:
    config = study(tmp_path, "objectives.score=minimize")
    front = [member(1, 2.0, 0.1), member(2, 2.1, 0.1), member(3, 3.0, 0.1)]
    found = equal_scores(config, front)
    assert found is not None
    assert (found.best.number, found.numbers) == (1, {1, 2})


@pytest.mark.parametrize(("shared_noise", "equal"), [(True, False), (False, True)])
def test_samples_are_compared_in_pairs(shared_noise: bool, equal: bool, tmp_path: Path) -> None:
    """A small constant lead shows where both models find the same samples hard."""
    rng = np.random.default_rng(0)
    hard = rng.normal(size=400)
    other = hard if shared_noise else rng.permutation(hard)
    front = keep(study(tmp_path), {1: hard + 0.02, 2: other})
    found = equal_scores(study(tmp_path), front)
    assert found is not None
    assert (found.split, found.paired, bool(found.others)) == ("test", True, equal)


def test_the_paired_error_is_that_of_mcnemars_test(tmp_path: Path) -> None:
    """For right and wrong answers only the samples count on which two models differ."""
    count, ours, theirs = 1000, 20, 8  # samples that only one of them gets right
    first, second = np.ones(count), np.ones(count)
    second[:ours] = 0
    first[ours : ours + theirs] = 0
    found = equal_scores(study(tmp_path), keep(study(tmp_path), {1: first, 2: second}))
    z = (ours - theirs) / math.sqrt(ours + theirs)
    assert found is not None
    assert z > 2
    assert not found.others


def test_without_samples_of_all_members_test_scores_are_compared_unpaired(tmp_path: Path) -> None:
    kept = keep(study(tmp_path), {1: np.ones(100)})
    found = equal_scores(study(tmp_path), [*kept, member(2, 0.99, 0.01, "test_")])
    assert found is not None
    assert (found.split, found.paired, found.numbers) == ("test", False, {1, 2})


def test_validation_scores_are_compared_until_all_members_have_a_test_score(tmp_path: Path) -> None:
    tested = member(1, 0.99, 0.01)
    tested = replace(tested, metrics={**tested.metrics, "test_score": 0.5})
    found = equal_scores(study(tmp_path), [tested, member(2, 0.98, 0.01)])
    assert found is not None
    assert (found.split, found.numbers) == ("validation", {1, 2})


def test_the_final_scoring_keeps_the_score_of_each_sample(
    user_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(user_folder)
    node = {"_target_": "user_model.Task"}
    measure_baseline(load_task(node, tmp_path / "cache"), tmp_path / "baseline")
    config = study(tmp_path)
    setting = JobSetting(
        task=node, baseline=tmp_path / "baseline", latency=config.latency, threads=1
    )
    request = ScoreRequest(
        setting=setting,
        artefact=tmp_path / "baseline" / "model.onnx",
        split="test",
        samples=sample_scores(config, 0),
    )
    reply = score(ScoreRequest.from_data(request.to_data()))
    kept = np.load(sample_scores(config, 0))
    assert kept.shape == (200,)
    assert kept.mean() == pytest.approx(reply.score)
    assert kept.std(ddof=1) / math.sqrt(200) == pytest.approx(reply.score_standard_error)
