"""The loop of a study, on an executor that makes metrics up and ends jobs in any order."""

import json
import random
import re
import time
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from optuna.study import StudyDirection
from rich.console import Console

from search.config.compose import compose_search
from search.config.existing import read_config
from search.config.study_config import StudyConfig
from search.errors import ConfigError, StudyError
from search.executors.base import Job
from search.executors.outcome import Outcome
from search.pareto.ranking import rung_costs
from search.proposal.initial_design import is_initial
from search.recipe.recipe import Recipe, recipe_from_data
from search.report.result import StudyResult
from search.study.journal_file import read_journal
from search.study.run import run_study
from search.study.terminal import Display
from search.trial.messages import (
    PrepareReply,
    PrepareRequest,
    ScoreReply,
    ScoreRequest,
    TrialReply,
    TrialRequest,
)
from search.trial.screen import Screen
from search.trial_record import ModelEstimate, TrialRecord

BASE = {"score": 0.9, "size_bytes": 1000.0, "run_bytes": 1100.0, "nll": 0.3}


class MadeUp:
    """Metrics that depend on the recipe alone; jobs that end in an order drawn from a seed."""

    def __init__(self, *, slots: int = 3, ordered: bool = True, order: int = 0) -> None:
        self.slots = slots
        self.ordered = ordered
        self.random = random.Random(order)
        self.running: list[Job] = []
        self.most = 0
        self.started: list[int] = []
        self.requests: dict[int, TrialRequest] = {}
        self.statuses: dict[int, str] = {}
        self.failures: dict[int, list[Outcome]] = {}
        """By trial, how it ends before it succeeds."""
        self.stopped: dict[int, str] = {}
        self.prepared = PrepareReply(
            metrics=BASE,
            maximize=True,
            infeasible={},
            failing={},
            skipped_layers={},
            outputs="logits [B, 10], classes on axis 1",
        )
        self.threads = 1
        self.interrupt_at = -1

    def prepare(self) -> None:
        pass

    def submit(self, job: Job) -> None:
        self.running.append(job)
        self.most = max(self.most, len(self.running))
        if job.function == TrialRequest.job:
            self.started.append(job.key)
            # As an executor would carry it to another machine.
            sent = json.loads(json.dumps(job.payload))
            self.requests[job.key] = TrialRequest.from_data(sent)

    def wait(self, seconds: float) -> list[tuple[Job, Outcome]]:
        job = self.running.pop(self.random.randrange(len(self.running)))
        trial = job.function == TrialRequest.job
        if trial and job.key == self.interrupt_at:
            raise KeyboardInterrupt
        status = self.statuses.get(job.key, "ok") if trial else "ok"
        now = time.time()
        if trial and self.failures.get(job.key):
            return [(job, self.failures[job.key].pop(0))]
        if status != "ok":
            return [(job, Outcome(status=status, error="made up", started=now, finished=now))]
        result = json.loads(json.dumps(self.reply(job).to_data()))
        subject = job.subject
        return [
            (job, Outcome(status="ok", result=result, subject=subject, started=now, finished=now))
        ]

    def reply(self, job: Job) -> PrepareReply | ScoreReply | TrialReply:
        if job.function == PrepareRequest.job:
            return self.prepared
        if job.function == ScoreRequest.job:
            return ScoreReply(score=0.8, score_standard_error=0.01, nll=0.4)
        recipe = self.requests[job.key].recipe
        reply = TrialReply(
            metrics=metrics_of(recipe),
            verdict="size gain",
            rungs=rungs_of(recipe),
            digest=recipe.hash,
        )
        if job.key in self.stopped:
            reply = replace(reply, metrics={}, verdict="", stopped=self.stopped[job.key])
        return reply

    def close(self) -> None:
        self.running.clear()


def metrics_of(recipe: Recipe) -> dict[str, float]:
    cut = sum(float(step.values.get("ratio", 0)) for step in recipe.steps)
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


def rungs_of(recipe: Recipe) -> tuple[ModelEstimate, ...]:
    """Return estimates at two rungs: the more the steps cut, the worse and the smaller."""
    cut = sum(float(step.values.get("ratio", 0)) for step in recipe.steps)
    coded = sum(1 for step in recipe.steps if {"bits", "clusters"} & set(step.values))
    estimate = ModelEstimate(
        share=0.0,
        model=recipe.hash,
        estimated_bytes=1000.0 / (1 + cut + 3 * coded),
        macs=500.0 / (1 + cut),
        parameters=100,
        nonzeros=100,
        integers=False,
        score=0.9 - 0.1 * cut,
        score_standard_error=0.01,
        nll=0.3 + cut**2 + 0.1 * coded,
    )
    return (estimate, replace(estimate, share=1 / 3))


def config(folder: Path, *overrides: str) -> StudyConfig:
    fixed = ["objectives=score_size", "tracking=none", f"runs_dir={folder}", "trials=16"]
    return compose_search([*fixed, *overrides])


def run(
    folder: Path, executor: MadeUp, *overrides: str, shown: StringIO | None = None
) -> StudyResult:
    console = Console(file=shown or StringIO(), soft_wrap=True)
    return run_study(config(folder, *overrides), executor, Display(console=console))


def hashes(result: StudyResult) -> list[str]:
    return [record.recipe_hash for record in result.records]


def test_an_ordered_study_does_not_depend_on_who_was_faster(tmp_path: Path) -> None:
    runs = [run(tmp_path / str(order), MadeUp(order=order)) for order in (1, 2, 3)]
    assert hashes(runs[0]) == hashes(runs[1]) == hashes(runs[2])
    assert all(executor_filled == 16 for executor_filled in map(len, map(hashes, runs)))


def test_an_interruption_and_what_follows_are_said_with_the_best_so_far(tmp_path: Path) -> None:
    broken, shown, again = MadeUp(), StringIO(), StringIO()
    broken.interrupt_at = 7
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, broken, "trials=8", shown=shown)
    lines = shown.getvalue().splitlines()
    assert f"logs: {tmp_path}/digits/baseline/log.txt, {tmp_path}/digits/trials/*/log.txt" in lines
    assert lines[-2] == "stopping: what was measured is kept, trials under way run again"
    best = lines[-1]
    assert best.startswith("best so far: ")
    assert best.count(" trial ") >= 1
    result = run(tmp_path, MadeUp(), "trials=8", shown=again)
    lines = again.getvalue().splitlines()
    assert re.fullmatch(r"going on from [67] of 8 trials", lines[0])
    assert lines[1] == best
    number = int(best.partition(" trial ")[2].split()[0])
    score = result.records[number].metrics["score"]
    assert f"trial {number} (score {score:.4f}, size_bytes " in best
    full = StringIO()
    run(tmp_path, MadeUp(), "trials=8", shown=full)
    assert full.getvalue().startswith("8 trials are there already; trials=16 adds some\n")


def test_the_best_trials_are_shown_after_each_ten(tmp_path: Path) -> None:
    shown = StringIO()
    run(tmp_path, MadeUp(slots=1), "trials=20", shown=shown)
    lines = shown.getvalue().splitlines()
    at = [place for place, line in enumerate(lines) if line.startswith("best so far")]
    trials = [sum(line[:5].strip().isdecimal() for line in lines[:place]) for place in at]
    assert trials == [10, 20]


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
    assert record.rungs == rungs_of(recipe_from_data(record.recipe))


def test_recipes_that_begin_alike_have_one_seed(tmp_path: Path) -> None:
    result = run(tmp_path, MadeUp())
    assert len({record.seed for record in result.records}) == 1
    assert {record.recipe["seed"] for record in result.records} == {result.records[0].seed}


def test_a_trial_is_told_what_earlier_ones_had_at_each_rung(tmp_path: Path) -> None:
    executor = MadeUp(slots=1)
    result = run(tmp_path, executor, "rungs.count=3", "warm_start=false", "trials=7")
    screen = executor.requests[6].screen
    earlier = [rungs_of(recipe_from_data(record.recipe))[1] for record in result.records[:6]]
    costs = [rung_costs(estimate, ["score", "size_bytes"]) for estimate in earlier]
    assert screen.peers == [[], costs]  # a ninth, a third
    assert set(screen.seen.values()) == set(range(6))
    assert {member.number for member in screen.front} <= set(range(6))
    assert screen.rungs.count == 3
    assert screen.refuse_early


@pytest.mark.parametrize("refuse_early", [True, False])
def test_the_first_trials_are_measured_whatever_they_are_worth(
    refuse_early: bool, tmp_path: Path
) -> None:
    executor = MadeUp(slots=1)
    overrides = f"refuse_early={str(refuse_early).lower()}", "rungs.count=3", "trials=20"
    result = run(tmp_path, executor, *overrides)
    for record in result.records:
        screen = executor.requests[record.number].screen
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
    folders = {request.prefix_folder for request in kept.requests.values()}
    assert folders == {tmp_path / "kept" / "prefixes"}
    assert {request.prefix_folder for request in not_kept.requests.values()} == {None}


@pytest.mark.parametrize("ordered", [True, False])
def test_all_slots_are_used(ordered: bool, tmp_path: Path) -> None:
    executor = MadeUp(slots=4, ordered=ordered)
    run(tmp_path, executor)
    assert executor.most == 4
    assert sorted(executor.started) == list(range(16))


@pytest.mark.fault("a recipe fails by itself")
def test_a_failed_trial_is_kept_and_the_study_goes_on(tmp_path: Path) -> None:
    executor = MadeUp()
    executor.statuses = {9: "oom", 10: "crashed", 12: "infeasible"}
    result = run(tmp_path, executor)
    assert {r.number: r.status for r in result.records if r.status != "ok"} == executor.statuses
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
    executor.prepared = replace(
        executor.prepared, infeasible={"remove": "no blocks", "share": "no weights"}
    )
    result = run(tmp_path, executor)
    steps = [name for record in result.records for name in record.recipe["steps"]]
    names = {name.partition(".")[0] for name in steps}  # a divided recovery is distil, distil.2 ...
    assert names == {"prune", "factorise", "sparsify", "distil", "quantize", "tune"}


def test_layers_that_a_step_leaves_are_reported_once_by_reason(tmp_path: Path) -> None:
    executor = MadeUp()
    many = {f"layer{i}": "they are shared" for i in range(11)}
    executor.prepared = replace(
        executor.prepared, skipped_layers={"prune": {"a": "it is last", "b": "it is last", **many}}
    )
    console = Console(file=StringIO(), width=300)
    run_study(config(tmp_path), executor, Display(console=console))
    said = console.file.getvalue()
    assert said.count("step 'prune' leaves a, b: it is last") == 1
    assert said.count("layer6, layer7 and 3 more: they are shared") == 1


def test_what_the_outputs_are_taken_for_is_said(tmp_path: Path) -> None:
    console = Console(file=StringIO(), width=300)
    run_study(config(tmp_path), MadeUp(), Display(console=console))
    assert console.file.getvalue().count("outputs: logits [B, 10], classes on axis 1") == 1


def test_a_failed_baseline_ends_the_study_at_once(tmp_path: Path) -> None:
    executor = MadeUp(slots=1)
    executor.statuses = {0: "error"}
    with pytest.raises(StudyError, match="the baseline's own trial failed: error: made up"):
        run(tmp_path, executor)
    assert executor.started == [0]


def minimising() -> MadeUp:
    executor = MadeUp(slots=1)
    executor.prepared = replace(executor.prepared, maximize=False)
    return executor


@pytest.mark.parametrize("maximize", [True, False])
def test_the_score_is_driven_the_way_the_task_says(maximize: bool, tmp_path: Path) -> None:
    executor = MadeUp() if maximize else minimising()
    begun = run(tmp_path, executor, "trials=7")
    way = "maximize" if maximize else "minimize"
    kept = read_config(tmp_path / "digits")
    assert kept.objectives == {"score": way, "size_bytes": "minimize"}
    assert {screen.objectives["score"] for screen in screens(executor)} == {way}
    assert hashes(begun) == [r.recipe_hash for r in load(kept)]
    scores = [record.metrics["score"] for record in begun.front]
    assert scores == sorted(scores, reverse=maximize)
    later = run(tmp_path, MadeUp() if maximize else minimising(), "trials=9")
    assert hashes(later)[:7] == hashes(begun)
    assert [d.name.lower() for d in directions(kept)] == [way, "minimize"]


def screens(executor: MadeUp) -> list[Screen]:
    return [request.screen for request in executor.requests.values()]


def load(kept: StudyConfig) -> list[TrialRecord]:
    return read_journal(kept.folder, kept.objectives).records()


def directions(kept: StudyConfig) -> list[StudyDirection]:
    return read_journal(kept.folder, kept.objectives).study.directions


@pytest.mark.parametrize("maximize", [True, False])
def test_a_direction_that_contradicts_the_task_is_an_error(maximize: bool, tmp_path: Path) -> None:
    executor = MadeUp() if maximize else minimising()
    wrong, right = ("minimize", "maximize") if maximize else ("maximize", "minimize")
    with pytest.raises(ConfigError, match=rf"set objectives\.score={right}, or auto"):
        run(tmp_path, executor, f"objectives.score={wrong}")
    assert executor.started == []
    assert len(run(tmp_path, executor, "trials=3").records) == 3


def test_a_launch_that_failed_before_the_study_began_fixes_no_objectives(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"objectives\.score is 'minimize'"):
        run(tmp_path, MadeUp(), "objectives.score=minimize", "objectives.macs=minimize")
    assert len(run(tmp_path, MadeUp(), "trials=3").records) == 3


@pytest.mark.fault("a killed process left an unfinished file")
def test_a_launch_deletes_what_killed_processes_were_writing(tmp_path: Path) -> None:
    left = tmp_path / "digits" / "trials" / "0002" / f"outcome.json.{2**22 + 1}.part"
    left.parent.mkdir(parents=True)
    left.touch()
    run(tmp_path, MadeUp(), "trials=1")
    assert not left.exists()


def test_no_trial_starts_after_the_timeout(tmp_path: Path) -> None:
    result = run(tmp_path, MadeUp(slots=1), "timeout=1e-9")
    assert len(result.records) == 0


def test_a_study_that_has_its_trials_does_nothing_more(tmp_path: Path) -> None:
    first = run(tmp_path, MadeUp())
    again = MadeUp()
    second = run(tmp_path, again)
    assert again.started == []
    assert second.records == first.records
