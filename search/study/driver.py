"""The loop of a study: ask for recipes, have them evaluated, write down what was measured."""

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from search.config.study_config import StudyConfig
from search.errors import StudyError
from search.executors.base import Executor
from search.executors.outcome import Outcome
from search.pareto.stagnation import stagnated
from search.proposal.acting_steps import longest_recovery
from search.proposal.plan import plan_time
from search.proposal.schedule import BASELINE, Known, Schedule
from search.report.describe import last_line
from search.report.result import StudyResult
from search.report.standing import standing
from search.study.baseline_intake import PreparedStudy, take_in_baseline
from search.study.common_failure import CommonFailure
from search.study.dispatcher import Dispatcher
from search.study.front_scoring import score_front
from search.study.journal import Journal
from search.study.outputs import StudyOutputs
from search.study.plan import TrialPlan
from search.study.progress.expected_end import seconds_to_end
from search.study.progress.plan_line import plan_line
from search.study.terminal import Display
from search.study.tracker_feed import TrackerFeed
from search.study.trial_requests import TrialRequests, record_of
from search.tracking.base import Mirror
from search.trial.messages import JobSetting
from search.trial_record import TrialRecord
from search.utils.files import write_atomically
from search.utils.yaml_text import yaml_text

SHOWN_EVERY = 10
"""Finished trials after which the best ones are shown again."""
TRACKER_NICENESS = 10
"""Unix niceness of the tracker thread, which leaves it a tenth of a core that a trial wants too."""


def run_trials(
    config: StudyConfig,
    journal: Journal,
    executor: Executor,
    display: Display,
    open_mirror: Callable[[StudyConfig], Mirror],
    deadline: float = float("inf"),
) -> StudyResult:
    """Measure the baseline, run the missing trials, score the front on the test set.

    Args:
        config: The study's configuration.
        journal: The study's journal, which this process alone writes.
        executor: Runs the jobs.
        display: The terminal.
        open_mirror: Opens the tracker for the study as it is once its baseline is measured. It
            takes seconds, in which trials already run, and so is called in a thread of its own.
        deadline: On the monotonic clock in seconds, when no trial shall run any more.

    Raises:
        ConfigError: the configuration does not suit the task.
        StudyError: the task itself fails.
    """
    dispatcher = Dispatcher(
        executor=executor, display=display, root=config.folder, retries=config.retries
    )
    setting = _setting(config, executor)
    prepared = take_in_baseline(config, journal, dispatcher, setting)
    config = prepared.config
    with ThreadPoolExecutor(1, initializer=_yield_to_trials) as thread:
        feed = TrackerFeed(
            journal=journal,
            thread=thread,
            open_mirror=partial(open_mirror, config),
            display=display,
            remedy=f"; paredown sync study={config.study} runs_dir={config.runs_dir} completes it",
        )
        feed.open()
        outputs = StudyOutputs(config=config, journal=journal, feed=feed, display=display)
        try:
            schedule = _schedule(config, prepared, deadline - time.monotonic(), executor.slots)
            if schedule.plan.finishes:
                display.say(plan_line(schedule.plan, prepared, deadline))
            Driver(
                config=config,
                journal=journal,
                dispatcher=dispatcher,
                outputs=outputs,
                requests=TrialRequests(config=config, prepared=prepared, setting=setting),
                schedule=schedule,
                deadline=deadline,
            ).run()
            score_front(config, journal, dispatcher, setting, outputs.write_to_tracker)
        except KeyboardInterrupt:
            display.say("stopping: what was measured is kept, trials under way run again")
            best = standing(config, outputs.close("KILLED").front)
            if best:
                display.say(best)
            raise
        except BaseException:
            outputs.close("FAILED")
            raise
        return outputs.close("FINISHED")


@dataclass(kw_only=True)
class Driver:
    """Keeps the executor busy until the study has the trials that it shall have."""

    config: StudyConfig
    journal: Journal
    dispatcher: Dispatcher
    outputs: StudyOutputs
    requests: TrialRequests
    schedule: Schedule
    deadline: float
    """On the monotonic clock in seconds, when no trial shall run any more; infinite for none."""
    _open: dict[int, TrialPlan] = field(default_factory=dict)
    """By number, the trials that were asked for and have no record."""
    _ended: dict[int, Outcome] = field(default_factory=dict)
    """By number, the outcomes of open trials that are to be written down."""
    _exhausted: bool = False
    """Whether no new recipe was found any more, or the last ones gained nothing."""
    _failures: CommonFailure = field(default_factory=CommonFailure)

    def run(self) -> None:
        """Run the missing trials.

        With an ordered executor records are written in order of number and trial k is asked for
        only when trial k - slots has its record, so that no proposal depends on which worker was
        faster.
        """
        waiting = self.journal.unfinished()
        self.outputs.update()
        done = len(self.journal.records())
        with self.dispatcher.display.progress(total=self.config.trials, done=done):
            while True:
                while len(self._open) < self.dispatcher.executor.slots:
                    plan = waiting.pop(0) if waiting else self._ask()
                    if plan is None:
                        break
                    self._start(plan)
                if not self._open:
                    return
                if not self._write_records():
                    self._ended |= dict(self.dispatcher.wait(self.outputs.write_to_tracker))

    def _ask(self) -> TrialPlan | None:
        """Plan the next trial and write it down; None if no further one shall start."""
        trials = self.journal.trials()
        number = len(trials)
        if number >= self.config.trials or self._exhausted or self._stagnates():
            return None
        known = Known(
            trials=trials,
            hashes=self.journal.hashes,
            front=self.outputs.archive.front,
            records=self.journal.records(),
            open_origins=[plan.origin for plan in self._open.values()],
            seconds_left=self.deadline - time.monotonic(),
        )
        found = self.schedule.next(known)
        if found is None:
            self._exhausted = True
            what = f"{number} trials: no recipe that was not tried turned up any more"
            self.dispatcher.display.say(what)
            return None
        origin, proposal = found
        if self.schedule.outlasts(proposal.recipe, known):
            self._exhausted = True
            what = (
                f"{number} of {self.config.trials} trials: the time is up, no other would end in it"
            )
            self.dispatcher.display.say(what)
            return None
        plan = TrialPlan(
            number=number,
            origin=origin,
            seed=proposal.recipe.seed,
            params=proposal.params,
            recipe=proposal.recipe.to_data(),
            recipe_hash=proposal.recipe.hash,
        )
        self.journal.add(plan, proposal.distributions, proposal.system_attrs)
        return plan

    def _stagnates(self) -> bool:
        """Return, and say, whether the last trials added too little to go on."""
        last = self.config.stagnation
        if last is None or not stagnated(self.outputs.archive.history, last):
            return False
        self._exhausted = True
        what = f"the last {last} trials added less than 1 % to the hypervolume: enough"
        self.dispatcher.display.say(what)
        return True

    def _start(self, plan: TrialPlan) -> None:
        """Start a trial, unless its worker outlived an earlier driver and left its outcome."""
        self._open[plan.number] = plan
        folder = self.config.trial_folder(plan.number)
        with write_atomically(folder / "recipe.yaml") as file:
            file.write(yaml_text(plan.recipe).encode())
        front = self.outputs.archive.front
        request = self.requests.request(plan, self.journal.records(), front)
        left = self.dispatcher.start(plan.number, request, folder, plan.recipe_hash)
        if left is not None:
            self._ended[plan.number] = left

    def _write_records(self) -> bool:
        """Write down what ended; return whether anything did.

        With an ordered executor this is one trial at a time, and none before those with lower
        numbers.
        """
        ready = [number for number in sorted(self._open) if number in self._ended]
        if self.dispatcher.executor.ordered:
            ready = [number for number in ready[:1] if number == min(self._open)]
        for number in ready:
            plan, outcome = self._open.pop(number), self._ended.pop(number)
            _check_that_it_counts(plan, outcome)
            record = record_of(plan, outcome, self.config)
            self.journal.tell(record)
            self._show(record)
            self._failures.add(record)
        if ready:
            self.outputs.update()
            self._show_standing(len(ready))
        return bool(ready)

    def _show_standing(self, new: int) -> None:
        """Show the best trials so far whenever another ten trials are finished."""
        count = len(self.journal.records())
        best = standing(self.config, self.outputs.archive.front)
        if count // SHOWN_EVERY > (count - new) // SHOWN_EVERY and best:
            self.dispatcher.display.say(best)

    def _show(self, record: TrialRecord) -> None:
        """Show a finished trial, and when the study is expected to end."""
        seconds = seconds_to_end(
            self.journal.records(),
            self.config.trials,
            self.dispatcher.executor.slots,
            self.deadline - time.monotonic(),
        )
        self.dispatcher.display.trial(record, self.requests.prepared.baseline, seconds)


def _check_that_it_counts(plan: TrialPlan, outcome: Outcome) -> None:
    """Check that a trial ended for a reason of its own; any other is run again by a later launch.

    Raises:
        StudyError: It did not.
    """
    reason = outcome.cause or last_line(outcome.error)
    if outcome.status == "environment":
        raise StudyError(
            f"trial {plan.number}: {reason}; mend that, then the same command goes on with it"
        )
    if plan.origin == BASELINE and outcome.status != "ok":
        raise StudyError(
            f"the baseline's own trial failed: {outcome.status}: {reason}; mend that, then the "
            "same command tries it again"
        )


def _schedule(config: StudyConfig, prepared: PreparedStudy, seconds: float, slots: int) -> Schedule:
    """Return the schedule of a study that has some seconds for its trials."""
    undivided = config.rungs.count == 1  # else the user divides recoveries
    costs = prepared.costs if undivided else None
    return Schedule(
        config=config,
        space=prepared.space,
        damage=prepared.damage,
        baseline=prepared.baseline,
        plan=plan_time(costs, longest_recovery(prepared.space), seconds, slots),
        costs=prepared.costs,
    )


def _setting(config: StudyConfig, executor: Executor) -> JobSetting:
    return JobSetting(
        task=config.task,
        baseline=config.folder / "baseline",
        latency=config.latency,
        threads=executor.threads,
    )


def _yield_to_trials() -> None:
    """Leave the cores to trials that want them; only Linux does so for one thread."""
    if sys.platform == "linux":
        os.nice(TRACKER_NICENESS)
