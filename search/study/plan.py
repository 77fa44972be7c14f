"""A trial that was asked for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from search.trial_record import Value, current_keys


@dataclass(frozen=True, kw_only=True)
class TrialPlan:
    """Everything that is needed to run a trial, now or after a restart."""

    number: int
    origin: str
    """Why this recipe is tried, as in `TrialRecord`."""
    seed: int
    params: Mapping[str, Value]
    recipe: Mapping[str, Any]
    """The recipe as plain data, the form of recipe.yaml."""
    recipe_hash: str

    def to_data(self) -> dict[str, Any]:
        """Return the plan as plain data, the form it has in the journal."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the plan that `to_data` described, in this version or in 0.1.0."""
        return cls(**current_keys(data))
