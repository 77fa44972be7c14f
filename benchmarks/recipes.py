"""Recipes written by hand, for what the benchmarks measure beside the search."""

from typing import Any

from search.recipe.recipe import Step, build_step, values_of


def step(name: str, target: str, **values: Any) -> Step:
    """Return a step with all its values: `target` is a module of compressors and its class."""
    path = f"compressors.{target}"
    return Step(name=name, target=path, values=values_of(build_step(name, path, values)))
