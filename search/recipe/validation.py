"""The check that every recipe of a space can be built, before any of them is tried."""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from compressors.kinds import MAY_FOLLOW
from search.errors import ConfigError
from search.recipe.ranges import Range
from search.recipe.recipe import build_step
from search.recipe.space import Space, StepSpace

if TYPE_CHECKING:
    from compressors.base import Compressor


def check_space(space: Space) -> None:
    """Build every step at the ends of its ranges and check the order of all steps together.

    Raises:
        ConfigError: A compressor refuses a name or a value, or two steps are in a wrong order.
    """
    for step in space.steps.values():
        _check_step(step)
    sampled = {name: members for name, members in space.choices.items() if len(members) > 1}
    for members in itertools.product(*sampled.values()):
        steps = space.chosen_steps(dict(zip(sampled, members, strict=True)))
        check_order({step.name: build_step(step.name, step.target, {}) for step in steps})


def _check_step(step: StepSpace) -> None:
    defaults = {field: span.default() for field, span in step.ranges.items()}
    build_step(step.name, step.target, {**step.fixed, **defaults})
    for field, span in step.ranges.items():
        for value in _ends(span):
            build_step(step.name, step.target, {**step.fixed, **defaults, field: value})


def _ends(span: Range) -> list[object]:
    return list(span.choices) if span.kind == "categorical" else [span.low, span.high]


def check_order(steps: Mapping[str, "Compressor"]) -> None:
    """Check that each step may follow all steps before it.

    Raises:
        ConfigError: `MAY_FOLLOW` does not allow the order of two steps.
    """
    names = list(steps)
    for position, later in enumerate(names):
        for earlier in names[:position]:
            first, second = steps[earlier].kind, steps[later].kind
            if second not in MAY_FOLLOW[first]:
                raise ConfigError(
                    f"step '{later}' {second.value} and cannot come after step '{earlier}', which "
                    f"{first.value}; put '{later}' first or drop one of them"
                )
