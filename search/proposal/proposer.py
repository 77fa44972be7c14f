"""What to try next: the warm start, then the sampler, never a recipe that was tried before."""

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseGASampler,
    BaseSampler,
    BruteForceSampler,
    GPSampler,
    TPESampler,
)
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from search.errors import ConfigError
from search.proposal.in_memory_storage import MAX_TRIALS_SHOWN, MODELLED, InMemoryStorage, shown
from search.recipe.recipe import Recipe
from search.recipe.rungs import Rungs
from search.recipe.space import Space
from search.trial_record import Value
from search.utils.instantiate import build
from search.utils.seeds import derived_seed

RANDOM = {"_target_": "optuna.samplers.RandomSampler"}
ATTEMPTS = 50
SLOW_ATTEMPTS = 2
"""Of a sampler that takes seconds for each."""
MEMORY = "study"
"""Where a trial keeps what the sampler noted of the study: the parents of a generation."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A recipe, its parameters, and what the sampler wants to be remembered of them."""

    recipe: Recipe
    params: Mapping[str, Value]
    distributions: Mapping[str, BaseDistribution]
    system_attrs: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Proposer:
    """Samples recipes from a space.

    Each proposal is made over the study's trials in memory by a sampler that is seeded with the
    study's seed and the trial's number, so that it depends on finished trials alone, and a
    resumed study goes on as if it had not stopped.
    """

    space: Space
    objectives: Mapping[str, str]
    sampler: Mapping[str, Any]
    """`_target_`, an Optuna sampler, and its arguments without the seed."""
    seed: int
    rungs: Rungs
    """How the recovery of recipes is divided."""
    front: Collection[int] = ()
    """The numbers of the trials that the sampler shall not lose sight of in a long study."""

    def propose(
        self, number: int, trials: list[FrozenTrial], seen: Collection[str]
    ) -> Proposal | None:
        """Return a recipe whose hash was not seen, or None if none was found.

        A known recipe is left as one that runs, which samplers keep away from; to tell it would
        have exhaustive ones stop the study. A sampler that has settled on known recipes is
        followed by a random one.
        """
        for sampler in (self.sampler, RANDOM):
            study, history = self._study(sampler, number, trials)
            slow = isinstance(study.sampler, GPSampler)
            for _ in range(SLOW_ATTEMPTS if slow else ATTEMPTS):
                proposal = self._ask(study, history)
                if proposal.recipe.hash not in seen:
                    return proposal
        return None

    def hash(self, params: Mapping[str, Value]) -> str:
        """Return the hash of the recipe of given parameters."""
        return self._recipe(params).hash

    def fixed(
        self, number: int, trials: list[FrozenTrial], params: Mapping[str, Value]
    ) -> Proposal:
        """Return the recipe of given parameters, as if the sampler had chosen them.

        Only genetic samplers are asked at all: they count the trial to a generation.
        """
        genetic = isinstance(build_sampler(self.sampler, 0), BaseGASampler)
        study, history = self._study(self.sampler if genetic else RANDOM, number, trials)
        study.enqueue_trial(dict(params))
        return self._ask(study, history)

    def _recipe(self, params: Mapping[str, Value]) -> Recipe:
        # One seed for all, so that recipes that begin alike share what was computed.
        return self.rungs.staged(self.space.recipe(params, derived_seed(self.seed)))

    def _ask(self, study: optuna.Study, history: InMemoryStorage) -> Proposal:
        trial = study.ask()
        params = self.space.sample(trial)
        noted = list(history.attributes.items())
        memory = {MEMORY: dict(noted[-1:])} if noted else {}
        return Proposal(
            recipe=self._recipe(params),
            params=params,
            distributions=trial.distributions,
            system_attrs={**history.asked[-1].system_attrs, **memory},
        )

    def _study(
        self, config: Mapping[str, Any], number: int, trials: list[FrozenTrial]
    ) -> tuple[optuna.Study, InMemoryStorage]:
        """Return a study over the trials that a sampler shall look at, and its storage."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = build_sampler(config, derived_seed(self.seed, number, 1))
        if not self._complete(trials):
            trials = trials[1:]
        if not isinstance(sampler, BruteForceSampler):
            count = MODELLED if isinstance(sampler, TPESampler) else MAX_TRIALS_SHOWN
            trials = shown(trials, self.front, count)
        # Genetic samplers would else go back through all generations for the parents of the last.
        memory: Mapping[str, Any] = next(
            (t.system_attrs[MEMORY] for t in reversed(trials) if MEMORY in t.system_attrs), {}
        )
        history = InMemoryStorage(
            trials=trials,
            directions=[StudyDirection[way.upper()] for way in self.objectives.values()],
            number=number,
            attributes=dict(memory),
        )
        return optuna.Study("", cast(BaseStorage, history), sampler), history

    def _complete(self, trials: list[FrozenTrial]) -> bool:
        """Tell whether the first trial has every parameter that its others let matter.

        It is the baseline, which may lack those that cannot be inactive; samplers that look for
        what all trials share would never model them again, and an exhaustive one would fail.
        """
        if not trials:
            return True
        params = trials[0].params
        needed = {name for name, members in self.space.choices.items() if len(members) > 1}
        for step in self.space.chosen_steps(params) if needed <= set(params) else []:
            values = {f: params[r.name] for f, r in step.ranges.items() if r.name in params}
            needed |= {span.name for _, span in step.active_fields(values)}
        return needed <= set(params)


def uncompressed(proposal: Proposal, params: Mapping[str, Value]) -> Proposal:
    """Return a proposal of the empty recipe, with those parameters alone that it does stand for."""
    kept = {name: value for name, value in proposal.params.items() if name in params}
    return replace(
        proposal,
        recipe=Recipe(steps=(), seed=proposal.recipe.seed),
        params=kept,
        distributions={name: proposal.distributions[name] for name in kept},
    )


def build_sampler(config: Mapping[str, Any], seed: int) -> BaseSampler:
    """Build an Optuna sampler with a seed.

    Raises:
        ConfigError: there is no such sampler, or it refuses an argument.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return cast(BaseSampler, build("sampler", {**config, "seed": seed}))


def check_sampler(config: Mapping[str, Any], space: Space) -> None:
    """Check that a sampler can draw from a space.

    Raises:
        ConfigError: an exhaustive sampler meets a range with infinitely many values.
    """
    if not isinstance(build_sampler(config, 0), BruteForceSampler):
        return
    spans = [span for step in space.steps.values() for span in step.ranges.values()]
    endless = [r for r in spans if r.kind == "float" and r.step is None and r.low < r.high]
    if endless:
        first, value = endless[0].name, endless[0].default()
        raise ConfigError(
            "sampler=brute_force tries every value, but these ranges have no step: "
            f"{', '.join(span.name for span in endless)}; fix each (steps.{first}={value}) "
            f"or give it one (++steps.{first}.step=...; not where it is log)"
        )
