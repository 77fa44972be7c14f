"""The space of recipes: a recipe with a range wherever a value is searched."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from search.recipe.ranges import Range, Suggest
from search.recipe.recipe import Recipe, Step, build_step, values_of
from search.trial_record import Value

NONE = "none"
"""The member of a choice that stands for no step."""


@dataclass(frozen=True, kw_only=True)
class StepSpace:
    """One step: the class of its compressor, its fixed values and its ranges."""

    name: str
    target: str
    """Import path of the compressor's class."""
    fixed: Mapping[str, Any]
    """Values of the fields that are not searched."""
    ranges: Mapping[str, Range]
    """Ranges by field; a field precedes the fields that depend on it."""

    def active_fields(self, values: Mapping[str, Value]) -> Iterator[tuple[str, Range]]:
        """Yield the fields that matter with their ranges.

        Args:
            values: The values drawn so far by field; the caller adds each value before the next
                field is yielded.
        """
        for field, span in self.ranges.items():
            if span.when is None or {**self.fixed, **values}.get(span.when):
                yield field, span


@dataclass(frozen=True, kw_only=True)
class Space:
    """Ordered steps with ranges, and choices between steps that exclude each other."""

    steps: Mapping[str, StepSpace]
    choices: Mapping[str, tuple[str, ...]]
    """By name of the choice, the steps of which a recipe has one; 'none' stands for no step."""

    @property
    def hash(self) -> str:
        """Hexadecimal digest of the steps, their ranges and the choices."""
        text = json.dumps([repr(self.steps), repr(self.choices)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def names(self) -> list[str]:
        """The names of all parameters that a recipe may have, in order."""
        sampled = [name for name, members in self.choices.items() if len(members) > 1]
        return sampled + [r.name for step in self.steps.values() for r in step.ranges.values()]

    def chosen_steps(self, params: Mapping[str, Value]) -> list[StepSpace]:
        """Return the steps that remain in the recipe after the choices in the parameters."""
        excluded = set()
        for name, members in self.choices.items():
            choice = params[name] if len(members) > 1 else members[0]
            excluded |= set(members) - {choice}
        return [step for name, step in self.steps.items() if name not in excluded]

    def without(self, names: Collection[str]) -> "Space":
        """Return the space without some steps, and without choices that then have no step."""
        steps = {name: step for name, step in self.steps.items() if name not in names}
        return Space(steps=steps, choices=present_choices(self.choices, steps))

    def with_measured(self, field: str, default: Value, value: Value) -> "Space":
        """Return the space with a measured value wherever a field has its default."""
        steps = {
            name: replace(step, fixed={**step.fixed, field: value})
            if step.fixed.get(field) == default
            else step
            for name, step in self.steps.items()
        }
        return replace(self, steps=steps)

    def recipe(self, params: Mapping[str, Value], seed: int) -> Recipe:
        """Return the recipe of these parameters; inactive steps are dropped."""
        steps = []
        for step in self.chosen_steps(params):
            drawn = {f: params[r.name] for f, r in step.ranges.items() if r.name in params}
            compressor = build_step(step.name, step.target, {**step.fixed, **drawn})
            if compressor.active:
                steps.append(Step(name=step.name, target=step.target, values=values_of(compressor)))
        return Recipe(steps=tuple(steps), seed=seed)

    def sample(self, source: Suggest) -> dict[str, Value]:
        """Draw the parameters of one recipe; parameters without an effect are left out."""
        params: dict[str, Value] = {}
        for name, members in self.choices.items():
            if len(members) > 1:
                params[name] = source.suggest_categorical(name, list(members))
        for step in self.chosen_steps(params):
            values: dict[str, Value] = {}
            for field, span in step.active_fields(values):
                values[field] = span.suggest(source)
                params[span.name] = values[field]
        return params


def present_choices(
    choices: Mapping[str, Sequence[str]], steps: Mapping[str, StepSpace]
) -> dict[str, tuple[str, ...]]:
    """Return of each choice the members among the steps; choices without any are dropped."""
    kept = {
        name: tuple(member for member in members if member in steps or member == NONE)
        for name, members in choices.items()
    }
    return {name: members for name, members in kept.items() if set(members) - {NONE}}
