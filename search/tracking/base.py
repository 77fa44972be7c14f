"""Mirroring a study into a tracker: what every tracker offers, MLflow, and none at all."""

import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from search.tracking.mlflow_client import check_reachable
from search.tracking.mlflow_mirror import MlflowMirror
from search.trial_record import TrialRecord


class Mirror(Protocol):
    """An open study in a tracker; everything in it can be rebuilt from the records."""

    def sync(self, records: Sequence[TrialRecord]) -> None:
        """Write trials that are new or have new figures; what is there already is left alone."""
        ...

    def mark(self, front: Collection[int], hypervolume: Mapping[int, float]) -> None:
        """Mark the trials of the front, by their numbers, and write the hypervolume's history."""
        ...

    def finish(self, files: Sequence[Path], *, status: str = "FINISHED") -> None:
        """Store pictures and tables and close the study; status FINISHED, FAILED or KILLED."""
        ...

    def links(self, base: str | None = None) -> dict[str, str]:
        """Return ready links into the tracker's UI, by what they show."""
        ...


class Tracker(Protocol):
    """Where studies are mirrored; `_target_` in conf/tracking/."""

    def check(self) -> None:
        """Raise `TrackingError` if it cannot be reached, before anything is begun."""
        ...

    def open(
        self,
        study: str,
        runs_dir: Path,
        *,
        config_yaml: str,
        objectives: Mapping[str, str],
        parameters: Sequence[str],
        tags: Mapping[str, str],
    ) -> Mirror:
        """Open or find again the mirror of a study."""
        ...


@dataclass(frozen=True, kw_only=True)
class MlflowTracker:
    """MLflow, on a SQLite database in the runs folder or on a tracking server."""

    uri: str | None = None
    """None: `runs_dir/mlflow.db`, artefacts in `runs_dir/mlartifacts`."""
    experiment: str = "paredown"

    def __post_init__(self) -> None:
        if not self.experiment:
            raise ValueError("tracking.experiment must not be empty")
        if self.uri is not None and not re.match(r"[a-z][a-z0-9+.-]*:", self.uri):
            raise ValueError(f"tracking.uri must be like http://host:port, got {self.uri!r}")

    def check(self) -> None:
        """Raise `TrackingError` if the server or database accepts no connection."""
        if self.uri is not None:
            check_reachable(self.uri)

    def open(
        self,
        study: str,
        runs_dir: Path,
        *,
        config_yaml: str,
        objectives: Mapping[str, str],
        parameters: Sequence[str],
        tags: Mapping[str, str],
    ) -> MlflowMirror:
        """Open or find again the parent run of a study.

        `parameters` names all parameters of the space, `tags` go to the parent run. The run is
        found by an id kept in `runs_dir/<study>/tracking_id`, or by `paredown.study_id` among the
        tags, so that studies of one name on one server stay apart.

        Raises: TrackingError if the tracker cannot be reached or used.
        """
        identity = {"paredown.study_id": _study_id(runs_dir / study, tags)}
        return MlflowMirror.open(
            study=study,
            uri=self.uri or default_uri(runs_dir),
            experiment=self.experiment,
            artifacts=None if self.uri else (runs_dir / "mlartifacts").resolve().as_uri(),
            config_yaml=config_yaml,
            objectives=objectives,
            parameters=parameters,
            tags={**tags, **identity},
        )


@dataclass(frozen=True, kw_only=True)
class NoTracker:
    """No tracker: the study's own files are all there is."""

    def check(self) -> None:
        """Do nothing."""

    def open(
        self,
        study: str,
        runs_dir: Path,
        *,
        config_yaml: str,
        objectives: Mapping[str, str],
        parameters: Sequence[str],
        tags: Mapping[str, str],
    ) -> "NoTracker":
        """Return itself."""
        return self

    def sync(self, records: Sequence[TrialRecord]) -> None:
        """Do nothing."""

    def mark(self, front: Collection[int], hypervolume: Mapping[int, float]) -> None:
        """Do nothing."""

    def finish(self, files: Sequence[Path], *, status: str = "FINISHED") -> None:
        """Do nothing."""

    def links(self, base: str | None = None) -> dict[str, str]:
        """Return no links."""
        return {}


def database_path(runs_dir: Path) -> Path:
    """Return where the tracker keeps its database when no server is configured."""
    return runs_dir.resolve() / "mlflow.db"


def default_uri(runs_dir: Path) -> str:
    """Return the tracking URI of the database in a runs folder."""
    return f"sqlite:///{database_path(runs_dir)}"


def _study_id(folder: Path, tags: Mapping[str, str]) -> str:
    """Return the id that tells this study from another of its name, making it once."""
    given = tags.get("paredown.study_id")
    if given:
        return given
    path = folder / "tracking_id"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".part")
        draft.write_text(uuid.uuid4().hex[:12])
        draft.replace(path)
    return path.read_text().strip()
