"""Optuna's samplers, built from a configuration and checked against a space."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.samplers import BaseGASampler, BaseSampler, BruteForceSampler, GPSampler

from search.errors import ConfigError
from search.recipe.ranges import Range
from search.recipe.space import Space
from search.utils.failure_cause import failure_cause
from search.utils.instantiate import TARGET, build

LARGEST = 1_000_000
"""Largest number among a sampler's arguments; several are lengths of arrays."""
MAX_VALUES = 10_000
"""Most values of a range that are tried one by one."""
DRAWS = {BruteForceSampler: 0, BaseGASampler: 24, GPSampler: 1, BaseSampler: 12}
"""Made-up trials by kind of sampler, enough for a model or a second generation with the built-in
configurations; a model of Gaussian processes takes seconds, and an exhaustive sampler may have
fewer recipes."""


def build_sampler(config: Mapping[str, Any], seed: int) -> BaseSampler:
    """Build an Optuna sampler with a seed.

    Raises:
        ConfigError: There is no such sampler, or it refuses an argument.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return build("sampler", {**config, "seed": seed}, BaseSampler)


def check_sampler(config: Mapping[str, Any], space: Space, objectives: int) -> None:
    """Check that a sampler can draw from a space.

    Args:
        config: `_target_` of the sampler and its arguments.
        space: The space that it shall draw from.
        objectives: Number of objectives.

    Raises:
        ConfigError: An argument is too large, the sampler is exhaustive and a range has too many
            values, or it fails on made-up trials.
    """
    for name, value in config.items():
        if isinstance(value, int | float) and not abs(value) <= LARGEST:
            raise ConfigError(f"sampler.{name} must be in [{-LARGEST}, {LARGEST}], got {value:g}")
    sampler = build_sampler(config, 0)
    if isinstance(sampler, BruteForceSampler):
        _check_number_of_values(space)
    try:
        _draw(sampler, space, objectives)
    except Exception as error:
        given = ", ".join(f"{name}={value}" for name, value in config.items() if name != TARGET)
        raise ConfigError(
            f"sampler: {config[TARGET]} cannot draw a recipe: {failure_cause(error)}; it was given "
            f"{given or 'no arguments'}"
        ) from error


def _check_number_of_values(space: Space) -> None:
    spans = [span for step in space.steps.values() for span in step.ranges.values()]
    endless = [span for span in spans if _number_of_values(span) > MAX_VALUES]
    if endless:
        first, value = endless[0].name, endless[0].default()
        raise ConfigError(
            "sampler=brute_force tries every value, but these ranges have no step or more than "
            f"{MAX_VALUES} values: {', '.join(span.name for span in endless)}; fix each "
            f"(steps.{first}={value}) or give it one (++steps.{first}.step=...; not where it is "
            "log)"
        )


def _number_of_values(span: Range) -> float:
    if span.kind == "categorical" or span.low == span.high:
        return 1
    step = span.step or (1 if span.kind == "int" else 0)
    return (span.high - span.low) / step if step else math.inf


def _draw(sampler: BaseSampler, space: Space, objectives: int) -> None:
    """Have a sampler draw from a space while it learns from made-up trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=sampler, directions=["minimize"] * objectives)
    count = next(count for kind, count in DRAWS.items() if isinstance(sampler, kind))
    for number in range(count):
        trial = study.ask()
        space.sample(trial)
        study.tell(trial, [float(number)] * objectives)
