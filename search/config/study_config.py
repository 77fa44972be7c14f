"""A composed configuration, checked in two stages: its shape at once, its values with torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from search.config.constraints import Constraint, parse_constraints
from search.config.metric_names import check_measure
from search.config.preferences import Preferences
from search.errors import ConfigError
from search.recipe.space import Space, parse_space
from search.utils.instantiate import build
from search.utils.provenance import code_version

if TYPE_CHECKING:
    from search.executors.base import Executor
    from search.tracking.base import Tracker

MOST_OBJECTIVES = 4
"""With more, hardly any trial beats another, and the front says nothing."""


@dataclass
class LatencySchema:
    """The keys and types of `latency`."""

    batch_size: int = MISSING
    threads: int = MISSING
    rounds: int = MISSING


@dataclass
class RungsSchema:
    """The keys and types of `rungs`."""

    count: int = MISSING
    factor: float = MISSING


@dataclass
class PreferencesSchema:
    """The keys and types of `preferences`."""

    reference: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)


@dataclass
class Schema:
    """The keys and types at the top of a search's configuration; groups are checked elsewhere."""

    study: str | None = None
    trials: int = MISSING
    seed: int = MISSING
    timeout: float | None = None
    runs_dir: str = MISSING
    constraints: dict[str, Any] = field(default_factory=dict)
    latency: LatencySchema = field(default_factory=LatencySchema)
    stagnation: int | None = None
    preferences: PreferencesSchema = field(default_factory=PreferencesSchema)
    warm_start: bool = MISSING
    refuse_early: bool = MISSING
    cache_prefixes: bool = MISSING
    mutate_front: bool = MISSING
    rungs: RungsSchema = field(default_factory=RungsSchema)
    steps: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    sampler: dict[str, Any] = field(default_factory=dict)
    objectives: dict[str, str] = field(default_factory=dict)
    executor: dict[str, Any] = field(default_factory=dict)
    tracking: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Everything that a study is told, as plain data.

    Raises:
        ConfigError: a value lies outside its range; the message names both.
    """

    study: str
    """Its name, and that of its folder."""
    trials: int
    seed: int
    timeout: float | None
    """Seconds after which no trial is started."""
    runs_dir: Path
    constraints: tuple[Constraint, ...]
    latency: Mapping[str, int]
    stagnation: int | None
    """Finished trials over which the hypervolume must grow by 1 %, else no trial is started."""
    preferences: Preferences
    warm_start: bool
    refuse_early: bool
    cache_prefixes: bool
    mutate_front: bool
    rungs: Mapping[str, Any]
    space: Space
    task: Mapping[str, Any]
    sampler: Mapping[str, Any]
    objectives: Mapping[str, str]
    executor_node: Mapping[str, Any]
    tracking_node: Mapping[str, Any]
    composed: Mapping[str, Any]
    """The whole configuration as it was composed, kept in config.yaml."""

    def __post_init__(self) -> None:
        """Check the values that need no torch."""
        if self.trials < 1:
            raise ConfigError(f"trials must be at least 1, got {self.trials}")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed must be in [0, 2**32), got {self.seed}")
        if self.timeout is not None and not self.timeout > 0:
            raise ConfigError(f"timeout must be above 0 seconds or null, got {self.timeout:g}")
        unfit = set(self.study) & set("/\\:*?\"<>|'") or self.study.startswith(".")
        if not self.study or unfit:
            raise ConfigError(f"study must be usable as a folder's name, got {self.study!r}")
        if self.stagnation is not None and self.stagnation < 1:
            raise ConfigError(f"stagnation must be at least 1 or null, got {self.stagnation}")
        self._check_objectives()

    def _check_objectives(self) -> None:
        if not 1 <= len(self.objectives) <= MOST_OBJECTIVES:
            raise ConfigError(
                f"objectives must be 1 to {MOST_OBJECTIVES} figures, each 'maximize' or "
                f"'minimize', got {len(self.objectives)}: {', '.join(self.objectives) or '-'}; "
                "bound the others with constraints"
            )
        for name, direction in self.objectives.items():
            check_measure(f"objectives.{name}", name)
            if direction not in ("maximize", "minimize"):
                raise ConfigError(
                    f"objectives.{name} must be 'maximize' or 'minimize', got {direction!r}"
                )
        self.preferences.check_names(self.objectives)

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self.runs_dir / self.study

    @property
    def threads(self) -> int:
        """Threads that torch computes with in one trial."""
        return int(self.executor_node.get("threads", 1))

    def trial_folder(self, number: int) -> Path:
        """Return the folder of one trial."""
        return self.folder / "trials" / f"{number:04d}"

    def identity(self) -> dict[str, Any]:
        """Return what must not change while a study grows, since trials would not compare."""
        return {
            "space": self.space.hash,
            "task": dict(self.task),
            "seed": self.seed,
            "sampler": dict(self.sampler),
            "objectives": dict(self.objectives),
            "constraints": [str(constraint) for constraint in self.constraints],
            "latency": dict(self.latency),
            "rungs": dict(self.rungs),
            "threads": self.threads,
        }

    def tags(self) -> dict[str, str]:
        """Return what the tracker shows of the study."""
        return {
            "paredown.task": str(self.task["_target_"]),
            "paredown.sampler": str(self.sampler["_target_"]).rpartition(".")[2],
            "paredown.seed": str(self.seed),
            "paredown.objectives": ", ".join(f"{d} {n}" for n, d in self.objectives.items()),
        }

    def to_yaml(self) -> str:
        """Return the text of config.yaml: what was composed, and the code that runs it."""
        return yaml.safe_dump({**self.composed, "code": code_version()}, sort_keys=False)

    def executor(self) -> "Executor":
        """Build the executor; raise `ConfigError` if it refuses a name or a value."""
        return cast("Executor", build("executor", self.executor_node))

    def tracker(self) -> "Tracker":
        """Build the tracker; raise `ConfigError` if it refuses a name or a value."""
        return cast("Tracker", build("tracking", self.tracking_node))


def study_config(composed: Mapping[str, Any], task_name: str) -> StudyConfig:
    """Check a composed configuration and return it as plain data; imports no torch.

    Arguments:
        composed: the composed `search` configuration without Hydra's own node, resolved.
        task_name: the option chosen in the group `task`, the default name of the study.

    Raises:
        ConfigError: a key is unknown, a type is wrong, a range is empty.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Schema), dict(composed))
        checked = cast(dict[str, Any], OmegaConf.to_container(merged, throw_on_missing=True))
    except OmegaConfBaseException as error:
        raise ConfigError(unknown_key(error)) from error
    seed = checked["seed"]
    default_name = task_name if seed == 0 else f"{task_name}-seed{seed}"
    return StudyConfig(
        study=checked["study"] or default_name,
        trials=checked["trials"],
        seed=seed,
        timeout=checked["timeout"],
        runs_dir=Path(checked["runs_dir"]),
        constraints=parse_constraints(checked["constraints"]),
        latency=checked["latency"],
        stagnation=checked["stagnation"],
        preferences=Preferences(**checked["preferences"]),
        warm_start=checked["warm_start"],
        refuse_early=checked["refuse_early"],
        cache_prefixes=checked["cache_prefixes"],
        mutate_front=checked["mutate_front"],
        rungs=checked["rungs"],
        space=parse_space(checked["steps"], checked["choices"]),
        task=checked["task"],
        sampler=checked["sampler"],
        objectives=checked["objectives"],
        executor_node=checked["executor"],
        tracking_node=checked["tracking"],
        composed=checked,
    )


def unknown_key(error: OmegaConfBaseException) -> str:
    """Return what OmegaConf says in one line, and after a typo the nearest key that is known."""
    message = str(error.msg or error).splitlines()[0]
    parent = getattr(error, "parent_node", None)
    known = list(Schema.__dataclass_fields__)
    if OmegaConf.is_dict(parent):
        known = [str(key) for key in cast(DictConfig, parent)]
    close = get_close_matches(str(error.key), known, n=1)
    hint = f"; did you mean '{close[0]}'?" if close and close[0] != error.key else ""
    return f"{error.full_key or error.key}: {message}{hint}"


def existing_study(arguments: Mapping[str, Any]) -> Path:
    """Return the folder of a study that was begun.

    Raises:
        ConfigError: there is no such study; the message names those that there are.
    """
    runs_dir, name = Path(arguments["runs_dir"]), arguments["study"]
    folder = runs_dir / str(name)
    if name is None or not (folder / "config.yaml").is_file():
        known = sorted(path.parent.name for path in runs_dir.glob("*/config.yaml"))
        raise ConfigError(f"no study '{name}' in {runs_dir}; there are: {', '.join(known) or '-'}")
    return folder


def read_config(folder: Path) -> StudyConfig:
    """Return the configuration that a study was last run with."""
    composed = yaml.safe_load((folder / "config.yaml").read_text())
    composed.pop("code")
    return study_config(composed | {"study": folder.name, "runs_dir": str(folder.parent)}, "")
