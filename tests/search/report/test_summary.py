"""What the summary says of trials of which the right answer is known."""

from dataclasses import replace
from pathlib import Path

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
    good = {"sparsify.ratio": 0.98, "sparsify.importance": "taylor"}
    records = [BASELINE, trial(1, 0.95, 30_000.0, "rival:int8", steps=["quantize"])]
    records += [trial(n, 0.94, 40_000.0, steps=["share"]) for n in range(2, 8)]
    records += [trial(n, 0.93 + n / 500, 5000.0 + 1000 * n, params=good) for n in range(8, 14)]
    config, result = study(records, tmp_path)
    lines = summary(config, result)
    assert lines[0].startswith("14 trials, 14 feasible, 6 on the front; the knee is trial ")
    assert lines[1:] == [
        "sparsify: in 100% of the front, 46% of the feasible; medians with it: "
        "score +0.011, size_bytes -61%",
        "fewer than 20 measured trials: too few to judge the parameters",
        "reference int8: beaten by trial 13: score 0.9560 against 0.9500, size_bytes 18.0 kB "
        "against 30.0 kB",
        "try steps.sparsify.ratio.high=0.99 steps.sparsify.ratio.step=0.01: 6 of 6 members of the "
        "front are at sparsify.ratio=0.98",
        "try '~steps.share': never on the front",
        "try trials=28: the last 5 trials still found better ones",
    ]
    path = write_summary(config, result)
    assert path == tmp_path / "digits" / "summary.txt"
    assert path.read_text().splitlines() == lines


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
        "the last 5 trials added less than 1 % to the hypervolume: more trials of this space will "
        "hardly find better ones"
    )
    poor = [BASELINE, *(trial(n, 0.99, 2e5) for n in range(1, 9))]
    assert summary(*study(poor, tmp_path))[-1] == (
        "no trial gains in every objective: drop one, or set preferences.reference"
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
