"""The loop of a study: ask for recipes, have them evaluated, tell what was measured."""

import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from optuna.trial import FrozenTrial

from search.config.study_config import StudyConfig
from search.errors import ConfigError, StudyError
from search.executors.base import Executor, Job, Outcome
from search.executors.local import read_outcome
from search.executors.worker import LOG, OUTCOME
from search.pareto.front import pareto_front
from search.pareto.ranking import rung_costs
from search.pareto.stagnation import stagnated
from search.proposal.genetic_operators import crossings, mutations
from search.proposal.initial_design import InitialTrial, anchors, initial_trials, is_initial
from search.proposal.proposer import Proposal, Proposer, uncompressed
from search.recipe.recipe import recipe_from_data
from search.recipe.rungs import training_hash
from search.recipe.space import Space
from search.report.describe import by_reason, last_line
from search.report.result import StudyResult
from search.study.journal import Plan, Store
from search.study.outputs import StudyOutputs
from search.study.terminal import Display
from search.tracking.base import Mirror
from search.trial_record import TrialRecord, Value
from search.utils.files import write_atomically
from search.utils.seeds import derived_seed
from search.utils.yaml_text import yaml_text

_PREPARE = -1
_REFRESH_SECONDS = 0.5
MAX_COMPARED_TRIALS = 300
"""So many of the latest trials are what a new one is compared with before it is measured."""
CYCLE = 3
"""In so many trials every variation has its turn."""
VARIATIONS = {1: crossings, 2: mutations}
"""By place in the cycle; the other places are the opening's, and then the sampler's."""
NICENESS = 10
"""Of the thread that opens the tracker: a tenth of a core that a trial wants too."""
NOTHING: Mapping[str, Any] = {
    "metrics": {},
    "verdict": "",
    "notes": "",
    "recipe": None,
    "training": "",
    "stopped": "",
    "rungs": [],
    "digest": "",
}
"""The result of a trial that gave none."""


@dataclass(kw_only=True)
class Driver:
    """One run of a study: the only process that writes its journal and its mirrors."""

    config: StudyConfig
    store: Store
    executor: Executor
    open_mirror: Callable[[], Mirror]
    """Called in a thread of its own, since it takes seconds, in which trials run already."""
    display: Display
    space: Space
    """The configuration's space, without the steps that cannot act on the task's model."""
    baseline: Mapping[str, float] = field(default_factory=dict)
    maximize: bool = True
    """Whether a higher score of the task is better."""
    open: dict[int, Plan] = field(default_factory=dict)
    """By number, the trials that were asked for and not told."""
    exhausted: bool = False
    """Whether no new recipe was found any more, or the last ones gained nothing."""
    outputs: StudyOutputs = field(init=False)
    opening: list[InitialTrial] = field(default_factory=list)
    """What is still to be tried before the sampler has its say."""
    ended: dict[int, Outcome] = field(default_factory=dict)
    """By number, how open trials ended that wait to be told."""

    def run(self) -> StudyResult:
        """Measure the baseline, run the missing trials, score the front on the test set."""
        with ThreadPoolExecutor(1, initializer=_yield_to_trials) as thread:
            mirror = thread.submit(self.open_mirror)
            self.outputs = StudyOutputs(
                config=self.config, store=self.store, mirror=mirror, display=self.display
            )
            try:
                self._measure_baseline()
                self._run_trials()
                self._score_front()
            except BaseException as error:
                self.outputs.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
                raise
            return self.outputs.close("FINISHED")

    def _measure_baseline(self) -> None:
        """Have the baseline written and measured, which also tries out the user's task."""
        known = self.store.infeasible_steps()
        tried = {} if known is not None else anchors(self.config.space)
        job = Job(
            key=_PREPARE,
            function="search.trial.evaluate:prepare_job",
            payload=self._payload()
            | {"anchors": {name: recipe.to_data() for name, recipe in tried.items()}}
            | {"begun": known is not None},
            folder=self.config.folder / "baseline",
        )
        with self.display.status("building the task and measuring the baseline"):
            self.executor.submit(job)
            outcome = self._wait()[0][1]
        if outcome.status == "config_error":
            raise ConfigError(outcome.error)
        if outcome.result is None:
            reason = f"{outcome.status}: {last_line(outcome.error)}"
            raise StudyError(f"the task cannot be built; {reason}; see {job.folder / LOG}")
        check_direction(self.config.objectives, maximize=outcome.result["maximize"])
        self.baseline = outcome.result["figures"]
        self.maximize = outcome.result["maximize"]
        if self.baseline["score"] == 0:
            raise ConfigError("the baseline scores 0, so that no drop from it can be judged")
        infeasible_steps = outcome.result["infeasible"] if known is None else known
        for name, reason in infeasible_steps.items():
            self.display.say(f"step '{name}' is left out: {reason}")
        for name, reason in outcome.result["failing"].items():
            self.display.say(f"step '{name}' fails on this model: {reason}")
        for name, layers in outcome.result["skipped_layers"].items():
            for reason, names in by_reason(layers).items():
                self.display.say(f"step '{name}' leaves {names}: {reason}")
        self.space = self.config.space.without(infeasible_steps)
        if not self.space.steps:
            raise ConfigError("no step of the recipe can act on this model")
        first = initial_trials(self.space)
        self.opening = first if self.config.warm_start else first[:1]
        self.store.begin(self.config.identity(), infeasible_steps)

    def _run_trials(self) -> None:
        """Keep the executor busy until no trial is missing.

        With an ordered executor trials are told in order of number and trial k is asked for only
        when trial k - slots is told, so that no proposal depends on which worker was faster.
        """
        began = time.monotonic()
        waiting = self.store.unfinished()
        self.outputs.update()
        with self.display.progress(total=self.config.trials, done=len(self.store.records())):
            while True:
                while len(self.open) < self.executor.slots:
                    plan = waiting.pop(0) if waiting else self._ask(time.monotonic() - began)
                    if plan is None:
                        break
                    self._start(plan)
                if not self.open:
                    return
                if not self._tell_ended():
                    self.ended |= {job.key: outcome for job, outcome in self._wait()}

    def _wait(self) -> list[tuple[Job, Outcome]]:
        """Wait until at least one job ends."""
        while not (ended := self.executor.wait(_REFRESH_SECONDS)):
            self.display.refresh()
            self.outputs.pass_on()
        return ended

    def _ask(self, seconds: float) -> Plan | None:
        """Ask for the next trial and write it down; None if no further one shall start."""
        trials = self.store.trials()
        number = len(trials)
        limit = self.config.timeout
        if number >= self.config.trials or (limit is not None and seconds > limit):
            return None
        if self.exhausted or self._stagnates():
            return None
        origin, proposal = self._proposal(number, trials, self.store.hashes)
        if proposal is None:
            self.exhausted = True
            self.display.say(f"{number} trials: no recipe that was not tried turned up any more")
            return None
        plan = Plan(
            number=number,
            origin=origin,
            seed=proposal.recipe.seed,
            params=proposal.params,
            recipe=proposal.recipe.to_data(),
            recipe_hash=proposal.recipe.hash,
        )
        self.store.add(plan, proposal.distributions, proposal.system_attrs)
        return plan

    def _stagnates(self) -> bool:
        """Tell, and say, whether the last trials added too little to go on."""
        last = self.config.stagnation
        if last is None or not stagnated(self.outputs.archive.history, last):
            return False
        self.exhausted = True
        self.display.say(f"the last {last} trials added less than 1 % to the hypervolume: enough")
        return True

    def _proposal(
        self, number: int, trials: list[FrozenTrial], seen: Collection[str]
    ) -> tuple[str, Proposal | None]:
        """Return why a recipe is tried and the recipe: the first source that has a new one."""
        proposer = Proposer(
            space=self.space,
            objectives=self.config.objectives,
            sampler=self.config.sampler,
            seed=self.config.seed,
            rungs=self.config.rungs,
            front=[member.number for member in self.outputs.archive.front],
        )
        variation = VARIATIONS.get(number % CYCLE) if self.config.mutate_front else None
        if variation is not None and not (self.opening and self.opening[0].before_variation):
            seed = derived_seed(self.config.seed, number, 2)
            near = variation(self.space, self.outputs.archive.front, seed)
            if (proposal := self._first_new(near, proposer, number, trials, seen)) is not None:
                return "variation", proposal
        while self.opening:
            first = self.opening.pop(0)
            if first.origin != "baseline" and proposer.hash(first.params) in seen:
                continue
            proposal = proposer.fixed(number, trials, first.params)
            if first.origin == "baseline":
                # Whatever the configuration fixes, trial 0 is the uncompressed model.
                proposal = uncompressed(proposal, first.params)
            if proposal.recipe.hash not in seen:
                return first.origin, proposal
        return "sampled", proposer.propose(number, trials, seen)

    def _first_new(
        self,
        recipes: Iterable[Mapping[str, Value]],
        proposer: Proposer,
        number: int,
        trials: list[FrozenTrial],
        seen: Collection[str],
    ) -> Proposal | None:
        """Return the first recipe that is not known, of several given by their parameters."""
        for params in recipes:
            proposal = proposer.fixed(number, trials, params)
            if proposal.recipe.hash not in seen:
                return proposal
        return None

    def _start(self, plan: Plan) -> None:
        """Start a trial, unless its worker outlived an earlier driver and left its outcome."""
        self.open[plan.number] = plan
        with write_atomically(self.config.trial_folder(plan.number) / "recipe.yaml") as file:
            file.write(yaml_text(plan.recipe).encode())
        job = Job(
            key=plan.number,
            function="search.trial.evaluate:trial_job",
            payload=self._payload()
            | {"recipe": plan.recipe, "folder": str(self.config.trial_folder(plan.number))}
            | {
                "prefixes": str(self.config.folder / "prefixes")
                if self.config.cache_prefixes
                else None
            }
            | {"screen": self._screen(plan)},
            folder=self.config.trial_folder(plan.number),
        )
        if (job.folder / OUTCOME).exists():
            self.ended[plan.number] = read_outcome(job)
        else:
            self.executor.submit(job)

    def _screen(self, plan: Plan) -> dict[str, Any]:
        """Return what earlier trials have shown, for the screening of the next, as plain data.

        The first trials are measured whatever they are worth, but no model twice.
        """
        always = is_initial(plan.origin)
        known = training_hash(recipe_from_data(plan.recipe))
        latest = self.store.records()[-MAX_COMPARED_TRIALS:]
        shares = self.config.rungs.shares[:-1]
        costs: list[list[list[float]]] = [[] for _ in shares]
        for record in latest:
            for figures in record.rungs:
                if figures["share"] in shares:
                    rung = costs[shares.index(figures["share"])]
                    rung.append(rung_costs(figures, list(self.config.objectives)))
        compared = {*self.config.objectives, "macs", "integer_operators"}
        return {
            "rungs": asdict(replace(self.config.rungs, count=1) if always else self.config.rungs),
            "objectives": dict(self.config.objectives),
            "constraints": {
                c.metric: str(c).removeprefix(c.metric) for c in self.config.constraints
            },
            "baseline": dict(self.baseline),
            "maximize": self.maximize,
            "refuse_early": self.config.refuse_early and not always,
            "paid": bool(known) and known in {record.training for record in latest},
            "peers": costs,
            "front": [
                {name: member.metrics[name] for name in compared} | {"trial": member.number}
                for member in self.outputs.archive.front
            ],
            "seen": {r.digest: r.number for r in latest if r.digest}
            if self.config.refuse_early
            else {},
        }

    def _tell_ended(self) -> bool:
        """Tell what ended; if the executor is ordered, one trial at a time and none too early.

        Returns whether anything could be told.
        """
        ready = [number for number in sorted(self.open) if number in self.ended]
        if self.executor.ordered:
            ready = [number for number in ready[:1] if number == min(self.open)]
        for number in ready:
            plan = self.open.pop(number)
            record = self._record(plan, self.ended.pop(number))
            self.store.tell(record)
            self.display.trial(record, self.baseline)
            if plan.origin == "baseline" and record.status != "ok":
                raise StudyError(f"the baseline's own trial failed: {last_line(record.error)}")
        if ready:
            self.outputs.update()
        return bool(ready)

    def _record(self, plan: Plan, outcome: Outcome) -> TrialRecord:
        """Join what was asked for and what came of it."""
        result: Mapping[str, Any] = outcome.result or NOTHING
        recipe = result["recipe"] or plan.recipe
        seconds = {"seconds": outcome.finished - outcome.started} if result["metrics"] else {}
        metrics = {**result["metrics"], **seconds}
        violations = {str(c): c.violation(metrics) for c in self.config.constraints if metrics}
        return TrialRecord(
            number=plan.number,
            status="stopped" if result["stopped"] else outcome.status,
            origin=plan.origin,
            seed=plan.seed,
            params=plan.params,
            recipe=recipe,
            recipe_hash=recipe_from_data(recipe).hash,
            metrics=metrics,
            verdict=result["verdict"],
            notes=result["notes"],
            violations=violations,
            rungs=result["rungs"],
            training=result["training"],
            digest=result["digest"],
            error=result["stopped"] or outcome.error,
            started=outcome.started,
            finished=outcome.finished,
        )

    def _score_front(self) -> None:
        """Score the members of the final front and the baseline on the test set, each once."""
        records = self.store.records()
        members = {0, *(r.number for r in pareto_front(records, self.config.objectives))}
        missing = [
            r.number for r in records if r.number in members and "test_score" not in r.metrics
        ]
        total = len(missing)
        under_way: set[int] = set()
        with self.display.status(f"scoring {total} members of the front on the test set"):
            while missing or under_way:
                while missing and len(under_way) < self.executor.slots:
                    number = missing.pop(0)
                    under_way.add(number)
                    self.executor.submit(self._test_job(number))
                for job, outcome in self._wait():
                    under_way.remove(job.key)
                    if outcome.result is None:
                        raise StudyError(f"trial {job.key} has no test score: {outcome.error}")
                    figures = {f"test_{name}": value for name, value in outcome.result.items()}
                    self.store.keep_test(job.key, figures)

    def _test_job(self, number: int) -> Job:
        folder = self.config.trial_folder(number)
        artefact = (self.config.folder / "baseline" if number == 0 else folder) / "model.onnx"
        payload = self._payload() | {"artefact": str(artefact), "split": "test"}
        return Job(
            key=number,
            function="search.trial.evaluate:score_job",
            payload=payload,
            folder=folder / "test",
        )

    def _payload(self) -> dict[str, Any]:
        """Return what every job needs: the task, the baseline's folder, how to measure."""
        return {
            "task": self.config.task,
            "baseline": str(self.config.folder / "baseline"),
            "latency": asdict(self.config.latency),
            "torch_threads": self.executor.threads,
        }


def _yield_to_trials() -> None:
    """Leave the cores to others, as far as they want them; only Linux does so for one thread."""
    if sys.platform == "linux":
        os.nice(NICENESS)


def check_direction(objectives: Mapping[str, str], *, maximize: bool) -> None:
    """Check that the study drives the score the way the task calls better.

    Raises:
        ConfigError: it does not.
    """
    wanted = "maximize" if maximize else "minimize"
    if objectives.get("score", wanted) != wanted:
        raise ConfigError(
            f"objectives.score is '{objectives['score']}', but the task's score is better when "
            f"{'higher' if maximize else 'lower'}; set objectives.score={wanted}"
        )
