"""The place of a study in MLflow: its experiment, its views, its parent run and common tags."""

import getpass
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from search.errors import TrackingError
from search.utils.provenance import code_version

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def experiment_id_of(client: "MlflowClient", name: str, artifacts: str | None) -> str:
    """Return the id of an experiment, made if there is none, its files then under `artifacts`.

    Raises: TrackingError if the experiment is deleted.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        return client.create_experiment(name, artifact_location=artifacts)
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"MLflow's experiment '{name}' is deleted: restore it, or set tracking.experiment"
        )
    return str(found.experiment_id)


def keep_views(client: "MlflowClient", experiment_id: str, views: Mapping[str, str]) -> None:
    """Write the views of a study as tags of its experiment, where they differ."""
    present = client.get_experiment(experiment_id).tags
    for key, value in views.items():
        if present.get(key) != value:
            client.set_experiment_tag(experiment_id, key, value)


def parent_run(
    client: "MlflowClient", experiment_id: str, study: str, tags: Mapping[str, str]
) -> str:
    """Return the run of a study, set to running; create it if there is none."""
    query = f"tags.`paredown.study_id` = '{tags['paredown.study_id']}'"
    for run in all_runs(client, experiment_id, f"{query} and tags.`paredown.kind` = 'study'"):
        client.update_run(run.info.run_id, status="RUNNING")
        for key, value in tags.items():
            if run.data.tags.get(key) != value:
                client.set_tag(run.info.run_id, key, value)
        return str(run.info.run_id)
    run = client.create_run(
        experiment_id, tags={**tags, "mlflow.runName": study, "paredown.kind": "study"}
    )
    return str(run.info.run_id)


def all_runs(client: "MlflowClient", experiment_id: str, query: str) -> Iterator["Run"]:
    """Yield every run that a query finds, page by page."""
    token = None
    while True:
        page = client.search_runs([experiment_id], query, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def shared_tags(study: str, study_id: str) -> dict[str, str]:
    """Return the tags that the parent and all children have in common."""
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
