"""Addresses in MLflow's UI that open a study in its most useful views."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from search.tracking.mlflow_client import connect, one_line_errors
from search.tracking.mlflow_views import view_key

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MODE = {"workflowType": "machine_learning"}
"""Without it, a fresh browser profile opens the view made for prompts and traces."""


@dataclass(frozen=True, kw_only=True)
class StudyLocation:
    """Where MLflow keeps a study, by its ids."""

    experiment_id: str
    study_id: str
    parent: str
    """Run id of the parent run."""
    front: Sequence[str]
    """Run ids of the members of the front."""


def study_links(base: str, location: StudyLocation) -> dict[str, str]:
    """Return links to a study's trials, charts, front and parent run, by these names.

    A link named `compare` follows once the front has two members.

    Args:
        base: address of the UI.
        location: where the study is.
    """
    root = f"{base.rstrip('/')}/#/experiments/{location.experiment_id}/runs"
    trials = {"viewStateShareKey": view_key(location.study_id, "trials")}
    links = {
        "trials": _address(root, trials),
        "charts": _address(root, trials | {"compareRunsMode": "CHART"}),
        "front": _address(root, {"viewStateShareKey": view_key(location.study_id, "front")}),
        "study": _address(f"{root}/{location.parent}", {}),
    }
    if len(location.front) > 1:
        runs, experiments = list(location.front), [location.experiment_id]
        query = {"runs": json.dumps(runs), "experiments": json.dumps(experiments)}
        links["compare"] = _address(f"{base.rstrip('/')}/#/compare-runs", query)
    return links


def links_of_studies(uri: str, base: str) -> list[tuple[str, dict[str, str]]]:
    """Return the name and links of every study in a tracker, the newest first.

    Raises:
        TrackingError: the tracker cannot be reached or used.
    """
    client = connect(uri)
    with one_line_errors(uri):
        experiments = [found.experiment_id for found in client.search_experiments()]
        parents = client.search_runs(
            experiments, "tags.`paredown.kind` = 'study'", order_by=["attributes.start_time DESC"]
        )
        return [
            (run.data.tags["paredown.study"], study_links(base, _location(client, run)))
            for run in parents
        ]


def _location(client: "MlflowClient", parent: "Run") -> StudyLocation:
    front = client.search_runs(
        [parent.info.experiment_id],
        f"tags.`mlflow.parentRunId` = '{parent.info.run_id}' and tags.`paredown.front` = 'true'",
    )
    return StudyLocation(
        experiment_id=parent.info.experiment_id,
        study_id=parent.data.tags["paredown.study_id"],
        parent=parent.info.run_id,
        front=[member.info.run_id for member in front],
    )


def _address(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode({**query, **MODE}, quote_via=quote)}"
