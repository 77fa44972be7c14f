"""Optuna's samplers, built from a configuration and checked against a space."""

import warnings
from collections.abc import Mapping
from typing import Any, cast

import optuna
from optuna.samplers import BaseSampler, BruteForceSampler

from search.errors import ConfigError
from search.recipe.space import Space
from search.utils.instantiate import build


def build_sampler(config: Mapping[str, Any], seed: int) -> BaseSampler:
    """Build an Optuna sampler with a seed.

    Raises:
        ConfigError: There is no such sampler, or it refuses an argument.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return cast(BaseSampler, build("sampler", {**config, "seed": seed}))


def check_sampler(config: Mapping[str, Any], space: Space) -> None:
    """Check that a sampler can draw from a space.

    Raises:
        ConfigError: The sampler is exhaustive and a range has infinitely many values.
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
