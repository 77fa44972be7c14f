"""Trials and studies side by side: what differs, and whether it exceeds the noise."""

import math
from dataclasses import replace

import numpy as np
import pytest

from search.config.compose import compose_search
from search.report.equal_scores import sample_scores
from search.report.result import study_result
from search.report.views.comparison import compare_studies, compare_trials
from tests.search.report.records import PRUNE, RECORDS, SHARE, trial


def study(folder, *overrides):
    return compose_search([f"runs_dir={folder}", "tracking=none", *overrides])


def rows_of(config, first, second):
    return {row.name: row for row in compare_trials((config, first), (config, second))}


def test_recipes_differ_in_values_and_steps_and_only_what_differs_is_shown(tmp_path):
    first = trial(1, steps={"prune": PRUNE, "share": SHARE})
    second = trial(2, steps={"prune": PRUNE | {"ratio": 0.3}})
    rows = rows_of(study(tmp_path), first, second)
    assert (rows["prune.ratio"].first, rows["prune.ratio"].second) == ("0.4", "0.3")
    assert (rows["share"].first, rows["share"].second) == ("16", "")
    assert not [name for name in rows if name.startswith(("prune.round_to", "share."))]
    assert rows["size_bytes"].difference == "-33.3%"
    assert rows["score"].difference == "-0.0040"


@pytest.mark.parametrize("gap", [0.0, 0.019, 0.021, -0.021, 1.0])
def test_a_difference_is_noise_within_two_standard_errors_of_it(gap, tmp_path):
    """The errors of two independent figures add in squares: here to 0.01."""
    measured = {"score_standard_error": 0.006, "latency_spread": 0.008}
    first = trial(1)
    first = replace(first, metrics={**first.metrics, **measured, "score": 0.5})
    errors = {"score_standard_error": 0.008, "latency_spread": 0.006}
    moved = {"score": 0.5 + gap, "latency_ratio": first.metrics["latency_ratio"] + gap}
    rows = rows_of(study(tmp_path), first, replace(first, metrics=first.metrics | errors | moved))
    expected = "beyond" if abs(gap) > 2 * math.hypot(0.006, 0.008) else "within" if gap else None
    for name in ("score", "latency_ratio"):
        assert rows[name].noise == (expected or "")
    assert rows["size_bytes"].noise == ""


@pytest.mark.parametrize("same_task", [True, False])
def test_test_scores_of_single_samples_are_paired_within_one_task(same_task, tmp_path):
    """A small gain on every sample is noise between studies of other data, and none in pairs."""
    scores = np.random.default_rng(0).random(50)
    first, second = study(tmp_path), study(tmp_path, *([] if same_task else ["task.seed=1"]))
    records = []
    for number, values in ((1, scores), (2, scores + 0.001)):
        path = sample_scores(first, number)
        path.parent.mkdir(parents=True)
        np.save(path, values)
        error = values.std(ddof=1) / math.sqrt(50)
        more = {"test_score": float(values.mean()), "test_score_standard_error": float(error)}
        records.append(replace(trial(number), metrics={**trial(number).metrics, **more}))
    rows = compare_trials((first, records[0]), (second, records[1]))
    [found] = [row.noise for row in rows if row.name == "test_score"]
    assert found == ("beyond, paired" if same_task else "within")


def test_studies_differ_in_settings_and_results(tmp_path):
    sides = [
        (config, study_result(config, records))
        for config, records in (
            (study(tmp_path), RECORDS),
            (study(tmp_path, "study=other", "steps.prune.ratio=0.3"), RECORDS[:2]),
        )
    ]
    rows = {row.name: row for row in compare_studies(*sides)}
    assert rows["steps.prune.ratio"].second == "0.3"
    assert (rows["finished"].first, rows["finished"].second) == ("5", "2")
    assert "study" not in rows
    assert not {row.name for row in compare_studies(sides[0], sides[0])} - {
        "finished",
        "feasible",
        "on the front",
        "hypervolume",
    }
