"""A recipe: ordered compression steps with concrete values, as plain data and as compressors."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from search.errors import ConfigError
from search.utils.instantiate import TARGET, builder, made
from search.utils.trust import check_targets
from search.utils.yaml_text import read_yaml

if TYPE_CHECKING:
    from compressors.base import Compressor


@dataclass(frozen=True, kw_only=True)
class Step:
    """One compressor with its values, under its name in the recipe."""

    name: str
    target: str
    """Import path of the compressor's class."""
    values: Mapping[str, Any]
    """Values by field."""

    def compressor(self) -> "Compressor":
        """Build the compressor; raise `ConfigError` if its class refuses a name or a value."""
        return build_step(self.name, self.target, self.values)


def build_step(name: str, target: str, values: Mapping[str, Any]) -> "Compressor":
    """Build the compressor of a step.

    Raises:
        ConfigError: The class does not exist or refuses a name or a value.
    """
    call = builder(f"steps.{name}", {TARGET: target, **values})
    if not is_dataclass(call.func) or not hasattr(call.func, "kind"):
        raise ConfigError(f"steps.{name}: {target} is no compressor: a dataclass with a kind")
    return cast("Compressor", made(f"steps.{name}", call))


def values_of(compressor: "Compressor") -> dict[str, Any]:
    """Return the values of a compressor by field."""
    return asdict(cast(Any, compressor))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Ordered steps and the seed of their randomness."""

    steps: tuple[Step, ...]
    seed: int

    @property
    def hash(self) -> str:
        """Hexadecimal digest of the steps and their values; the seed is not part of it."""
        text = json.dumps(self._steps_data(), sort_keys=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_data(self) -> dict[str, Any]:
        """Return the recipe as plain data, the form of recipe.yaml."""
        return {"seed": self.seed, "steps": dict(self._steps_data())}

    def to_yaml(self) -> str:
        """Return the text of recipe.yaml."""
        return yaml.safe_dump(self.to_data(), sort_keys=False)

    def _steps_data(self) -> list[tuple[str, dict[str, Any]]]:
        return [
            (step.name, {TARGET: step.target, **dict(sorted(step.values.items()))})
            for step in self.steps
        ]


def recipe_from_data(data: Mapping[str, Any]) -> Recipe:
    """Return the recipe that `Recipe.to_data` wrote.

    Raises:
        ConfigError: A key is missing or unknown.
    """
    if set(data) != {"seed", "steps"} or not isinstance(data["steps"], Mapping):
        raise ConfigError(f"a recipe has the keys 'seed' and 'steps', got {sorted(map(str, data))}")
    if not isinstance(data["seed"], int) or not 0 <= data["seed"] < 2**64:
        raise ConfigError(f"a recipe's seed must be a whole number from 0, got {data['seed']!r}")
    steps = []
    for name, node in data["steps"].items():
        if not isinstance(node, Mapping) or not isinstance(node.get(TARGET), str):
            raise ConfigError(f"steps.{name} needs a _target_, the compressor's class")
        if not isinstance(name, str) or not all(isinstance(key, str) for key in node):
            raise ConfigError(f"steps.{name}: names of steps and their fields are text")
        values = {key: value for key, value in node.items() if key != TARGET}
        steps.append(Step(name=name, target=node[TARGET], values=values))
    return Recipe(steps=tuple(steps), seed=data["seed"])


def read_recipe(path: Path, trusted: Collection[str] = ()) -> Recipe:
    """Read a recipe.yaml.

    Args:
        path: The file.
        trusted: Packages that its compressors may be from, beside our own.

    Raises:
        ConfigError: There is no such file, it is no recipe, or it names code that is not trusted.
    """
    if not path.is_file():
        raise ConfigError(f"recipe={path}: no such file")
    data = read_yaml(path)
    check_targets(f"recipe={path}", data, trusted)
    return recipe_from_data(data)
