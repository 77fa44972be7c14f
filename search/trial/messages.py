"""What the driver sends to a worker and what the worker sends back, one request and reply a job.

Requests and replies cross processes as plain data (numbers, text, lists and mappings), so that any
executor can carry them and `json` can write them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from search.config.latency_settings import LatencySettings
from search.proposal.costs import Costs
from search.proposal.strength.damage import DamageCurve
from search.recipe.recipe import Recipe, recipe_from_data
from search.trial.screen import Screen
from search.trial_record import ModelEstimate

PHASE = "preparation: "
"""How a line of the log begins that names what the preparation does from then on."""


@dataclass(frozen=True, kw_only=True)
class JobSetting:
    """What every job of a study needs."""

    task: Mapping[str, Any]
    """The node of the configuration that builds the user's task."""
    baseline: Path
    """Folder of the baseline's artefact and metrics."""
    latency: LatencySettings
    threads: int
    """Threads that torch computes with."""

    def to_data(self) -> dict[str, Any]:
        """Return the setting as plain data."""
        return asdict(self) | {"baseline": str(self.baseline)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the setting that `to_data` described."""
        known = {"baseline": Path(data["baseline"]), "latency": LatencySettings(**data["latency"])}
        return cls(**{**data, **known})


@dataclass(frozen=True, kw_only=True)
class PrepareRequest:
    """Build the task, measure the baseline and try each step once."""

    job: ClassVar[str] = "search.trial.jobs:prepare_job"

    setting: JobSetting
    anchors: Mapping[str, Recipe]
    """By step, the recipe of that step alone at its anchor."""
    probes: Mapping[str, Sequence[tuple[float, Recipe]]]
    """By step, ascending shares of its range, each with the recipe of that step alone."""
    begun: bool
    """True if the study has measured its baseline, which is then only checked."""

    def to_data(self) -> dict[str, Any]:
        """Return the request as plain data."""
        return {
            "setting": self.setting.to_data(),
            "anchors": {name: recipe.to_data() for name, recipe in self.anchors.items()},
            "probes": {
                name: [[share, recipe.to_data()] for share, recipe in probes]
                for name, probes in self.probes.items()
            },
            "begun": self.begun,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the request that `to_data` described."""
        return cls(
            setting=JobSetting.from_data(data["setting"]),
            anchors={name: recipe_from_data(node) for name, node in data["anchors"].items()},
            probes={
                name: [(share, recipe_from_data(node)) for share, node in probes]
                for name, probes in data["probes"].items()
            },
            begun=data["begun"],
        )


@dataclass(frozen=True, kw_only=True)
class PrepareReply:
    """The baseline's metrics, and what each step can do to the model."""

    metrics: Mapping[str, float]
    maximize: bool
    """True if a higher score of the task is better."""
    infeasible: Mapping[str, str]
    """By step, why it cannot act on this model."""
    failing: Mapping[str, str]
    """By step, the error that it ends with on this model."""
    skipped_layers: Mapping[str, Mapping[str, str]]
    """By step and layer, why the step leaves the layer as it is."""
    outputs: str
    """What the distilled output is, in words."""
    tokens: int = 0
    """Tokens of one example, where the model gives classes for each; 0 for another model."""
    damage: Mapping[str, DamageCurve] = field(default_factory=dict)
    """By step, the damage that it does alone."""
    costs: Costs | None = None
    """What the parts of a trial cost; None for a study that was begun."""
    notes: Sequence[str] = ()
    """What was changed in the user's model and data, and what else is to be known of the task."""

    def to_data(self) -> dict[str, Any]:
        """Return the reply as plain data."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the reply that `to_data` described."""
        damage = {name: DamageCurve.from_data(curve) for name, curve in data["damage"].items()}
        costs = None if data["costs"] is None else Costs.from_data(data["costs"])
        return cls(**{**data, "damage": damage, "costs": costs})


@dataclass(frozen=True, kw_only=True)
class TrialRequest:
    """Screen one recipe and, unless it is stopped, evaluate it."""

    job: ClassVar[str] = "search.trial.jobs:trial_job"

    setting: JobSetting
    recipe: Recipe
    folder: Path
    """Where the artefact is written."""
    prefix_folder: Path | None
    """Where models between steps are kept on disk; None to keep them in memory only."""
    screen: Screen

    def to_data(self) -> dict[str, Any]:
        """Return the request as plain data."""
        return {
            "setting": self.setting.to_data(),
            "recipe": self.recipe.to_data(),
            "folder": str(self.folder),
            "prefix_folder": None if self.prefix_folder is None else str(self.prefix_folder),
            "screen": self.screen.to_data(),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the request that `to_data` described."""
        prefix_folder = data["prefix_folder"]
        return cls(
            setting=JobSetting.from_data(data["setting"]),
            recipe=recipe_from_data(data["recipe"]),
            folder=Path(data["folder"]),
            prefix_folder=None if prefix_folder is None else Path(prefix_folder),
            screen=Screen.from_data(data["screen"]),
        )


@dataclass(frozen=True, kw_only=True)
class TrialReply:
    """What the screening saw of a trial and, unless it was stopped, what was measured."""

    metrics: Mapping[str, float]
    """Measured on the reloaded artefact; empty if the trial was stopped."""
    verdict: str = ""
    notes: str = ""
    """Where the artefact does not follow the recipe; empty where it does."""
    recipe: Recipe | None = None
    """What was measured, maybe with a shorter recovery than asked for; None if nothing was."""
    training: str = ""
    """Hash of the measured recipe up to the end of its divided recovery; empty without one."""
    stopped: str = ""
    """Why the trial was stopped before it was measured; empty if it was measured."""
    rungs: Sequence[ModelEstimate] = ()
    digest: str = ""
    """Digest of the untrained model and of the training to come."""

    def to_data(self) -> dict[str, Any]:
        """Return the reply as plain data."""
        return {
            **asdict(self),
            "recipe": None if self.recipe is None else self.recipe.to_data(),
            "rungs": [estimate.to_data() for estimate in self.rungs],
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the reply that `to_data` described."""
        recipe = None if data["recipe"] is None else recipe_from_data(data["recipe"])
        rungs = tuple(ModelEstimate.from_data(estimate) for estimate in data["rungs"])
        return cls(**{**data, "recipe": recipe, "rungs": rungs})


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """Score an artefact on one split of the task's data."""

    job: ClassVar[str] = "search.trial.jobs:score_job"

    setting: JobSetting
    artefact: Path
    split: str
    """`validation` or `test`."""
    samples: Path | None = None
    """File for the score of each example, `[N]`, where the task scores each; None to keep none."""

    def to_data(self) -> dict[str, Any]:
        """Return the request as plain data."""
        setting = self.setting.to_data()
        samples = None if self.samples is None else str(self.samples)
        return {
            "setting": setting,
            "artefact": str(self.artefact),
            "split": self.split,
            "samples": samples,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the request that `to_data` described."""
        setting = JobSetting.from_data(data["setting"])
        samples = data.get("samples")
        return cls(
            setting=setting,
            artefact=Path(data["artefact"]),
            split=data["split"],
            samples=None if samples is None else Path(samples),
        )


@dataclass(frozen=True, kw_only=True)
class ScoreReply:
    """The score of an artefact on one split."""

    score: float
    score_standard_error: float
    nll: float

    def to_data(self) -> dict[str, float]:
        """Return the reply as plain data."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, float]) -> Self:
        """Return the reply that `to_data` described."""
        return cls(**data)


Request = PrepareRequest | TrialRequest | ScoreRequest
