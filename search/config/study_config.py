"""The checked configuration of a study, built from a composed one without importing torch."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import yaml

from search.config.constraints import Constraint, parse_constraints
from search.config.former_keys import with_present_keys
from search.config.latency_settings import LatencySettings
from search.config.metric_names import check_metric
from search.config.preferences import Preferences
from search.config.schema import check_types
from search.config.study_name import check_study_name
from search.errors import ConfigError
from search.recipe.parsing import parse_space
from search.recipe.rungs import Rungs
from search.recipe.space import Space
from search.utils.provenance import code_version
from search.utils.secrets import FROM_ENVIRONMENT, without_secrets

MAX_TRIALS = 10_000_000
MAX_OBJECTIVES = 4
"""Largest number of objectives: with more, hardly any trial dominates another."""
FOLLOWS_TASK = "auto"
"""Direction of the score in a configuration that leaves it to the task."""
_UNCHANGED = (
    "trials",
    "seed",
    "timeout",
    "stagnation",
    "retries",
    "warm_start",
    "refuse_early",
    "cache_prefixes",
    "mutate_front",
    "precision",
    "storage",
    "task",
    "sampler",
)
"""Fields of `StudyConfig` that are taken from the composed configuration unchanged."""


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """The settings of a study, each parsed into its type and checked.

    Raises:
        ConfigError: A value lies outside its range; the message names both.
    """

    study: str
    """Name of the study and of its folder."""
    trials: int
    """Finished trials that the study has in the end."""
    seed: int
    timeout: float | None
    """Seconds from the launch until which all trials end; None for no limit."""
    runs_dir: Path
    """Folder of all studies."""
    storage: str | None
    """Address of the database that keeps the study, or the name of a variable that holds it; None
    for a journal in the study's folder."""
    constraints: tuple[Constraint, ...]
    latency: LatencySettings
    stagnation: int | None
    """Number of finished trials over which the hypervolume must grow by 1 %, or the study ends;
    None for no such limit."""
    retries: int
    """How often a trial is repeated that failed for a reason outside its recipe."""
    preferences: Preferences
    warm_start: bool
    """Whether reference recipes, recipes from mild to strong and encodings come before the
    sampler."""
    refuse_early: bool
    """Whether a trial ends before training if its model is known or cannot meet a constraint."""
    cache_prefixes: bool
    """Whether models between steps are kept on disk for recipes that begin alike."""
    mutate_front: bool
    """Whether two of three trials vary a member of the front."""
    precision: str | None
    """`fastest` for recoveries in the precision that the preparation measures to be faster; None
    for that of each step."""
    rungs: Rungs
    space: Space
    task: Mapping[str, Any]
    """`_target_` of the task and its arguments."""
    sampler: Mapping[str, Any]
    """`_target_` of an Optuna sampler and its arguments without the seed."""
    objectives: Mapping[str, str]
    """Direction by metric, `maximize` or `minimize`, the most important metric first."""
    score_follows_task: bool
    """Whether the direction of the score is the one that most tasks have until the task is known,
    which `directed` then applies."""
    executor_node: Mapping[str, Any]
    """`_target_` of the executor and its arguments."""
    tracking_node: Mapping[str, Any]
    """`_target_` of the tracker and its arguments."""
    composed: Mapping[str, Any]
    """The whole composed configuration, kept in config.yaml."""

    def __post_init__(self) -> None:
        """Check every value that is not checked by its own type."""
        if not 1 <= self.trials <= MAX_TRIALS:
            raise ConfigError(f"trials must be in [1, {MAX_TRIALS}], got {self.trials}")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed must be in [0, 2**32), got {self.seed}")
        if self.timeout is not None and not self.timeout > 0:
            raise ConfigError(f"timeout must be above 0 seconds or null, got {self.timeout:g}")
        check_study_name(self.study)
        if self.stagnation is not None and self.stagnation < 1:
            raise ConfigError(f"stagnation must be at least 1 or null, got {self.stagnation}")
        if self.retries < 0:
            raise ConfigError(f"retries must be at least 0, got {self.retries}")
        if self.precision not in (None, "fastest"):
            raise ConfigError(
                f"precision must be fastest or null, got {self.precision!r}; that of one step is "
                "steps.distil.precision"
            )
        self._check_storage()
        self._check_objectives()

    def _check_storage(self) -> None:
        if self.storage is None or self.storage.startswith(FROM_ENVIRONMENT):
            return
        if not re.match(r"postgresql://[^/]*/[^/]+$", self.storage):
            raise ConfigError(
                "storage must be like postgresql://HOST/DATABASE, or null for a journal in the "
                f"study's folder, got {without_secrets(self.storage)!r}"
            )
        if "@" in urlsplit(self.storage).netloc:
            raise ConfigError(
                "storage has a user or a password, which config.yaml does not keep: put them into "
                "PGUSER and PGPASSWORD or ~/.pgpass, or give all of it as storage='${oc.env:NAME}'"
            )

    def _check_objectives(self) -> None:
        if not 1 <= len(self.objectives) <= MAX_OBJECTIVES:
            raise ConfigError(
                f"objectives must be 1 to {MAX_OBJECTIVES} metrics, each 'maximize' or "
                f"'minimize', got {len(self.objectives)}: {', '.join(self.objectives) or '-'}; "
                "bound the others with constraints"
            )
        for name, direction in self.objectives.items():
            check_metric(f"objectives.{name}", name)
            if direction not in ("maximize", "minimize"):
                of_the_task = ", or 'auto' for that of the task" if name == "score" else ""
                raise ConfigError(
                    f"objectives.{name} must be 'maximize' or 'minimize'{of_the_task}, got "
                    f"{direction!r}"
                )
        self.preferences.check_names(self.objectives)

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.runs_dir / self.study

    @property
    def threads(self) -> int:
        """Number of threads that torch uses in one trial."""
        return int(self.executor_node.get("threads", 1))

    def trial_folder(self, number: int) -> Path:
        """Return the folder of one trial."""
        return self.folder / "trials" / f"{number:04d}"

    def directed(self, *, maximize: bool) -> Self:
        """Return the configuration with the direction in which the task's score is better.

        Raises:
            ConfigError: The configuration says the other one.
        """
        wanted = "maximize" if maximize else "minimize"
        if self.score_follows_task:
            objectives = {**self.objectives, "score": wanted}
            composed = {**self.composed, "objectives": objectives}
            return replace(self, objectives=objectives, composed=composed, score_follows_task=False)
        if self.objectives.get("score", wanted) != wanted:
            raise ConfigError(
                f"objectives.score is '{self.objectives['score']}', but the task's score is better "
                f"when {'higher' if maximize else 'lower'}; set objectives.score={wanted}, or "
                f"{FOLLOWS_TASK} for that of the task"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """Return as plain data the settings that must stay the same while a study grows.

        Trials with other settings would not compare. The keys and their order are those that stored
        studies keep.
        """
        return {
            "space": self.space.hash,
            "task": dict(self.task),
            "seed": self.seed,
            "sampler": dict(self.sampler),
            "objectives": dict(self.objectives),
            "constraints": [str(constraint) for constraint in self.constraints],
            "latency": asdict(self.latency),
            "rungs": asdict(self.rungs),
            "threads": self.threads,
        }

    def tags(self) -> dict[str, str]:
        """Return the tags that describe the study in the tracker."""
        return {
            "paredown.task": str(self.task["_target_"]),
            "paredown.sampler": str(self.sampler["_target_"]).rpartition(".")[2],
            "paredown.seed": str(self.seed),
            "paredown.objectives": ", ".join(f"{d} {n}" for n, d in self.objectives.items()),
        }

    def to_yaml(self) -> str:
        """Return the text of config.yaml: the composed configuration and the code version.

        Passwords in addresses are hidden; values from the environment are names.
        """
        kept = yaml.safe_dump({**self.composed, "code": code_version()}, sort_keys=False)
        return without_secrets(kept)


def study_config(
    composed: Mapping[str, Any], task_name: str, overrides: Sequence[str] = ()
) -> StudyConfig:
    """Check a composed configuration; imports no torch.

    Args:
        composed: The composed `search` configuration without Hydra's own node, resolved. Former
            keys are accepted with a line on stderr.
        task_name: The option chosen in the group `task`, the default name of the study.
        overrides: The overrides that the configuration was composed with; they have precedence
            over former keys.

    Raises:
        ConfigError: A key is unknown, a type is wrong or a value lies outside its range.
    """
    checked = check_types(with_present_keys(composed, overrides))
    seed = checked["seed"]
    objectives = checked["objectives"]
    follows = objectives.get("score") == FOLLOWS_TASK
    default_name = task_name if seed == 0 else f"{task_name}-seed{seed}"
    return StudyConfig(
        **{name: checked[name] for name in _UNCHANGED},
        study=checked["study"] or default_name,
        runs_dir=Path(checked["runs_dir"]),
        constraints=parse_constraints(checked["constraints"]),
        latency=LatencySettings(**checked["latency"]),
        preferences=Preferences(**checked["preferences"]),
        rungs=Rungs(**checked["rungs"]),
        space=parse_space(checked["steps"], checked["choices"]),
        objectives={**objectives, "score": "maximize"} if follows else objectives,
        score_follows_task=follows,
        executor_node=checked["executor"],
        tracking_node=checked["tracking"],
        composed=checked,
    )
