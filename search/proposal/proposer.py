"""Recipes from a sampler, never one that was tried before, or from given parameters."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseGASampler,
    BruteForceSampler,
    GPSampler,
    TPESampler,
)
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from search.proposal.in_memory_storage import (
    MAX_TRIALS_MODELLED,
    MAX_TRIALS_SHOWN,
    InMemoryStorage,
    shown,
)
from search.proposal.plan import Plan
from search.proposal.samplers import build_sampler
from search.recipe.recipe import Recipe
from search.recipe.rungs import Rungs
from search.recipe.space import Space
from search.trial_record import Value
from search.utils.seeds import derived_seed

RANDOM = {"_target_": "optuna.samplers.RandomSampler"}
MAX_ATTEMPTS = 50
"""Number of recipes that a sampler is asked for until one is new."""
MAX_SLOW_ATTEMPTS = 2
"""The same for a sampler that takes seconds for each recipe."""
STUDY_ATTRIBUTES = "study"
"""Attribute of a trial with the sampler's attributes of the study: the parents of a generation."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A recipe with its parameters, in the form that the study's storage keeps."""

    recipe: Recipe
    params: Mapping[str, Value]
    distributions: Mapping[str, BaseDistribution]
    system_attrs: Mapping[str, Any]
    """The sampler's attributes of the trial."""


@dataclass(frozen=True, kw_only=True)
class Proposer:
    """Samples recipes from a space.

    For each proposal a sampler is built with a seed from the study's seed and the trial's number,
    over the study's trials in memory. A proposal thus depends on finished trials alone, and a
    resumed study goes on as if it had not stopped.
    """

    space: Space
    objectives: Mapping[str, str]
    """Direction by metric."""
    sampler: Mapping[str, Any]
    """`_target_` of an Optuna sampler and its arguments without the seed."""
    seed: int
    rungs: Rungs
    """The division of recovery into rungs."""
    plan: Plan = field(default_factory=Plan)
    """How long recoveries are."""
    finishing: bool = False
    """Whether they are those of the end of the study."""
    front: Collection[int] = ()
    """Numbers of the trials that the sampler learns from even if they are old."""

    def propose(
        self,
        number: int,
        trials: list[FrozenTrial],
        seen: Collection[str],
        bearable: Callable[[Mapping[str, Value]], bool] = lambda _: True,
    ) -> Proposal | None:
        """Return a recipe that was not tried before, or None if none was found.

        A known recipe stays in the storage as a running trial, which samplers avoid; a finished
        one would make an exhaustive sampler stop the study. A sampler that returns only known
        recipes is followed by a random one.

        Args:
            number: Number of the next trial.
            trials: The trials so far.
            seen: The hashes of the recipes that were tried.
            bearable: Whether parameters are worth a trial; of recipes that are new and none of
                which is, the last one is returned.
        """
        unbearable: Proposal | None = None
        for sampler in (self.sampler, RANDOM):
            study, storage = self._study(sampler, number, trials)
            slow = isinstance(study.sampler, GPSampler)
            for _ in range(MAX_SLOW_ATTEMPTS if slow else MAX_ATTEMPTS):
                proposal = self._ask(study, storage)
                if proposal.recipe.hash in seen:
                    continue
                if bearable(proposal.params):
                    return proposal
                unbearable = proposal
        return unbearable

    def hash(self, params: Mapping[str, Value]) -> str:
        """Return the hash of the recipe of given parameters."""
        return self._recipe(params).hash

    def fixed(
        self, number: int, trials: list[FrozenTrial], params: Mapping[str, Value]
    ) -> Proposal:
        """Return the recipe of given parameters as if the sampler had chosen them.

        Missing parameters are sampled. Only a genetic sampler is used, since it assigns the trial
        to a generation; all others are replaced by a random one.

        Args:
            number: Number of the next trial.
            trials: The trials so far.
            params: Parameters by name.
        """
        genetic = isinstance(build_sampler(self.sampler, 0), BaseGASampler)
        study, storage = self._study(self.sampler if genetic else RANDOM, number, trials)
        study.enqueue_trial(dict(params))
        return self._ask(study, storage)

    def _recipe(self, params: Mapping[str, Value]) -> Recipe:
        # All recipes have one seed, so that those that begin alike share cached models.
        whole = self.space.recipe(params, derived_seed(self.seed))
        if self.finishing:
            return self.plan.finishing(whole)
        return self.plan.exploring(whole, self.rungs)

    def _ask(self, study: optuna.Study, storage: InMemoryStorage) -> Proposal:
        trial = study.ask()
        params = self.space.sample(trial)
        latest = list(storage.attributes.items())[-1:]
        kept = {STUDY_ATTRIBUTES: dict(latest)} if latest else {}
        return Proposal(
            recipe=self._recipe(params),
            params=params,
            distributions=trial.distributions,
            system_attrs={**storage.asked[-1].system_attrs, **kept},
        )

    def _study(
        self, config: Mapping[str, Any], number: int, trials: list[FrozenTrial]
    ) -> tuple[optuna.Study, InMemoryStorage]:
        """Return a study over the trials from which a sampler learns, and its storage."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = build_sampler(config, derived_seed(self.seed, number, 1))
        if not self._complete(trials):
            trials = trials[1:]
        if not isinstance(sampler, BruteForceSampler):
            count = MAX_TRIALS_MODELLED if isinstance(sampler, TPESampler) else MAX_TRIALS_SHOWN
            trials = shown(trials, self.front, count)
        storage = InMemoryStorage(
            trials=trials,
            directions=[StudyDirection[way.upper()] for way in self.objectives.values()],
            number=number,
            attributes=_study_attributes(trials),
        )
        return optuna.Study("", cast(BaseStorage, storage), sampler), storage

    def _complete(self, trials: list[FrozenTrial]) -> bool:
        """Return whether the first trial has every parameter that its other ones make necessary.

        The baseline may lack parameters that cannot be inactive. Samplers that model the parameters
        common to all trials would then ignore these, and an exhaustive one would fail.
        """
        if not trials:
            return True
        params = trials[0].params
        needed = {name for name, members in self.space.choices.items() if len(members) > 1}
        for step in self.space.chosen_steps(params) if needed <= set(params) else []:
            values = {f: params[r.name] for f, r in step.ranges.items() if r.name in params}
            needed |= {span.name for _, span in step.active_fields(values)}
        return needed <= set(params)


def _study_attributes(trials: list[FrozenTrial]) -> dict[str, Any]:
    """Return the sampler's attributes of the study that the latest trial has; empty without any.

    Without them a genetic sampler would recompute the parents of all earlier generations.
    """
    kept = (trial.system_attrs.get(STUDY_ATTRIBUTES) for trial in reversed(trials))
    return dict(next((attributes for attributes in kept if attributes is not None), {}))


def uncompressed(proposal: Proposal, params: Mapping[str, Value]) -> Proposal:
    """Return a proposal of the empty recipe with only the given ones of its parameters."""
    kept = {name: value for name, value in proposal.params.items() if name in params}
    return replace(
        proposal,
        recipe=Recipe(steps=(), seed=proposal.recipe.seed),
        params=kept,
        distributions={name: proposal.distributions[name] for name in kept},
    )
