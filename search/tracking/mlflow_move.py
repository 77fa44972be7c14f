"""Moving the mirror of a study to another experiment or server: none is left where it was."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from search.errors import TrackingError
from search.tracking.base import StudyDescription
from search.tracking.mlflow_client import connect, one_line_errors
from search.tracking.mlflow_database import default_uri
from search.tracking.mlflow_study import StudyRun, all_runs
from search.utils.files import write_atomically
from search.utils.secrets import without_secrets

PLACE = "tracking_place.json"
"""The file in a study's folder that says where its mirror is."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a mirror is, as the configuration says it, without a password."""

    uri: str | None
    """None: the database of the runs folder, wherever that is."""
    experiment: str


def leave_former_place(study: StudyDescription, opened: StudyRun, place: Place) -> str:
    """Delete the runs of a study where its mirror was before, if that is elsewhere.

    The journal has all that was in them, and MLflow keeps deleted runs until `mlflow gc`.

    Args:
        study: What is mirrored.
        opened: Its parent run in the present place.
        place: The present place.

    Returns:
        What was done, in a line; nothing if there was nothing to do.
    """
    former = _former_place(study.folder, place)
    if former == place and (study.folder / PLACE).exists():
        return ""
    uri = opened.uri if former.uri == place.uri else former.uri or default_uri(study.runs_dir)
    where = f"experiment '{former.experiment}' at {without_secrets(uri)}"
    try:
        deleted = _delete_runs(uri, opened)
    except TrackingError as error:
        return f"the former mirror of the study in {where} stays as it is: {error}"
    with write_atomically(study.folder / PLACE) as file:
        file.write(json.dumps(asdict(place)).encode())
    return f"the mirror moved: its {deleted} runs in {where} are deleted" if deleted else ""


def present_place(uri: str | None, experiment: str) -> Place:
    """Return the place that a configuration names."""
    return Place(uri=None if uri is None else without_secrets(uri), experiment=experiment)


def _former_place(folder: Path, present: Place) -> Place:
    """Return where the mirror was; its present server, if that was not kept or is damaged."""
    try:
        return Place(**json.loads((folder / PLACE).read_text()))
    except (OSError, ValueError, TypeError):
        return present


def _delete_runs(uri: str, opened: StudyRun) -> int:
    """Delete the runs of a study but for those in its present experiment; return their number."""
    gone = uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists()
    if gone:
        return 0
    client = connect(uri)
    with one_line_errors(uri):
        kept = opened.experiment_id if uri == opened.uri else None
        others = [e.experiment_id for e in client.search_experiments() if e.experiment_id != kept]
        if not others:
            return 0
        query = f"tags.`paredown.study_id` = '{opened.study_id}'"
        found = list(all_runs(client, others, query))
        # The parent goes last, so that a later call finds what this one leaves.
        for run in sorted(found, key=lambda run: run.data.tags.get("paredown.kind") == "study"):
            client.delete_run(run.info.run_id)
    return len(found)
