"""Steps of hand-written recipes, which the benchmarks measure beside the search."""

from typing import Any

from search.recipe.recipe import Step, build_step, values_of


def step(name: str, target: str, **values: Any) -> Step:
    """Return a step with all its values.

    Args:
        name: Name of the step.
        target: Module and class within `compressors`, for example `low_rank.LowRank`.
        values: Values that differ from the defaults.
    """
    path = f"compressors.{target}"
    return Step(name=name, target=path, values=values_of(build_step(name, path, values)))
