"""The study on disk: Optuna's journal as plans of trials and records of finished ones."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.proposal.costs import Costs
from search.proposal.strength.damage import DamageCurve
from search.study.plan import TrialPlan
from search.trial_record import KNOWN_MODEL, TrialRecord

_TEST = "test:"
_PLAN, _RECORD, _DAMAGE, _COSTS = "plan", "record", "damage", "costs"
_INFEASIBLE, _FORMER_INFEASIBLE = "infeasible_steps", "left_out"
IDENTITY = "identity"
"""Under what the study keeps what makes its trials comparable."""


@dataclass(kw_only=True)
class Journal:
    """The open journal of one study; what was read of it once is kept in memory."""

    study: optuna.Study
    objectives: Mapping[str, str]
    remake: Callable[[Mapping[str, str]], optuna.Study] | None = None
    """Makes the study anew, empty, with other objectives; None for a journal that is only read."""
    changes: list[TrialRecord] = field(init=False, default_factory=list)
    """Every record as it was written or gained test metrics, in that order; grows at its end."""
    hashes: set[str] = field(init=False, default_factory=set)
    """Hashes of the recipes that were asked for."""
    _records: dict[int, TrialRecord] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        attributes = self.study.user_attrs
        for trial in self.trials():
            self.hashes.add(_plan(trial).recipe_hash)
            if trial.state.is_finished():
                metrics = attributes.get(f"{_TEST}{trial.number}", {})
                self._keep(_with_metrics(_record(trial), metrics))

    def trials(self) -> list[FrozenTrial]:
        """Return all trials as Optuna knows them, in order of number; not to be changed."""
        return self.study.get_trials(deepcopy=False)

    def unfinished(self) -> list[TrialPlan]:
        """Return the trials that were asked for and have no record, in order of number."""
        return [_plan(trial) for trial in self.trials() if trial.state is TrialState.RUNNING]

    def records(self) -> list[TrialRecord]:
        """Return the finished trials in order of number, with test metrics where measured."""
        return [self._records[number] for number in sorted(self._records)]

    def add(
        self,
        plan: TrialPlan,
        distributions: Mapping[str, BaseDistribution],
        system_attrs: Mapping[str, Any],
    ) -> None:
        """Write down a trial before it starts.

        Args:
            plan: What is to be run.
            distributions: By parameter of the plan, the range it was drawn from.
            system_attrs: What the sampler notes of the trial.
        """
        self.study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=dict(plan.params),
                distributions=dict(distributions),
                user_attrs={_PLAN: plan.to_data()},
                system_attrs=dict(system_attrs),
            )
        )
        self.hashes.add(plan.recipe_hash)

    def tell(self, record: TrialRecord) -> None:
        """Write down how a trial ended."""
        trial_id = self.trials()[record.number]._trial_id
        trial = optuna.trial.Trial(self.study, trial_id)
        trial.set_user_attr(_RECORD, record.to_data())
        if record.status == "ok":
            for name, violation in record.violations.items():
                trial.set_constraint(name, violation)
            self.study.tell(trial, [record.metrics[name] for name in self.objectives])
        else:
            # A model that is known says nothing against its recipe; a weak one does, and that is
            # what samplers take a pruned trial for (measured by benchmarks/weak_trials.py).
            weak = record.status == "stopped" and not record.error.startswith(KNOWN_MODEL)
            self.study.tell(trial, state=TrialState.PRUNED if weak else TrialState.FAIL)
        self._keep(_record(self.trials()[record.number]))

    def direct(self, objectives: Mapping[str, str]) -> None:
        """Give the journal its objectives, which differ from those before only until it begins.

        Optuna's studies keep the directions that they are created with, so that another one is.
        """
        directions = [direction.name.lower() for direction in self.study.directions]
        if self.identity() is None and directions != list(objectives.values()):
            assert self.remake is not None
            self.study = self.remake(objectives)
        self.objectives = objectives

    def begin(
        self,
        identity: Mapping[str, Any],
        infeasible_steps: Mapping[str, str],
        damage: Mapping[str, DamageCurve] = MappingProxyType({}),
        costs: Costs | None = None,
    ) -> None:
        """Write down, once, what makes trials comparable and what the preparation found.

        Args:
            identity: What must stay the same while the study grows.
            infeasible_steps: By step that cannot act on the model, why.
            damage: By step, the damage that it does alone.
            costs: What the parts of a trial cost.
        """
        if self.infeasible_steps() is None:
            curves = {name: asdict(curve) for name, curve in damage.items()}
            self.study.set_user_attr(_DAMAGE, curves)
            self.study.set_user_attr(_COSTS, asdict(costs) if costs else None)
            self.study.set_user_attr(_INFEASIBLE, dict(infeasible_steps))
            self.study.set_user_attr(IDENTITY, dict(identity))

    def damage(self) -> dict[str, DamageCurve]:
        """Return by step the damage that it does alone; empty for a study of an older version."""
        curves = self.study.user_attrs.get(_DAMAGE, {})
        return {name: DamageCurve.from_data(curve) for name, curve in curves.items()}

    def costs(self) -> Costs | None:
        """Return what the parts of a trial cost; None for a study of an older version."""
        costs = self.study.user_attrs.get(_COSTS)
        return Costs.from_data(costs) if costs else None

    def infeasible_steps(self) -> dict[str, str] | None:
        """Return why some steps cannot act on the model; None before the study has begun."""
        attributes = self.study.user_attrs
        known: dict[str, str] | None = attributes.get(
            _INFEASIBLE, attributes.get(_FORMER_INFEASIBLE)
        )
        return known if IDENTITY in attributes else None

    def identity(self) -> Mapping[str, Any] | None:
        """Return what makes the study's trials comparable; None before the study has begun."""
        kept: Mapping[str, Any] | None = self.study.user_attrs.get(IDENTITY)
        return kept

    def keep_test(self, number: int, metrics: Mapping[str, float]) -> None:
        """Write down the test metrics of a finished trial."""
        self.study.set_user_attr(f"{_TEST}{number}", dict(metrics))
        self._keep(_with_metrics(self._records[number], metrics))

    def _keep(self, record: TrialRecord) -> None:
        self._records[record.number] = record
        self.changes.append(record)


def _plan(trial: FrozenTrial) -> TrialPlan:
    return TrialPlan.from_data(trial.user_attrs[_PLAN])


def _record(trial: FrozenTrial) -> TrialRecord:
    return TrialRecord.from_data(trial.user_attrs[_RECORD])


def _with_metrics(record: TrialRecord, metrics: Mapping[str, float]) -> TrialRecord:
    return replace(record, metrics={**record.metrics, **metrics})
