"""The space of recipes, parsed from the `steps` and `choices` of a composed configuration."""

import re
from collections.abc import Mapping
from typing import Any

from search.errors import ConfigError
from search.recipe.ranges import Range
from search.recipe.space import NONE, Space, StepSpace, present_choices
from search.utils.annotation_check import check_annotations, shown

SUGGEST = "_suggest_"
"""The key that makes a node a range; its value is the kind of the range."""
_KEYS = {
    "float": {"low", "high", "step", "log", "when", "anchor"},
    "int": {"low", "high", "step", "log", "when", "anchor"},
    "categorical": {"choices", "when", "anchor"},
}
"""Allowed keys by kind of range."""


def parse_space(steps: Mapping[str, Any], choices: Mapping[str, Any]) -> Space:
    """Parse the `steps` and `choices` nodes of a composed configuration.

    Raises:
        ConfigError: A node is no step, a range is malformed or empty, or a choice is malformed.
    """
    if not steps:
        raise ConfigError("steps is empty: a recipe needs at least one compressor")
    for name in (*steps, *choices):
        if not re.fullmatch(r"(?!\d+$)[\w-]{1,60}", name):
            raise ConfigError(
                "the name of a step or of a choice has 1 to 60 letters, digits, - or _, and not "
                f"only digits, got {shown(name)}"
            )
    parsed = {name: _parse_step(name, node) for name, node in steps.items()}
    return Space(steps=parsed, choices=_parse_choices(choices, parsed))


def _parse_choices(
    choices: Mapping[str, Any], steps: Mapping[str, StepSpace]
) -> dict[str, tuple[str, ...]]:
    """Check the choices; members whose steps are not in the recipe are left out."""
    for name, members in choices.items():
        if not isinstance(members, list) or not members or len(set(members)) < len(members):
            raise ConfigError(f"choices.{name} must list distinct steps or '{NONE}', got {members}")
        if name in steps:
            raise ConfigError(f"choices.{name} has the name of a step; give the choice another")
    return present_choices(choices, steps)


def _parse_step(name: str, node: Any) -> StepSpace:
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(
            f"steps.{name} needs a _target_, the compressor's class, got {shown(node)}; to drop "
            f"it, write ~steps.{name}"
        )
    fixed: dict[str, Any] = {}
    ranges: dict[str, Range] = {}
    for field, value in node.items():
        if isinstance(value, Mapping) and SUGGEST in value:
            ranges[field] = _parse_range(f"{name}.{field}", value)
        elif field != "_target_":
            fixed[field] = value
    for span in ranges.values():
        if span.when is not None and span.when not in node:
            raise ConfigError(f"steps.{span.name}.when: step '{name}' has no field '{span.when}'")
    return StepSpace(
        name=name, target=node["_target_"], fixed=fixed, ranges=_dependencies_first(name, ranges)
    )


def _dependencies_first(step: str, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Order the ranges of a step so that a field precedes the fields that depend on it."""
    ordered: dict[str, Range] = {}
    waiting = dict(ranges)
    while waiting:
        ready = {f: r for f, r in waiting.items() if r.when not in waiting}
        if not ready:
            raise ConfigError(f"steps.{step}: the fields {sorted(waiting)} wait for each other")
        ordered |= ready
        waiting = {f: r for f, r in waiting.items() if f not in ready}
    return ordered


def _parse_range(name: str, node: Mapping[str, Any]) -> Range:
    kind = node[SUGGEST]
    if not isinstance(kind, str) or kind not in _KEYS:
        raise ConfigError(
            f"steps.{name}._suggest_ must be one of {', '.join(sorted(_KEYS))}, got {shown(kind)}"
        )
    given = {key: value for key, value in node.items() if key != SUGGEST}
    unknown = sorted(set(given) - _KEYS[kind])
    needed = {"choices"} if kind == "categorical" else {"low", "high"}
    if unknown or not needed <= set(given):
        raise ConfigError(
            f"steps.{name}: a {kind} range needs {sorted(needed)} and may have "
            f"{sorted(_KEYS[kind] - needed)}, got {sorted(given)}"
        )
    check_annotations(f"steps.{name}", Range, given)
    if "choices" in given:
        given["choices"] = tuple(given["choices"])
    return Range(name=name, kind=kind, **given)
