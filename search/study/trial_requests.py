"""From a planned trial to its request, and from its outcome to its record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from search.config.study_config import StudyConfig
from search.executors.outcome import Outcome
from search.pareto.ranking import rung_costs
from search.proposal.initial_design import is_initial
from search.recipe.recipe import recipe_from_data
from search.recipe.rungs import training_hash
from search.report.describe import last_line
from search.study.baseline_intake import PreparedStudy
from search.study.plan import TrialPlan
from search.trial.messages import JobSetting, TrialReply, TrialRequest
from search.trial.screen import FrontMember, Screen
from search.trial_record import TrialRecord

MAX_COMPARED_TRIALS = 300
"""The latest trials, with which a new one is compared before it is measured."""
NOTHING_MEASURED = TrialReply(metrics={})
"""The reply of a trial that ended without one."""


@dataclass(frozen=True, kw_only=True)
class TrialRequests:
    """Makes the requests of a study's trials."""

    config: StudyConfig
    prepared: PreparedStudy
    setting: JobSetting

    def request(
        self, plan: TrialPlan, records: Sequence[TrialRecord], front: Sequence[TrialRecord]
    ) -> TrialRequest:
        """Return the request of a planned trial.

        Args:
            plan: The trial.
            records: The finished trials in order of number.
            front: The front so far.
        """
        folder = self.config.folder / "prefixes"
        return TrialRequest(
            setting=self.setting,
            recipe=recipe_from_data(plan.recipe),
            folder=self.config.trial_folder(plan.number),
            prefix_folder=folder if self.config.cache_prefixes else None,
            screen=self._screen(plan, records[-MAX_COMPARED_TRIALS:], front),
        )

    def _screen(
        self, plan: TrialPlan, latest: Sequence[TrialRecord], front: Sequence[TrialRecord]
    ) -> Screen:
        """Return what the latest trials have shown.

        The initial trials are always measured, but no model is measured twice.
        """
        always = is_initial(plan.origin)
        rungs = self.config.rungs
        known = training_hash(recipe_from_data(plan.recipe))
        seen = {r.digest: r.number for r in latest if r.digest}
        return Screen(
            rungs=replace(rungs, count=1) if always else rungs,
            objectives=self.config.objectives,
            constraints=self.config.constraints,
            baseline=self.prepared.baseline,
            maximize=self.prepared.maximize,
            refuse_early=self.config.refuse_early and not always,
            paid=bool(known) and known in {record.training for record in latest},
            peers=self._peers(latest, rungs.shares[:-1]),
            front=[self._member(record) for record in front],
            seen=seen if self.config.refuse_early else {},
        )

    def _peers(
        self, latest: Sequence[TrialRecord], shares: Sequence[float]
    ) -> list[list[list[float]]]:
        """Return by rung the costs of the trials that reached it."""
        peers: list[list[list[float]]] = [[] for _ in shares]
        for record in latest:
            for estimate in record.rungs:
                if estimate.share in shares:
                    costs = rung_costs(estimate, list(self.config.objectives))
                    peers[shares.index(estimate.share)].append(costs)
        return peers

    def _member(self, record: TrialRecord) -> FrontMember:
        compared = {*self.config.objectives, "macs", "integer_operators"}
        metrics = {name: record.metrics[name] for name in compared}
        return FrontMember(number=record.number, metrics=metrics)


def record_of(plan: TrialPlan, outcome: Outcome, config: StudyConfig) -> TrialRecord:
    """Return the record that joins what was asked for and what came of it."""
    reply = TrialReply.from_data(outcome.result) if outcome.result else NOTHING_MEASURED
    recipe = reply.recipe.to_data() if reply.recipe else plan.recipe
    metrics = _with_seconds(reply.metrics, outcome)
    return TrialRecord(
        number=plan.number,
        status="stopped" if reply.stopped else outcome.status,
        origin=plan.origin,
        seed=plan.seed,
        params=plan.params,
        recipe=recipe,
        recipe_hash=recipe_from_data(recipe).hash,
        metrics=metrics,
        verdict=reply.verdict,
        notes=reply.notes,
        violations={str(c): c.violation(metrics) for c in config.constraints if metrics},
        rungs=reply.rungs,
        training=reply.training,
        digest=reply.digest,
        error=reply.stopped or _error(outcome),
        started=outcome.started,
        finished=outcome.finished,
    )


def _error(outcome: Outcome) -> str:
    """Return the traceback or the reason, which ends with the error in one line."""
    if not outcome.cause or last_line(outcome.error) == outcome.cause:
        return outcome.error
    return f"{outcome.error.rstrip()}\n{outcome.cause}"


def _with_seconds(metrics: Mapping[str, float], outcome: Outcome) -> dict[str, float]:
    seconds = {"seconds": outcome.finished - outcome.started} if metrics else {}
    return {**metrics, **seconds}
