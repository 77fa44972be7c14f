"""What the summary says of trials of which the right answer is known."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from search.config.compose import compose_search
from search.config.study_config import StudyConfig
from search.report.result import StudyResult, study_result
from search.report.summary import summary, write_summary
from search.trial_record import TrialRecord
from tests.search.report.small_study import BASELINE, random_records, space, trial


def study(records: list[TrialRecord], tmp_path: Path) -> tuple[StudyConfig, StudyResult]:
    config = compose_search([f"runs_dir={tmp_path}", "~objectives.latency_ratio"])
    config = replace(config, space=space())
    return config, study_result(config, records)


def test_the_summary_of_a_good_study(tmp_path):
    good = {"sparsify.ratio": 0.98}
    records = [BASELINE, trial(1, 0.95, 30_000.0, "rival:int8", steps=["quantize"])]
    records += [trial(n, 0.93 + n / 500, 5000.0 + 1000 * n, params=good) for n in range(2, 14)]
    records += [
        trial(n, 0.90 + n / 9999, 40_000.0 + n, params={"sparsify.ratio": n / 50}, steps=["share"])
        for n in range(14, 26)
    ]
    config, result = study(records, tmp_path)
    lines = summary(config, result)
    assert lines[0].startswith("26 trials, 26 feasible, 12 on the front; the knee is trial ")
    for expected in (
        "share: score -0.044, size_bytes +208% in the median of 12 trials with it against 13 "
        "without, which differ in other steps too (Mann-Whitney test, 5 %)",
        "try steps.sparsify.ratio.high=0.99 steps.sparsify.ratio.step=0.01: 12 of 12 members of "
        "the front are at sparsify.ratio=0.98, of all trials 12 of 24",
        "try '~steps.share': never on the front (share in 12 of 25 measured trials)",
    ):
        assert expected in lines
    path = write_summary(config, result)
    assert path == tmp_path / "digits" / "summary.txt"
    assert path.read_text().splitlines() == lines


def test_few_trials_that_all_vary_at_once_support_no_sentence(tmp_path):
    good = {"sparsify.ratio": 0.98, "sparsify.importance": "taylor"}
    records = [BASELINE, trial(1, 0.95, 30_000.0, "rival:int8", steps=["quantize"])]
    records += [trial(n, 0.94, 40_000.0, steps=["share"]) for n in range(2, 8)]
    records += [trial(n, 0.93 + n / 500, 5000.0 + 1000 * n, params=good) for n in range(8, 14)]
    assert summary(*study(records, tmp_path))[1:] == [
        "fewer than 20 measured trials: too few to judge the parameters",
        "reference int8: beaten by trial 13: score 0.9560 against 0.9500, size_bytes 18.0 kB "
        "against 30.0 kB",
        "try trials=28: the last 5 trials still found better ones",
    ]


def test_a_planted_paired_effect_has_a_sentence_with_its_figures(tmp_path):
    records = [BASELINE]
    for n in range(1, 6):
        params = {"sparsify.ratio": n / 10}
        size = 1e5 / n
        records.append(trial(2 * n, 0.9, size, params=params))
        shared = trial(2 * n + 1, 0.88 + n / 1000, size / 4, params=params, steps=["share"])
        records.append(shared)
    lines = summary(*study(records, tmp_path))
    assert lines[1] == (
        "share: score -0.017, size_bytes -75% in the mean of 5 pairs of recipes that differ in it "
        "alone (t interval, 5 %)"
    )


def test_no_recovery_is_advised_away_where_damaged_recipes_have_it(tmp_path):
    """Recipes are trained where they were pruned hard, and are worse and never on the front."""
    records = [BASELINE]
    for n in range(1, 31):
        hard = {"sparsify.ratio": 0.9, "distil.epochs": 4}
        broken = {"violations": {"relative_drop<=0.1": 0.5}}
        records.append(trial(n, 0.3 + n / 999, 90_000.0 + n, params=hard, **broken))
        mild = {"sparsify.ratio": round(0.2 + n / 50, 2), "distil.epochs": 0}
        records.append(trial(30 + n, 0.9 + n / 999, 40_000.0 + 99 * n, params=mild))
    lines = summary(*study(records, tmp_path))
    assert not [line for line in lines if "~steps.distil" in line or "distil.epochs.high" in line]
    assert not [line for line in lines if line.startswith("distil:")]


def test_random_trials_have_no_sentence_on_steps_ranges_or_parameters(tmp_path):
    rng = np.random.default_rng(3)
    records = random_records(60, lambda p: 0.9 + rng.normal(), lambda p: 1e4 * (1 + rng.random()))
    lines = summary(*study([BASELINE, *(_after(BASELINE, r) for r in records)], tmp_path))
    said = [line for line in lines if line.startswith(("try steps", "try '~steps", "the best "))]
    assert said == []
    assert not [line for line in lines if line.partition(":")[0] in space().steps]


def _after(first: TrialRecord, record: TrialRecord) -> TrialRecord:
    return replace(record, number=first.number + 1 + record.number)


def test_a_front_that_does_not_beat_int8_says_so(tmp_path):
    records = [BASELINE, trial(1, 0.96, 9000.0, "rival:int8"), trial(2, 0.95, 20_000.0)]
    lines = summary(*study(records, tmp_path))
    assert (
        "the front does not beat int8 post-training quantisation (trial 1): no trial is as good "
        "in every objective and better in one"
    ) in lines


def test_a_study_that_stagnates_or_has_nothing_feasible_says_so(tmp_path):
    flat = [BASELINE, trial(1, 0.95, 9000.0), *(trial(n, 0.9, 9e4) for n in range(2, 9))]
    assert summary(*study(flat, tmp_path))[-1] == (
        "the last 5 trials added less than 1 % to the hypervolume"
    )
    poor = [BASELINE, *(trial(n, 0.99, 2e5) for n in range(1, 9))]
    assert summary(*study(poor, tmp_path))[1].startswith(
        "the hypervolume is 0: no feasible trial has size_bytes below 100.0 kB"
    )
    failed = [trial(n, 0, 0, status="oom", error="killed") for n in range(3)]
    assert summary(*study(failed, tmp_path)) == ["3 trials, none feasible"]


def test_preferences_are_shown_and_choose_the_knee(tmp_path):
    records = [BASELINE, *(trial(n, 0.9 + n / 100, 1000.0 * n**2) for n in range(1, 6))]
    config, result = study(records, tmp_path)
    wanted = compose_search(["preferences.weights.score=50"]).preferences
    line = summary(replace(config, preferences=wanted), result)[0]
    assert "the knee (score weighs 50) is trial 5: " in line


def test_the_summary_stays_short(tmp_path):
    records = [replace(r, origin="sampled") for r in random_records(80, lambda p: 0.9, len)]
    records[0] = replace(records[0], origin="baseline", metrics=BASELINE.metrics)
    assert len(summary(*study(records, tmp_path))) <= 16
