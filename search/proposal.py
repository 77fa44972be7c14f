"""What to try next: the warm start, then the sampler, never a recipe that was tried before."""

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from search.recipe import Recipe
from search.record import Value
from search.seeds import derived_seed
from search.space import Space
from search.targets import build

RANDOM = {"_target_": "optuna.samplers.RandomSampler"}
ATTEMPTS = 50


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

    Each proposal is made on a copy of the study in memory by a sampler that is seeded with the
    study's seed and the trial's number, so that it depends on finished trials alone, and a
    resumed study goes on as if it had not stopped.
    """

    space: Space
    objectives: Mapping[str, str]
    sampler: Mapping[str, Any]
    """`_target_`, an Optuna sampler, and its arguments without the seed."""
    seed: int

    def propose(
        self, number: int, trials: list[FrozenTrial], seen: Collection[str]
    ) -> Proposal | None:
        """Return a recipe whose hash was not seen, or None if none was found.

        A sampler that has settled on known recipes is followed by a random one.
        """
        for sampler in (self.sampler, RANDOM):
            study = self._copy(sampler, number, trials)
            for _ in range(ATTEMPTS):
                proposal = self._ask(study, number)
                if proposal.recipe.hash not in seen:
                    return proposal
                study.tell(len(study.get_trials(deepcopy=False)) - 1, state=TrialState.FAIL)
        return None

    def fixed(
        self, number: int, trials: list[FrozenTrial], params: Mapping[str, Value]
    ) -> Proposal:
        """Return the recipe of given parameters, as if the sampler had chosen them."""
        study = self._copy(self.sampler, number, trials)
        study.enqueue_trial(dict(params))
        return self._ask(study, number)

    def _ask(self, study: optuna.Study, number: int) -> Proposal:
        trial = study.ask()
        params = self.space.sample(trial)
        asked = study.get_trials(deepcopy=False)[-1]
        return Proposal(
            recipe=self.space.recipe(params, derived_seed(self.seed, number)),
            params=params,
            distributions=trial.distributions,
            system_attrs=asked.system_attrs,
        )

    def _copy(
        self, sampler: Mapping[str, Any], number: int, trials: list[FrozenTrial]
    ) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            directions=cast(Any, list(self.objectives.values())),
            sampler=build_sampler(sampler, derived_seed(self.seed, number, 1)),
        )
        study.add_trials(trials)
        return study


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
