"""What the study keeps of one finished trial, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

KNOWN_MODEL = "the same model as trial"
"""How the reason begins why a trial of a model that was measured already was stopped."""
Value = None | bool | int | float | str
FORMER_KEYS = {"outcome": "status", "label": "origin"}
"""Names of fields in journals that version 0.1.0 wrote."""
FORMER_STATUS = {"refused": "config_error"}


@dataclass(frozen=True, kw_only=True)
class ModelEstimate:
    """What is known of a model in memory, before it is written and measured as an artefact."""

    share: float
    """The share of its training that the model has had, in [0, 1]."""
    model: str
    """Digest of the model's structure and weights."""
    estimated_bytes: float
    """Size of the packed file, from the entropy of the weights."""
    macs: float
    """Multiply-accumulates of one example."""
    parameters: int
    nonzeros: int
    integers: bool
    """True if some layers are to compute in integers."""
    score: float | None = None
    """On validation data; None where the model is not scored, as before its training."""
    score_standard_error: float | None = None
    nll: float | None = None
    """The task's loss on validation data."""

    def to_data(self) -> dict[str, Any]:
        """Return the estimate as plain data, without what is not known."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the estimate that `to_data` described."""
        return cls(**data)


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One finished trial: what was asked for, what was measured, and how it ended."""

    number: int
    status: str
    """ok, stopped, infeasible, config_error, error, timeout, oom or crashed."""
    origin: str
    """Why this recipe was tried: baseline, rival:<name>, path:<direction>:<strength>,
    encoding:<trial>, opening:<step>, variation, sampled or finish:<trial>; joint in 0.1.0."""
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
    """Where the artefact does not follow the recipe; empty where it does."""
    violations: Mapping[str, float] = field(default_factory=dict)
    """By constraint, how far the metric lies beyond its bound; satisfied when at most 0."""
    rungs: Sequence[ModelEstimate] = ()
    """What was estimated at each rung that the trial reached before it was measured."""
    training: str = ""
    """Hash of the recipe up to the end of its divided training; empty without one."""
    digest: str = ""
    """Digest of the untrained model and the training to come; equal digests give equal models."""
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

    def to_data(self) -> dict[str, Any]:
        """Return the record as plain data, the form it has in the journal."""
        return {**asdict(self), "rungs": [estimate.to_data() for estimate in self.rungs]}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the record that `to_data` described, in this version or in 0.1.0."""
        named = current_keys(data)
        status = FORMER_STATUS.get(named["status"], named["status"])
        rungs = tuple(ModelEstimate.from_data(estimate) for estimate in named["rungs"])
        return cls(**{**named, "status": status, "rungs": rungs})


def current_keys(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain data with the names of fields that this version uses."""
    return {FORMER_KEYS.get(key, key): value for key, value in data.items()}
