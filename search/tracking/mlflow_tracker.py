"""MLflow as a tracker: its options, and the identity by which it finds a study again."""

import re
import uuid
from dataclasses import dataclass
from urllib.parse import urlsplit

from search.tracking.base import StudyDescription
from search.tracking.mlflow_client import check_reachable
from search.tracking.mlflow_database import artifacts_of, default_uri
from search.tracking.mlflow_mirror import MlflowMirror, open_mirror
from search.tracking.mlflow_move import leave_former_place, present_place
from search.tracking.mlflow_study import Destination
from search.utils.files import write_atomically


@dataclass(frozen=True, kw_only=True)
class MlflowTracker:
    """MLflow, on a SQLite database in the runs folder or on a tracking server.

    Raises:
        ValueError: the experiment is empty, or the URI has no scheme.
    """

    uri: str | None = None
    """Address of a server; None: `runs_dir/mlflow.db`, with artefacts in `runs_dir/mlartifacts`."""
    experiment: str = "paredown"
    """Name of the experiment that holds the studies."""

    def __post_init__(self) -> None:
        if not self.experiment:
            raise ValueError("tracking.experiment must not be empty")
        if self.uri is not None and not re.match(r"[a-z][a-z0-9+.-]*:", self.uri):
            raise ValueError(f"tracking.uri must be like http://host:port, got {self.uri!r}")
        if self.uri is not None:
            _ = urlsplit(self.uri).port  # raises ValueError for one that no host has

    def check(self) -> None:
        """Check that the server or database accepts connections.

        Raises:
            TrackingError: it does not.
        """
        if self.uri is not None:
            check_reachable(self.uri)

    def open(self, study: StudyDescription) -> MlflowMirror:
        """Open the parent run of a study, the existing one if there is one.

        The run is found by the study's id, so that studies of one name on one server stay apart:
        the tag `paredown.study_id` if it is given, else the id in `runs_dir/<study>/tracking_id`.
        A mirror in another experiment or at another address, where the study was before, is
        deleted.

        Raises:
            TrackingError: MLflow cannot be reached or used.
        """
        uri = self.uri or default_uri(study.runs_dir)
        destination = Destination(uri=uri, experiment=self.experiment, artifacts=artifacts_of(uri))
        mirror = open_mirror(study, study_id(study), destination)
        place = present_place(self.uri, self.experiment)
        mirror.note = leave_former_place(study, mirror.study, place)
        return mirror


def study_id(study: StudyDescription) -> str:
    """Return the id that distinguishes a study from others of its name; it is made only once."""
    given = study.tags.get("paredown.study_id")
    if given:
        return given
    path = study.folder / "tracking_id"
    if not path.exists():
        with write_atomically(path) as file:
            file.write(uuid.uuid4().hex[:12].encode())
    return path.read_text().strip()
