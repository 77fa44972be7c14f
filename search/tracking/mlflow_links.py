"""Addresses in MLflow's UI that open a study as it is best looked at."""

import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from search.tracking.mlflow_client import connect, one_line_errors
from search.tracking.mlflow_views import view_key

MODE = {"workflowType": "machine_learning"}
"""Without it a fresh browser profile opens the view made for prompts and traces."""


def study_links(
    base: str, *, experiment_id: str, study_id: str, parent: str, front: Sequence[str]
) -> dict[str, str]:
    """Return links to a study's trials, charts, front and parent run, by these names.

    `parent` and `front` are run ids; `compare` is there once the front has two members.
    """
    root = f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs"
    trials = {"viewStateShareKey": view_key(study_id, "trials")}
    links = {
        "trials": _address(root, trials),
        "charts": _address(root, trials | {"compareRunsMode": "CHART"}),
        "front": _address(root, {"viewStateShareKey": view_key(study_id, "front")}),
        "study": _address(f"{root}/{parent}", {}),
    }
    if len(front) > 1:
        query = {"runs": json.dumps(list(front)), "experiments": json.dumps([experiment_id])}
        links["compare"] = _address(f"{base.rstrip('/')}/#/compare-runs", query)
    return links


def links_of_studies(uri: str, base: str) -> list[tuple[str, dict[str, str]]]:
    """Return the name and links of every study in a tracker, the newest first.

    Raises: TrackingError if the tracker cannot be reached or used.
    """
    client = connect(uri)
    with one_line_errors(uri):
        experiments = [found.experiment_id for found in client.search_experiments()]
        parents = client.search_runs(
            experiments, "tags.`paredown.kind` = 'study'", order_by=["attributes.start_time DESC"]
        )
        found = []
        for run in parents:
            tags = run.data.tags
            front = client.search_runs(
                [run.info.experiment_id],
                f"tags.`mlflow.parentRunId` = '{run.info.run_id}' "
                "and tags.`paredown.front` = 'true'",
            )
            links = study_links(
                base,
                experiment_id=run.info.experiment_id,
                study_id=tags["paredown.study_id"],
                parent=run.info.run_id,
                front=[member.info.run_id for member in front],
            )
            found.append((tags["paredown.study"], links))
    return found


def _address(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode({**query, **MODE}, quote_via=quote)}"
