"""What the summary says of trials of which the right answer is known."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.config.compose import compose_search
from search.config.study_config import StudyConfig
from search.pareto.front import pareto_front
from search.recipe.space import Space, parse_space
from search.report.boundary_values import boundary_hits
from search.report.infeasible_ranges import infeasible_range
from search.report.parameter_importance import parameter_importances
from search.report.reference_recipes import compare_with_references
from search.report.result import StudyResult, study_result
from search.report.step_effects import step_effects
from search.report.summary import summary, write_summary
from search.trial_record import TrialRecord

OBJECTIVES = {"score": "maximize", "size_bytes": "minimize"}
PRUNE = "compressors.weight_pruning.WeightPruning"
SHARE = "compressors.weight_sharing.WeightSharing"
DISTIL = "compressors.distillation.Distillation"


def space(**ratio: Any) -> Space:
    steps = {
        "sparsify": {
            "_target_": PRUNE,
            "ratio": {"_suggest_": "float", "low": 0.0, "high": 0.98, "step": 0.02} | ratio,
            "importance": {
                "_suggest_": "categorical",
                "choices": ["magnitude", "taylor", "wanda"],
                "when": "ratio",
            },
        },
        "share": {
            "_target_": SHARE,
            "clusters": {"_suggest_": "int", "low": 4, "high": 64, "log": True},
        },
        "distil": {
            "_target_": DISTIL,
            "epochs": {"_suggest_": "int", "low": 0, "high": 4},
            "temperature": {"_suggest_": "float", "low": 1.0, "high": 8.0, "when": "epochs"},
        },
    }
    return parse_space(steps, {"encode": ["none", "share"]})


def trial(number: int, score: float, size: float, origin: str = "sampled", **more: Any):
    params = more.pop("params", {})
    steps: dict[str, dict[str, Any]] = {}
    for name, value in params.items():
        step, _, field = name.partition(".")
        steps.setdefault(step, {})[field] = value
    named = more.pop("steps", [])
    steps |= {name: {} for name in named}
    status = more.get("status", "ok")
    return TrialRecord(
        number=number,
        origin=origin,
        seed=0,
        params=params,
        recipe={"seed": 0, "steps": {n: v for n, v in steps.items() if n != "encode"}},
        recipe_hash=str(number),
        metrics={"score": score, "size_bytes": size} if status == "ok" else {},
        started=0.0,
        finished=1.0,
        **{"status": "ok"} | more,
    )


BASELINE = trial(0, 0.95, 100_000.0, "baseline")


def study(records: list[TrialRecord], tmp_path: Path) -> tuple[StudyConfig, StudyResult]:
    config = compose_search([f"runs_dir={tmp_path}", "~objectives.latency_ratio"])
    config = replace(config, space=space())
    return config, study_result(config, records)


def test_a_step_is_judged_by_its_share_of_the_front_and_by_medians():
    records = [BASELINE]
    records += [trial(n, 0.96, 1000.0 + n, steps=["share"]) for n in range(1, 7)]
    records += [trial(n, 0.90, 2000.0, steps=["sparsify"]) for n in range(7, 17)]
    records += [trial(17, 0.99, 1500.0, steps=["share", "sparsify"])]
    front = [record.number for record in pareto_front(records, OBJECTIVES)]
    assert front == [17, 1]
    share, sparsify = step_effects(records, front, OBJECTIVES)
    assert (share.step, share.front_share, share.with_step, share.without_step) == (
        "share",
        1.0,
        7,
        10,
    )
    assert share.feasible_share == pytest.approx(7 / 17)
    assert share.medians == {"score": (0.96, 0.90), "size_bytes": (1004.0, 2000.0)}
    assert (sparsify.step, sparsify.front_share) == ("sparsify", 0.5)
    assert not share.thin
    assert step_effects(records[:9], front, OBJECTIVES)[0].thin


def test_medians_count_trials_that_break_a_constraint_too():
    broken = {"violations": {"relative_drop<=0.1": 0.4}}
    records = [trial(n, 0.2, 100.0, steps=["share"], **broken) for n in range(5)]
    records += [trial(n, 0.9, 900.0) for n in range(5, 10)]
    [share] = step_effects(records, [5], OBJECTIVES)
    assert share.medians["score"] == (0.2, 0.9)
    assert (share.feasible_share, share.front_share) == (0.0, 0.0)


def test_parts_of_a_recovery_are_one_step_and_no_epochs_are_none():
    staged = trial(0, 0.9, 9.0)
    steps = {"distil.1": {"epochs": 1}, "distil.2": {"epochs": 3}, "tune": {"epochs": 0}}
    staged = replace(staged, recipe={"seed": 0, "steps": steps})
    assert [p.step for p in step_effects([staged, trial(1, 0.9, 9.0)], [0], OBJECTIVES)] == [
        "distil"
    ]


class Drawn:
    """A source of random values for a space."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def suggest_float(self, name, low, high, *, step, log):
        count = round((high - low) / step) if step else 10_000
        return low + (high - low) * int(self.rng.integers(count + 1)) / count

    def suggest_int(self, name, low, high, *, step, log):
        return int(self.rng.integers(low, high + 1))

    def suggest_categorical(self, name, choices):
        return choices[int(self.rng.integers(len(choices)))]


def random_records(count: int, score, size) -> list[TrialRecord]:
    source, rng = Drawn(0), np.random.default_rng(1)
    drawn = [space().sample(source) for _ in range(count)]
    return [
        trial(n, score(p) + 0.01 * rng.normal(), size(p), params=p) for n, p in enumerate(drawn)
    ]


def test_the_parameter_that_decides_is_named_for_each_objective():
    records = random_records(
        200,
        score=lambda p: p.get("distil.temperature", 0.0),
        size=lambda p: -p["sparsify.ratio"],
    )
    found = parameter_importances(records, OBJECTIVES, space())
    assert next(iter(found["size_bytes"])) == "sparsify.ratio"
    assert next(iter(found["score"])) in ("distil.temperature", "distil.epochs")
    assert set(found["score"]) <= {"distil.temperature", "distil.epochs"}


def test_chance_and_few_trials_name_no_parameter():
    chance = np.random.default_rng(3)
    records = random_records(60, score=lambda p: chance.normal(), size=lambda p: chance.normal())
    assert parameter_importances(records, OBJECTIVES, space()) == {"score": {}, "size_bytes": {}}
    assert parameter_importances(records[:19], OBJECTIVES, space()) == {}


REFERENCES = [
    trial(1, 0.90, 50.0, "rival:int8"),
    trial(2, 0.80, 40.0, "rival:int8 and half the channels"),
    trial(3, 0.0, 0.0, "rival:4 bits", status="error", error="Traceback\nValueError: no"),
]


@pytest.mark.parametrize(
    ("score", "size", "winner"),
    [(0.90, 49.0, 9), (0.91, 50.0, 9), (0.90, 50.0, None), (0.99, 51.0, None), (0.89, 9.0, None)],
)
def test_a_reference_is_beaten_by_what_is_nowhere_worse_and_somewhere_better(score, size, winner):
    records = [*REFERENCES, trial(9, score, size)]
    compared = compare_with_references(records, pareto_front(records, OBJECTIVES), OBJECTIVES)
    assert [comparison.name for comparison in compared] == [
        "int8",
        "int8 and half the channels",
        "4 bits",
    ]
    found = [comparison.winner and comparison.winner.number for comparison in compared]
    assert found == [winner, 9 if size < 40 else None, None]


def test_ends_of_ranges_where_the_front_lies_move_to_what_the_compressor_accepts():
    front = [trial(n, 0.9, 9.0, params={"sparsify.ratio": 0.98}) for n in range(3)]
    front += [trial(3, 0.9, 9.0, params={"sparsify.ratio": 0.5})]
    [hit] = boundary_hits(front, space())
    assert hit.overrides == "steps.sparsify.ratio.high=0.99 steps.sparsify.ratio.step=0.01"
    assert (hit.parameter, hit.value, hit.members, hit.of) == ("sparsify.ratio", 0.98, 3, 4)
    assert boundary_hits(front[1:], space()) == []


@pytest.mark.parametrize(
    ("params", "overrides"),
    [
        ({"share.clusters": 4}, "steps.share.clusters.low=2"),
        ({"share.clusters": 64}, "steps.share.clusters.high=79"),
        ({"distil.epochs": 4}, "steps.distil.epochs.high=5"),
        ({"distil.epochs": 2, "distil.temperature": 8.0}, "steps.distil.temperature.high=9.75"),
    ],
)
def test_every_kind_of_range_is_widened(params, overrides):
    hits = boundary_hits([trial(n, 0.9, 9.0, params=params) for n in range(3)], space())
    assert [hit.overrides for hit in hits] == [overrides]


def test_a_range_that_the_compressor_takes_no_further_is_left():
    front = [trial(n, 0.9, 9.0, params={"distil.epochs": 0}) for n in range(3)]
    front += [trial(n, 0.9, 9.0, params={"sparsify.ratio": 0.0}) for n in range(3)]
    assert boundary_hits(front, space()) == []


def bad(number: int, **params: Any) -> TrialRecord:
    broken = {"relative_drop<=0.1": 0.3, "nll<=2": 0.1}
    return trial(number, 0.5, 10.0, params=params, violations=broken)


def test_the_part_of_a_range_without_a_feasible_trial_is_taken_away():
    records = [bad(n, **{"sparsify.ratio": 0.8 + n / 50}) for n in range(6)]
    records += [trial(n, 0.9, 20.0, params={"sparsify.ratio": n / 20}) for n in range(8, 14)]
    found = infeasible_range(records, space())
    assert found is not None
    assert found.override == "steps.sparsify.ratio.high=0.65"
    assert (found.reason, found.failing, found.inside) == ("relative_drop<=0.1", 6, 6)
    assert found.part == "sparsify.ratio above 0.65"
    assert infeasible_range(records[1:], space()) is not None
    assert infeasible_range(records[2:], space()) is None


def test_the_choice_without_a_feasible_trial_is_taken_away():
    params = {"sparsify.ratio": 0.5, "sparsify.importance": "taylor"}
    fine = params | {"sparsify.importance": "wanda"}
    records = [
        trial(n, 0, 0, params=params, status="infeasible", error="no channel left")
        for n in range(5)
    ]
    records += [trial(n, 0.9, 20.0, params=fine) for n in range(5, 10)]
    found = infeasible_range(records, space())
    assert found is not None
    assert found.override == "'steps.sparsify.importance.choices=[magnitude,wanda]'"
    assert found.part == "sparsify.importance=taylor"
    stopped = [replace(r, status="stopped") if r.status != "ok" else r for r in records]
    assert infeasible_range(stopped, space()) is None


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
