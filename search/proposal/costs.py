"""What the parts of a trial cost on this model, these data and this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from compressors.kinds import CompressorKind
from search.recipe.recipe import Recipe
from search.recipe.rungs import EPOCHS


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds, measured on the uncompressed model in the preparation."""

    epoch: float
    """Of training for one pass over the data."""
    file: float
    """Of all else in a trial: to build the task, to write the file and to measure it."""
    precision: str
    """The precision, float32 or bfloat16, in which training is faster; `epoch` is in this one."""

    def seconds(self, recipe: Recipe) -> float:
        """Return the seconds that a recipe takes without models known from other trials."""
        return self.file + self.epoch * training_epochs(recipe)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the costs that `dataclasses.asdict` described."""
        return cls(**data)


def training_epochs(recipe: Recipe) -> float:
    """Return the passes over the data of all recoveries of a recipe."""
    trained = [s for s in recipe.steps if s.compressor().kind is CompressorKind.RECOVERS]
    return float(sum(step.values.get(EPOCHS) or 0 for step in trained))
