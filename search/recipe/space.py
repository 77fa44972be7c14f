"""The space of recipes: a recipe with a range wherever a value could be searched."""

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from search.errors import ConfigError
from search.recipe.recipe import Recipe, Step, build_step, values_of
from search.trial_record import Value

SUGGEST = "_suggest_"
NONE = "none"
_KEYS = {
    "float": {"low", "high", "step", "log", "when", "anchor"},
    "int": {"low", "high", "step", "log", "when", "anchor"},
    "categorical": {"choices", "when", "anchor"},
}


class Suggest(Protocol):
    """Where values come from: an Optuna trial, or anything with the same three methods."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float:
        """Return a value in [low, high]."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        """Return a whole value in [low, high]."""
        ...

    def suggest_categorical(self, name: str, choices: list[Value]) -> Value:
        """Return one of the choices."""
        ...


@dataclass(frozen=True, kw_only=True)
class Range:
    """The values that one field of one step may take, written where the value would stand."""

    name: str
    """`<step>.<field>`, the name of the parameter in the study and in the tracker."""
    kind: str
    """float, int or categorical."""
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False
    choices: tuple[Value, ...] = ()
    when: str | None = None
    """The sibling field that must be truthy for this one to matter."""
    anchor: Value = None
    """The value in the trial that shows the step alone; the middle if none in range is given."""

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            ConfigError: the range is empty, or its ends, step or choices do not fit.
        """
        if self.kind == "categorical":
            self._check_choices()
        else:
            self._check_bounds()

    def _check_choices(self) -> None:
        plain = all(isinstance(c, (bool, int, float, str)) or c is None for c in self.choices)
        if not self.choices or not plain or len(set(self.choices)) < len(self.choices):
            raise ConfigError(
                f"steps.{self.name}: choices must be distinct numbers, words, true, false or null, "
                f"got {list(self.choices)}"
            )

    def _check_bounds(self) -> None:
        for end in ("low", "high"):
            value = getattr(self, end)
            whole = self.kind == "float" or isinstance(value, int)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not whole:
                raise ConfigError(f"steps.{self.name}.{end} must be {self.kind}, got {value!r}")
        if not self.low <= self.high:
            raise ConfigError(
                f"steps.{self.name}: low {self.low:g} lies above high {self.high:g}; "
                "raise high or lower low"
            )
        if self.step is not None and (self.log or self.step <= 0):
            raise ConfigError(
                f"steps.{self.name}: step must be positive and goes without log, got {self.step!r}"
            )
        if self.log and self.low <= 0:
            raise ConfigError(f"steps.{self.name}: log needs low above 0, got {self.low:g}")

    def __contains__(self, value: Value) -> bool:
        """Whether the range holds a value (between the ends, or among the choices)."""
        if self.kind == "categorical":
            return value in self.choices
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and self.low <= value <= self.high  # type: ignore[operator]

    def default(self) -> Value:
        """Return the anchor, or else the value in the middle of the range."""
        if self.anchor is not None and self.anchor in self:
            return self.anchor
        if self.kind == "categorical":
            return self.choices[len(self.choices) // 2]
        return self.interpolate(0.5)

    def interpolate(self, share: float) -> Value:
        """Return the value at a share of the way from low to high, of a range of numbers."""
        value = self.low + share * (self.high - self.low)
        if self.log:
            value = self.low * (self.high / self.low) ** share
        if self.step is not None:
            value = self.low + self.step * round((value - self.low) / self.step)
        value = min(max(value, self.low), self.high)
        return round(value) if self.kind == "int" else round(value, 10)

    def fraction_of(self, value: Value) -> float:
        """Return the share of the way from low to high at which a number lies."""
        assert isinstance(value, int | float)
        if self.low == self.high:
            return 0.0
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def nearest(self, value: Value) -> Value:
        """Return the value itself if the range holds it, else the lowest or first one."""
        if value in self:
            return value
        return self.choices[0] if self.kind == "categorical" else self.low

    def suggest(self, source: Suggest) -> Value:
        """Draw a value; stepped floats are rounded, so that 0.6 is 0.6."""
        if self.kind == "categorical":
            return source.suggest_categorical(self.name, list(self.choices))
        if self.kind == "int":
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return source.suggest_int(self.name, low, high, step=step, log=self.log)
        value = source.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)
        return round(value, 10) if self.step is not None else value


@dataclass(frozen=True, kw_only=True)
class StepSpace:
    """One step: its compressor's class, the fixed values, and the ranges of the others."""

    name: str
    target: str
    fixed: Mapping[str, Any]
    ranges: Mapping[str, Range]
    """By field, a field that others depend on before those others."""

    def active_fields(self, values: Mapping[str, Value]) -> Iterator[tuple[str, Range]]:
        """Yield the fields that matter, given the values drawn so far; read as it is drawn."""
        for field, span in self.ranges.items():
            if span.when is None or {**self.fixed, **values}.get(span.when):
                yield field, span


@dataclass(frozen=True, kw_only=True)
class Space:
    """Ordered steps with ranges, and the choices between steps that exclude each other."""

    steps: Mapping[str, StepSpace]
    choices: Mapping[str, tuple[str, ...]]
    """By the name of the choice, the steps of which a recipe holds one; 'none' for no step."""

    @property
    def hash(self) -> str:
        """Hexadecimal digest of everything that shapes the recipes."""
        text = json.dumps([repr(self.steps), repr(self.choices)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def names(self) -> list[str]:
        """The names of all parameters that some recipe may have, in order."""
        sampled = [name for name, members in self.choices.items() if len(members) > 1]
        return sampled + [r.name for step in self.steps.values() for r in step.ranges.values()]

    def chosen_steps(self, params: Mapping[str, Value]) -> list[StepSpace]:
        """Return the steps that the choices in these parameters leave in the recipe."""
        excluded = set()
        for name, members in self.choices.items():
            choice = params[name] if len(members) > 1 else members[0]
            excluded |= set(members) - {choice}
        return [step for name, step in self.steps.items() if name not in excluded]

    def without(self, names: Collection[str]) -> "Space":
        """Return the space without some steps, and without the choices that then hold no step."""
        steps = {name: step for name, step in self.steps.items() if name not in names}
        return Space(steps=steps, choices=_present(self.choices, steps))

    def recipe(self, params: Mapping[str, Value], seed: int) -> Recipe:
        """Return the recipe of these parameters; steps that they leave inactive are dropped."""
        steps = []
        for step in self.chosen_steps(params):
            drawn = {f: params[r.name] for f, r in step.ranges.items() if r.name in params}
            compressor = build_step(step.name, step.target, {**step.fixed, **drawn})
            if compressor.active:
                steps.append(Step(name=step.name, target=step.target, values=values_of(compressor)))
        return Recipe(steps=tuple(steps), seed=seed)

    def sample(self, source: Suggest) -> dict[str, Value]:
        """Draw the parameters of one recipe; those that would not matter are left out."""
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


def parse_space(steps: Mapping[str, Any], choices: Mapping[str, Any]) -> Space:
    """Read the `steps` and `choices` nodes of a composed configuration.

    Raises:
        ConfigError: a node is no step, a range is malformed or empty, or a choice names no step.
    """
    if not steps:
        raise ConfigError("steps is empty: a recipe needs at least one compressor")
    for name in steps:
        if "." in name or name.isdigit():
            raise ConfigError(f"steps.{name}: a step's name needs a letter and has no dot")
    parsed = {name: _parse_step(name, node) for name, node in steps.items()}
    return Space(steps=parsed, choices=_parse_choices(choices, parsed))


def _parse_choices(
    choices: Mapping[str, Any], steps: Mapping[str, StepSpace]
) -> dict[str, tuple[str, ...]]:
    """Check the choices; members whose steps were dropped from the recipe are left out."""
    for name, members in choices.items():
        if not isinstance(members, list) or not members or len(set(members)) < len(members):
            raise ConfigError(f"choices.{name} must list distinct steps or '{NONE}', got {members}")
        if name in steps:
            raise ConfigError(f"choices.{name} has the name of a step; give the choice another")
    return _present(choices, steps)


def _present(
    choices: Mapping[str, Sequence[str]], steps: Mapping[str, StepSpace]
) -> dict[str, tuple[str, ...]]:
    """Keep of each choice what is there, and the choices that still hold a step."""
    kept = {
        name: tuple(member for member in members if member in steps or member == NONE)
        for name, members in choices.items()
    }
    return {name: members for name, members in kept.items() if set(members) - {NONE}}


def _parse_step(name: str, node: Any) -> StepSpace:
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ConfigError(f"steps.{name} needs a _target_, the compressor's class")
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
        name=name, target=node["_target_"], fixed=fixed, ranges=_masters_first(name, ranges)
    )


def _masters_first(step: str, ranges: Mapping[str, Range]) -> dict[str, Range]:
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
    if kind not in _KEYS:
        raise ConfigError(f"steps.{name}._suggest_ must be one of {sorted(_KEYS)}, got {kind!r}")
    given = {key: value for key, value in node.items() if key != SUGGEST}
    unknown = sorted(set(given) - _KEYS[kind])
    needed = {"choices"} if kind == "categorical" else {"low", "high"}
    if unknown or not needed <= set(given):
        raise ConfigError(
            f"steps.{name}: a {kind} range needs {sorted(needed)} and may have "
            f"{sorted(_KEYS[kind] - needed)}, got {sorted(given)}"
        )
    if "choices" in given:
        given["choices"] = tuple(given["choices"] or ())
    return Range(name=name, kind=kind, **given)
