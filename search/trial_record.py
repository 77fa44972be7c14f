"""What the study keeps of one finished trial, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

KNOWN_MODEL = "the same model as trial"
"""How the reason begins why a trial of a model that was measured already was stopped."""
Value = None | bool | int | float | str


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One finished trial: what was asked for, what was measured, and how it ended."""

    number: int
    status: str
    """ok, stopped, infeasible, config_error, error, timeout, oom or crashed."""
    origin: str
    """Why this recipe was tried: baseline, rival:<name>, opening:<step>, joint, sampled or
    variation."""
    seed: int
    params: Mapping[str, Value]
    """The sampled values by their stable names, `<step>.<field>`; absent where not sampled."""
    recipe: Mapping[str, Any]
    """What was measured, as it stands in recipe.yaml: cut short where the notes say so."""
    recipe_hash: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Measured on the reloaded artefact; empty unless the status is ok."""
    verdict: str = ""
    """size gain, speed gain, both, or simulated only; empty unless the status is ok."""
    notes: str = ""
    """Where the artefact could not follow the recipe; empty where it could."""
    violations: Mapping[str, float] = field(default_factory=dict)
    """By constraint, how far the metric lies beyond its bound; satisfied when at most 0."""
    rungs: Sequence[Mapping[str, Any]] = ()
    """The figures in memory at each rung that the trial reached before it was measured."""
    training: str = ""
    """A hash of the recipe up to the end of its divided training; empty without one."""
    digest: str = ""
    """Of the untrained model and the training to come; equal digests give equal models."""
    error: str = ""
    """The traceback or the reason, when the status is not ok."""
    started: float
    """Unix time in seconds."""
    finished: float
    """Unix time in seconds."""

    @property
    def feasible(self) -> bool:
        """True when the trial was measured and every constraint holds."""
        return self.status == "ok" and all(v <= 0 for v in self.violations.values())
