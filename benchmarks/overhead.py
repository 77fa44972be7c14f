"""CPU time of the driver per trial beside a bare Optuna loop, at a given length of history.

The driver is the real one, with its journal, MLflow on SQLite, front and tables; only the trials
are made up and end at once. The bare loop asks, draws from the same space and tells, in memory,
with the same sampler and the same history. The history is drawn at random and written at once, not
grown: into the journal trial by trial, into MLflow as the first hundred runs and copies of them.
"""

import argparse
import json
import random
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any, cast

import optuna
from optuna.trial import FrozenTrial, create_trial
from rich.console import Console
from rich.table import Table

from benchmarks.json_line import print_json_line
from search.config.compose import compose_search
from search.config.study_config import StudyConfig
from search.executors.base import Job
from search.executors.outcome import Outcome
from search.proposal.samplers import build_sampler
from search.recipe.recipe import Recipe
from search.recipe.rungs import Rungs
from search.report.result import study_result
from search.study.journal_file import open_journal
from search.study.plan import TrialPlan
from search.study.run import open_mirror, run_study
from search.study.terminal import Display
from search.trial.messages import PrepareReply, ScoreRequest, TrialReply, TrialRequest
from search.trial_record import ModelEstimate, TrialRecord, Value

SAMPLED = ("warm_start=false", "mutate_front=false")
"""Overrides with which the sampler proposes each of the measured trials."""
MEASURED = 30
"""Number of trials that the means are taken over."""
WARM_UP = 3
SYNCED = 100
"""Number of trials of the history written to MLflow; its other runs are copies of these."""
METRICS = {"score": 0.97, "score_standard_error": 0.008, "nll": 0.11, "size_bytes": 4e5}
BASELINE = METRICS | {"run_bytes": 5e5, "macs": 1e7, "parameters": 1e5, "nonzeros": 1e5}
STEPS = ("remove", "prune", "factorise", "sparsify", "distil", "share", "quantize", "tune")


@dataclass(kw_only=True)
class Instant:
    """An executor whose jobs end at once with made-up metrics.

    Between two trials of the driver it runs one of the bare loop, so that other load of the machine
    slows both alike.
    """

    bare: "BareLoop"
    threads: int = 1
    ordered: bool = True
    slots: int = 1
    waiting: list[Job] = field(default_factory=list)
    began: float = 0.0
    """CPU seconds of the process when the driver last resumed."""
    driver: list[float] = field(default_factory=list)
    """CPU seconds of the driver until each trial was submitted."""
    loop: list[float] = field(default_factory=list)
    """CPU seconds of each trial of the bare loop."""

    def prepare(self) -> None:
        """Do nothing."""

    def submit(self, job: Job) -> None:
        """Take a job."""
        self.waiting.append(job)
        if job.function == TrialRequest.job:
            self.driver.append(time.process_time() - self.began)
            self.loop.append(self.bare.trial())
            self.began = time.process_time()

    def wait(self, seconds: float) -> list[tuple[Job, Outcome]]:
        """Return the outcomes of all waiting jobs."""
        now = time.time()
        ended = [
            (job, Outcome(status="ok", result=result_of(job), started=now - 1, finished=now))
            for job in self.waiting
        ]
        self.waiting.clear()
        return ended

    def close(self) -> None:
        """Do nothing."""


def result_of(job: Job) -> Mapping[str, Any]:
    """Return the made-up reply of a job as plain data."""
    if job.function == TrialRequest.job:
        return reply(made_up(job.payload["recipe"]["steps"])).to_data()
    if job.function == ScoreRequest.job:
        return {name: METRICS[name] for name in ("score", "score_standard_error", "nll")}
    return PrepareReply(
        metrics=BASELINE,
        maximize=True,
        infeasible={},
        failing={},
        skipped_layers={},
        outputs="logits [B, 10], classes on axis 1",
    ).to_data()


def made_up(steps: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return plausible metrics: compression makes the file smaller, faster and worse."""
    noise = random.Random(json.dumps(steps))
    ratios = {name: float(values.get("ratio", 0.0)) for name, values in steps.items()}
    strain = sum(ratio**3 for ratio in ratios.values()) + 0.2 * ("share" in steps)
    bits = steps.get("quantize", {}).get("bits", 6 if "share" in steps else 32)
    kept = (1 - ratios.get("prune", 0.0)) * (1 - 0.5 * ratios.get("sparsify", 0.0)) * bits / 32
    score = METRICS["score"] * (1 - 0.06 * strain * noise.uniform(0.5, 1.5)) if steps else 0.97
    drop = METRICS["score"] - score
    removed = {f"achieved/{name}/parameters_removed": ratios.get(name, 0.0) for name in STEPS}
    return {
        "score": score,
        "score_standard_error": 0.008,
        "nll": 0.1 + 2 * drop,
        "score_drop": drop,
        "relative_drop": drop / METRICS["score"],
        "size_bytes": METRICS["size_bytes"] * kept * noise.uniform(0.8, 1.0),
        "run_bytes": BASELINE["run_bytes"] * kept,
        "size_ratio": kept,
        "latency_ms": 0.2 * kept,
        "latency_ratio": noise.uniform(0.5, 1.0) * (1 - 0.5 * ratios.get("prune", 0.0)),
        "latency_spread": 0.02,
        "fidelity_db": 90.0,
        "integer_operators": float("quantize" in steps),
        "macs": BASELINE["macs"] * kept,
        "parameters": BASELINE["parameters"] * kept,
        "nonzeros": BASELINE["nonzeros"] * kept,
        **removed,
    }


def reply(metrics: Mapping[str, float]) -> TrialReply:
    """Return the reply of a trial with these metrics, with estimates at all rungs."""
    estimate = ModelEstimate(
        share=0.0,
        model="",
        estimated_bytes=metrics["size_bytes"],
        macs=metrics["macs"],
        parameters=int(metrics["parameters"]),
        nonzeros=int(metrics["nonzeros"]),
        integers=False,
        score=metrics["score"],
        score_standard_error=metrics["score_standard_error"],
        nll=metrics["nll"],
    )
    shares = Rungs(count=4, factor=3).shares[:-1]
    return TrialReply(
        metrics=metrics,
        verdict="size gain",
        rungs=[replace(estimate, share=share) for share in shares],
        digest=str(metrics["size_bytes"]),
    )


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="stop at 1,000 trials")
    parser.add_argument("--out", type=Path, help="write the JSON line to a file too")
    options = parser.parse_args(None if arguments is None else list(arguments))
    rows = {
        count: measure(count) for count in ((100, 1000) if options.quick else (100, 1000, 10000))
    }
    Console(width=110).print(as_table(rows))
    print_json_line(
        {
            "ms_per_trial": {str(count): round(row["driver"], 1) for count, row in rows.items()},
            "optuna_ms": {str(count): round(row["optuna"], 1) for count, row in rows.items()},
        },
        options.out,
    )


def measure(count: int) -> dict[str, float]:
    """Return CPU ms of a trial after `count` others, and CPU seconds of resuming and of ending."""
    with TemporaryDirectory() as folder:
        given = [f"runs_dir={folder}", f"trials={count + WARM_UP + MEASURED}", "tracking=mlflow"]
        config = compose_search(["task=digits", "objectives=score_size_latency", *SAMPLED, *given])
        trials = random_history(config, count)
        fill(config, trials)
        executor = Instant(bare=BareLoop.over(config, trials), began=time.process_time())
        run_study(config, executor, Display(console=Console(quiet=True)))
        closing = time.process_time() - executor.began
    return {
        "driver": 1e3 * mean(executor.driver[WARM_UP:]),
        "optuna": 1e3 * mean(executor.loop[WARM_UP:]),
        "resuming": executor.driver[0],
        "closing": closing,
    }


def random_history(config: StudyConfig, count: int) -> list[FrozenTrial]:
    """Return finished trials of recipes drawn at random, the first of them the baseline."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    source = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=count))
    trials = [finished(config, 0, {}, {})]
    while len(trials) < count:
        drawn = source.ask()
        params = config.space.sample(drawn)
        trials.append(finished(config, len(trials), params, drawn.distributions))
    return trials


def finished(
    config: StudyConfig, number: int, params: Mapping[str, Value], distributions: Mapping[str, Any]
) -> FrozenTrial:
    """Return a finished trial as the journal holds it."""
    recipe = config.space.recipe(params, 0) if number else Recipe(steps=(), seed=0)
    data = recipe.to_data()
    plan = TrialPlan(
        number=number,
        origin="sampled" if number else "baseline",
        seed=recipe.seed,
        params=params,
        recipe=data,
        recipe_hash=recipe.hash,
    )
    metrics = made_up(data["steps"])
    violations = {str(bound): bound.violation(metrics) for bound in config.constraints}
    now, replied = time.time(), reply(metrics)
    record = TrialRecord(
        **asdict(plan),
        status="ok",
        metrics=metrics,
        verdict="size gain",
        violations=violations,
        rungs=replied.rungs,
        digest=replied.digest,
        started=now,
        finished=now + 1,
    )
    return create_trial(
        params=dict(params),
        distributions=dict(distributions),
        values=[metrics[name] for name in config.objectives],
        user_attrs={"plan": plan.to_data(), "record": record.to_data()},
        constraints=violations,
    )


def fill(config: StudyConfig, trials: Sequence[FrozenTrial]) -> None:
    """Write the history to the places where a driver that resumes reads it."""
    identity = config.identity()
    with open_journal(config.folder, objectives=config.objectives, identity=identity) as store:
        store.begin(identity, {})
        store.study.add_trials(trials)
    records = [TrialRecord.from_data(trial.user_attrs["record"]) for trial in trials[:SYNCED]]
    result = study_result(config, records)
    mirror = open_mirror(config)
    mirror.write_trials(records)
    mirror.write_front(result.front_numbers, result.history)
    copy_runs(config.runs_dir / "mlflow.db", len(trials))


def copy_runs(database: Path, count: int) -> None:
    """Copy the runs of the first trials in MLflow's tables until there is one for each trial."""
    with closing(sqlite3.connect(database)) as connection, connection:
        children = (
            "run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'paredown.trial' "
            f"AND CAST(value AS INTEGER) < {SYNCED})"
        )
        for copy in range(1, count // SYNCED):
            for table in ("runs", "metrics", "latest_metrics", "params", "tags"):
                names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
                number = f"CAST(CAST(value AS INTEGER) + {copy * SYNCED} AS TEXT)"
                renamed = {
                    "run_uuid": f"'{copy:04x}' || substr(run_uuid, 5)",
                    "value": f"CASE key WHEN 'paredown.trial' THEN {number} "
                    "WHEN 'paredown.front' THEN 'false' ELSE value END",
                }
                if table != "tags":
                    del renamed["value"]
                columns = ", ".join(renamed.get(name, name) for name in names)
                connection.execute(
                    f"INSERT INTO {table} SELECT {columns} FROM {table} WHERE {children}"
                )


@dataclass(frozen=True, kw_only=True)
class BareLoop:
    """A loop that only asks, draws and tells."""

    config: StudyConfig
    study: optuna.Study

    @classmethod
    def over(cls, config: StudyConfig, trials: Sequence[FrozenTrial]) -> "BareLoop":
        """Return the loop with a history of trials."""
        directions = cast(Any, list(config.objectives.values()))
        sampler = build_sampler(config.sampler, config.seed)
        study = optuna.create_study(directions=directions, sampler=sampler)
        study.add_trials(trials)
        return cls(config=config, study=study)

    def trial(self) -> float:
        """Run a trial; return its CPU seconds without those of making up metrics."""
        start = time.process_time()
        trial = self.study.ask()
        params = self.config.space.sample(trial)
        asked = time.process_time() - start
        metrics = made_up(self.config.space.recipe(params, 0).to_data()["steps"])
        violations = {str(c): c.violation(metrics) for c in self.config.constraints}
        start = time.process_time()
        for name, violation in violations.items():
            trial.set_constraint(name, violation)
        self.study.tell(trial, [metrics[name] for name in self.config.objectives])
        return asked + time.process_time() - start


def as_table(rows: Mapping[int, Mapping[str, float]]) -> Table:
    table = Table(
        "trials before",
        "driver, ms",
        "bare Optuna, ms",
        "difference, ms",
        "resuming, s",
        "ending, s",
        title=f"CPU time of a trial, mean of {MEASURED}; of resuming and of ending a study",
        title_justify="left",
    )
    for count, row in rows.items():
        table.add_row(
            f"{count:,}",
            f"{row['driver']:.1f}",
            f"{row['optuna']:.1f}",
            f"{row['driver'] - row['optuna']:+.1f}",
            f"{row['resuming']:.1f}",
            f"{row['closing']:.1f}",
        )
    return table


if __name__ == "__main__":
    main()
