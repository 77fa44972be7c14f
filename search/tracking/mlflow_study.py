"""The place of a study in MLflow: its experiment, its parent run, its views and common tags."""

import getpass
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.errors import TrackingError
from search.tracking.base import StudyDescription
from search.tracking.mlflow_client import connect, one_line_errors
from search.tracking.mlflow_views import study_views
from search.utils.provenance import code_version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True, kw_only=True)
class Destination:
    """The experiment in which studies are kept."""

    uri: str
    """Tracking URI of a server or a database."""
    experiment: str
    artifacts: str | None
    """Address of the folder for files of a new experiment; None: the server's default."""


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """The parent run of a study, open for writing."""

    client: "MlflowClient"
    uri: str
    experiment_id: str
    run_id: str
    study_id: str
    parameters: tuple[str, ...]
    """Names of all parameters of the space."""
    shared_tags: Mapping[str, str]
    """Tags that the parent run and all its children have in common."""

    def children(self) -> Iterator["Run"]:
        """Yield the runs of the study's trials, whatever their parent is."""
        query = f"tags.`paredown.study_id` = '{self.study_id}' and tags.`paredown.trial` != ''"
        return all_runs(self.client, [self.experiment_id], query)


def open_study_run(study: StudyDescription, study_id: str, destination: Destination) -> StudyRun:
    """Find the parent run by its tag `paredown.study_id`, or create it; refresh what it shows.

    Raises:
        TrackingError: MLflow cannot be reached or used.
    """
    client = connect(destination.uri)
    with one_line_errors(destination.uri):
        experiment_id = _experiment_id(client, destination)
        shared = _shared_tags(study.name, study_id)
        run_id = _parent_run(client, experiment_id, {**study.tags, **shared})
        views = study_views(study_id, study.objectives, study.parameters)
        _keep_views(client, experiment_id, views)
        client.log_text(run_id, study.config_yaml, "config.yaml")
    return StudyRun(
        client=client,
        uri=destination.uri,
        experiment_id=experiment_id,
        run_id=run_id,
        study_id=study_id,
        parameters=tuple(study.parameters),
        shared_tags=shared,
    )


def all_runs(client: "MlflowClient", experiment_ids: Sequence[str], query: str) -> Iterator["Run"]:
    """Yield every run that a query finds, page by page."""
    token = None
    while True:
        page = client.search_runs(list(experiment_ids), query, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _experiment_id(client: "MlflowClient", destination: Destination) -> str:
    """Return the id of the experiment, created if it does not exist."""
    name = destination.experiment
    found = client.get_experiment_by_name(name)
    if found is None:
        return client.create_experiment(name, artifact_location=destination.artifacts)
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"MLflow's experiment '{name}' is deleted: restore it, or set tracking.experiment"
        )
    return str(found.experiment_id)


def _parent_run(client: "MlflowClient", experiment_id: str, tags: Mapping[str, str]) -> str:
    """Return the id of the parent run with these tags, set to running; create it if needed."""
    query = f"tags.`paredown.study_id` = '{tags['paredown.study_id']}'"
    for run in all_runs(client, [experiment_id], f"{query} and tags.`paredown.kind` = 'study'"):
        client.update_run(run.info.run_id, status="RUNNING")
        for key, value in tags.items():
            if run.data.tags.get(key) != value:
                client.set_tag(run.info.run_id, key, value)
        return str(run.info.run_id)
    own = {"mlflow.runName": tags["paredown.study"], "paredown.kind": "study"}
    run = client.create_run(experiment_id, tags={**tags, **own})
    return str(run.info.run_id)


def _keep_views(client: "MlflowClient", experiment_id: str, views: Mapping[str, str]) -> None:
    """Write the views of a study as tags of its experiment, where they differ."""
    present = client.get_experiment(experiment_id).tags
    for key, value in views.items():
        if present.get(key) != value:
            client.set_experiment_tag(experiment_id, key, value)


def _shared_tags(study: str, study_id: str) -> dict[str, str]:
    known = code_version()
    tags = {
        "mlflow.user": _user(),
        "mlflow.source.name": "paredown",
        "mlflow.source.type": "LOCAL",
        "paredown.study": study,
        "paredown.study_id": study_id,
    }
    if "version" in known:
        tags["paredown.version"] = known["version"]
    if "commit" in known:
        tags["mlflow.source.git.commit"] = known["commit"].removesuffix("-dirty")
        tags["paredown.commit"] = known["commit"]
    return tags


def _user() -> str:
    """Return the login name, or `unknown` in a container whose user has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
