"""The loop of a study, on an executor that makes figures up and ends jobs in any order."""

import random
import time
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from search.config.compose import compose_search
from search.config.study_config import StudyConfig
from search.errors import ConfigError, StudyError
from search.executors.base import Job, Outcome
from search.pareto.ranking import rung_costs
from search.proposal.initial_design import is_initial
from search.recipe.recipe import recipe_from_data
from search.report.result import StudyResult
from search.study.run import run_study
from search.study.terminal import Display
from search.trial.screening import read_screen

BASE = {"score": 0.9, "size_bytes": 1000.0, "run_bytes": 1100.0, "nll": 0.3}


class MadeUp:
    """Figures that depend on the recipe alone; jobs that end in an order drawn from a seed."""

    def __init__(self, *, slots: int = 3, ordered: bool = True, order: int = 0) -> None:
        self.slots = slots
        self.ordered = ordered
        self.random = random.Random(order)
        self.running: list[Job] = []
        self.most = 0
        self.started: list[int] = []
        self.payloads: dict[int, Mapping[str, Any]] = {}
        self.kinds: dict[int, str] = {}
        self.stopped: dict[int, str] = {}
        self.prepared: dict[str, Any] = {
            "maximize": True,
            "infeasible": {},
            "failing": {},
            "skipped_layers": {},
        }
        self.threads = 1
        self.interrupt_at = -1

    def prepare(self) -> None:
        pass

    def submit(self, job: Job) -> None:
        self.running.append(job)
        self.most = max(self.most, len(self.running))
        if job.function.endswith("trial_job"):
            self.started.append(job.key)
            self.payloads[job.key] = job.payload

    def wait(self, seconds: float) -> list[tuple[Job, Outcome]]:
        job = self.running.pop(self.random.randrange(len(self.running)))
        if job.key == self.interrupt_at and job.function.endswith("trial_job"):
            raise KeyboardInterrupt
        result: dict[str, Any]
        if job.function.endswith("prepare_job"):
            result = {"figures": BASE} | self.prepared
        elif job.function.endswith("score_job"):
            result = {"score": 0.8, "score_standard_error": 0.01, "nll": 0.4}
        else:
            result = {
                "metrics": metrics_of(job.payload["recipe"]),
                "verdict": "size gain",
                "notes": "",
                "recipe": None,
                "training": "",
                "stopped": "",
                "rungs": rungs_of(job.payload["recipe"]),
                "digest": recipe_from_data(job.payload["recipe"]).hash,
            }
            if job.key in self.stopped:
                result |= {"metrics": {}, "verdict": "", "stopped": self.stopped[job.key]}
        kind = self.kinds.get(job.key, "ok") if job.function.endswith("trial_job") else "ok"
        now = time.time()
        if kind != "ok":
            return [(job, Outcome(status=kind, error="made up", started=now, finished=now))]
        return [(job, Outcome(status="ok", result=result, started=now, finished=now))]

    def close(self) -> None:
        self.running.clear()


def metrics_of(recipe: Mapping[str, Any]) -> dict[str, float]:
    steps = recipe["steps"]
    cut = sum(float(values.get("ratio", 0)) for values in steps.values())
    score = 0.9 - 0.02 * cut
    return {
        "score": score,
        "score_standard_error": 0.01,
        "score_drop": 0.9 - score,
        "relative_drop": (0.9 - score) / 0.9,
        "size_bytes": 1000.0 / (1 + cut),
        "run_bytes": 1000.0,
        "latency_ratio": 1.0,
        "macs": 500.0 / (1 + cut),
        "integer_operators": 0,
        "nll": 0.3,
    }


def rungs_of(recipe: Mapping[str, Any]) -> list[dict[str, float]]:
    """Return figures at two rungs: the more the steps cut, the worse and the smaller."""
    cut = sum(float(values.get("ratio", 0)) for values in recipe["steps"].values())
    coded = sum(1 for values in recipe["steps"].values() if {"bits", "clusters"} & set(values))
    figures = {
        "score": 0.9 - 0.1 * cut,
        "nll": 0.3 + cut**2 + 0.1 * coded,
        "estimated_bytes": 1000.0 / (1 + cut + 3 * coded),
        "macs": 500.0 / (1 + cut),
        "integer_operators": 0,
        "parameters": 100.0,
        "nonzeros": 100.0,
    }
    return [{"share": share, **figures} for share in (0.0, 1 / 3)]


def config(folder: Path, *overrides: str) -> StudyConfig:
    fixed = ["objectives=score_size", "tracking=none", f"runs_dir={folder}", "trials=16"]
    return compose_search([*fixed, *overrides])


def run(folder: Path, executor: MadeUp, *overrides: str) -> StudyResult:
    quiet = Display(console=Console(quiet=True))
    return run_study(config(folder, *overrides), executor, quiet)


def hashes(result: StudyResult) -> list[str]:
    return [record.recipe_hash for record in result.records]


def test_an_ordered_study_does_not_depend_on_who_was_faster(tmp_path: Path) -> None:
    runs = [run(tmp_path / str(order), MadeUp(order=order)) for order in (1, 2, 3)]
    assert hashes(runs[0]) == hashes(runs[1]) == hashes(runs[2])
    assert all(executor_filled == 16 for executor_filled in map(len, map(hashes, runs)))


@pytest.mark.parametrize("warm", ["true", "false"])
def test_an_interrupted_study_goes_on_as_if_nothing_had_happened(warm: str, tmp_path: Path) -> None:
    begins = f"warm_start={warm}"
    whole = run(tmp_path / "whole", MadeUp(), begins)
    broken = MadeUp(order=5)
    broken.interrupt_at = 11
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", broken, begins)
    resumed = run(tmp_path / "broken", MadeUp(order=9), begins)
    assert [r.number for r in resumed.records] == list(range(16))
    assert hashes(resumed) == hashes(whole)


def test_without_a_warm_start_the_sampler_follows_the_baseline(tmp_path: Path) -> None:
    result = run(tmp_path, MadeUp(), "warm_start=false", "mutate_front=false")
    assert [r.origin for r in result.records] == ["baseline", *["sampled"] * 15]


def test_a_stopped_trial_has_a_reason_and_no_figures(tmp_path: Path) -> None:
    executor = MadeUp()
    executor.stopped = {5: "the same model as trial 3"}
    record = run(tmp_path, executor).records[5]
    assert record.status == "stopped"
    assert record.error == "the same model as trial 3"
    assert not record.metrics
    assert not record.feasible
    assert record.rungs == rungs_of(record.recipe)


def test_recipes_that_begin_alike_have_one_seed(tmp_path: Path) -> None:
    result = run(tmp_path, MadeUp())
    assert len({record.seed for record in result.records}) == 1
    assert {record.recipe["seed"] for record in result.records} == {result.records[0].seed}


def test_a_trial_is_told_what_earlier_ones_had_at_each_rung(tmp_path: Path) -> None:
    executor = MadeUp(slots=1)
    result = run(tmp_path, executor, "rungs.count=3", "warm_start=false", "trials=7")
    screen = executor.payloads[6]["screen"]
    earlier = [rungs_of(record.recipe)[1] for record in result.records[:6]]
    costs = [rung_costs(figures, ["score", "size_bytes"]) for figures in earlier]
    assert screen["peers"] == [[], costs]  # a ninth, a third
    assert set(screen["seen"].values()) == set(range(6))
    assert {member["trial"] for member in screen["front"]} <= set(range(6))
    assert read_screen(screen).rungs.count == 3
    assert screen["refuse_early"]


@pytest.mark.parametrize("refuse_early", [True, False])
def test_the_first_trials_are_measured_whatever_they_are_worth(
    refuse_early: bool, tmp_path: Path
) -> None:
    executor = MadeUp(slots=1)
    overrides = f"refuse_early={str(refuse_early).lower()}", "rungs.count=3", "trials=20"
    result = run(tmp_path, executor, *overrides)
    for record in result.records:
        screen = read_screen(executor.payloads[record.number]["screen"])
        first = is_initial(record.origin)
        assert screen.rungs.count == (1 if first else 3)
        assert screen.refuse_early == (refuse_early and not first)
        # No model twice, unless the user wants to.
        assert set(screen.seen.values()) == (set(range(record.number)) if refuse_early else set())
    assert {is_initial(record.origin) for record in result.records} == {True, False}


def test_models_are_kept_between_trials_unless_told_otherwise(tmp_path: Path) -> None:
    kept, not_kept = MadeUp(), MadeUp()
    run(tmp_path, kept, "study=kept", "trials=2")
    run(tmp_path, not_kept, "study=not_kept", "trials=2", "cache_prefixes=false")
    folders = {job["prefixes"] for job in kept.payloads.values()}
    assert folders == {str(tmp_path / "kept" / "prefixes")}
    assert {job["prefixes"] for job in not_kept.payloads.values()} == {None}


@pytest.mark.parametrize("ordered", [True, False])
def test_all_slots_are_used(ordered: bool, tmp_path: Path) -> None:
    executor = MadeUp(slots=4, ordered=ordered)
    run(tmp_path, executor)
    assert executor.most == 4
    assert sorted(executor.started) == list(range(16))


def test_a_failed_trial_is_kept_and_the_study_goes_on(tmp_path: Path) -> None:
    executor = MadeUp()
    executor.kinds = {9: "oom", 10: "crashed", 12: "infeasible"}
    result = run(tmp_path, executor)
    assert {r.number: r.status for r in result.records if r.status != "ok"} == executor.kinds
    assert len(result.records) == 16


def test_a_trial_beyond_a_constraint_is_not_on_the_front(tmp_path: Path) -> None:
    result = run(tmp_path, MadeUp(), "constraints.score_drop<=0.01")
    beyond = [r for r in result.records if r.metrics["score_drop"] > 0.01]
    assert beyond
    assert not any(record.feasible for record in beyond)
    assert not {r.number for r in beyond} & {r.number for r in result.front}


def test_the_front_and_the_baseline_have_test_figures_and_no_other_trial_has(
    tmp_path: Path,
) -> None:
    result = run(tmp_path, MadeUp())
    scored = {r.number for r in result.records if "test_score" in r.metrics}
    assert scored == {0, *(r.number for r in result.front)}


def test_steps_that_cannot_act_are_left_out(tmp_path: Path) -> None:
    executor = MadeUp()
    executor.prepared["infeasible"] = {"remove": "no blocks", "share": "no weights"}
    result = run(tmp_path, executor)
    steps = [name for record in result.records for name in record.recipe["steps"]]
    names = {name.partition(".")[0] for name in steps}  # a divided recovery is distil, distil.2 ...
    assert names == {"prune", "factorise", "sparsify", "distil", "quantize", "tune"}


def test_layers_that_a_step_leaves_are_reported_once_by_reason(tmp_path: Path) -> None:
    executor = MadeUp()
    many = {f"layer{i}": "they are shared" for i in range(11)}
    executor.prepared["skipped_layers"] = {"prune": {"a": "it is last", "b": "it is last", **many}}
    console = Console(file=StringIO(), width=300)
    run_study(config(tmp_path), executor, Display(console=console))
    said = console.file.getvalue()
    assert said.count("step 'prune' leaves a, b: it is last") == 1
    assert said.count("layer6, layer7 and 3 more: they are shared") == 1


def test_a_failed_baseline_ends_the_study_at_once(tmp_path: Path) -> None:
    executor = MadeUp(slots=1)
    executor.kinds = {0: "error"}
    with pytest.raises(StudyError, match="the baseline's own trial failed: made up"):
        run(tmp_path, executor)
    assert executor.started == [0]


def test_a_score_that_is_better_when_lower_needs_its_direction(tmp_path: Path) -> None:
    executor = MadeUp()
    executor.prepared["maximize"] = False
    with pytest.raises(ConfigError, match=r"set objectives.score=minimize"):
        run(tmp_path, executor)
    assert executor.started == []


def test_no_trial_starts_after_the_timeout(tmp_path: Path) -> None:
    result = run(tmp_path, MadeUp(slots=1), "timeout=1e-9")
    assert len(result.records) == 0


def test_a_study_that_has_its_trials_does_nothing_more(tmp_path: Path) -> None:
    first = run(tmp_path, MadeUp())
    again = MadeUp()
    second = run(tmp_path, again)
    assert again.started == []
    assert second.records == first.records
