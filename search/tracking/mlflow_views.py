"""Views of a study on MLflow's run page: its columns, and charts of front and hypervolume.

The page reads a view from a tag of the experiment, where its own Share button keeps one too.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from search.report.describe import SHORT_FORM_FIELDS

SHARED_VIEW = "mlflow.sharedViewState."
TABLE_METRICS = ("score", "size_bytes", "latency_ratio")
"""Metrics that are in the table beside the objectives."""
TABLE_TAGS = ("verdict", "status", "origin")
MAX_PARALLEL_PARAMETERS = 4
"""Parameters that stay legible among parallel coordinates."""
VIEW_DEFAULTS: dict[str, Any] = {
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "modelVersionFilter": "All Runs",
    "datasetsFilter": [],
    "runsExpanded": {},
    "runsPinned": [],
    "runsHidden": [],
    "runsHiddenMode": "SHOWALL",
    "runsVisibilityMap": {},
    "viewMaximized": False,
    "runListHidden": False,
    "isAccordionReordered": True,
    "groupBy": None,
    "groupsExpanded": {},
    "autoRefreshEnabled": True,
    "hideEmptyCharts": True,
    "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0},
    "chartsSearchFilter": "",
}
"""The part of a view that is the same for every study."""
HYPERVOLUME_CHART: dict[str, Any] = {
    "type": "LINE",
    "metricKey": "hypervolume",
    "xAxisKey": "step",
    "lineSmoothness": 0,
    "useGlobalLineSmoothing": False,
}


def study_views(
    study_id: str, objectives: Mapping[str, str], parameters: Sequence[str]
) -> dict[str, str]:
    """Return the views of a study as tags of its experiment: all trials, and the front.

    The table is sorted by the first objective. The charts are each cost over the first objective,
    parallel coordinates, and the hypervolume by trial.
    """
    trials = f"tags.`paredown.study_id` = '{study_id}'"
    front = f"{trials} and tags.`paredown.front` = 'true'"
    return {
        SHARED_VIEW + view_key(study_id, name): _view(search_filter, objectives, parameters)
        for name, search_filter in (("trials", trials), ("front", front))
    }


def view_key(study_id: str, name: str) -> str:
    """Return the name of a view in an address."""
    return f"{study_id}-{name}"


def _view(search_filter: str, objectives: Mapping[str, str], parameters: Sequence[str]) -> str:
    name, direction = next(iter(objectives.items()))
    metrics = [f"metrics.`{metric}`" for metric in dict.fromkeys([*objectives, *TABLE_METRICS])]
    tags = [f"tags.`paredown.{tag}`" for tag in TABLE_TAGS]
    state = VIEW_DEFAULTS | {
        "searchFilter": search_filter,
        "orderByKey": f"metrics.`{name}`",
        "orderByAsc": direction == "minimize",
        "selectedColumns": [*metrics, *tags],
        "compareRunSections": [_section("front", "Front"), _section("metrics", "Model metrics")],
        "compareRunCharts": _charts(objectives, _main_parameters(parameters)),
    }
    return json.dumps(state, separators=(",", ":"))


def _main_parameters(parameters: Sequence[str]) -> list[str]:
    """Return the parameters that say most about a recipe, at most four."""
    main = [name for name in parameters if name.rpartition(".")[2] in SHORT_FORM_FIELDS]
    return main[:MAX_PARALLEL_PARAMETERS]


def _section(uuid: str, name: str) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "name": name,
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
        "columns": 2,
        "cardHeight": 340,
    }


def _charts(objectives: Mapping[str, str], parameters: Sequence[str]) -> list[dict[str, Any]]:
    quality, *costs = objectives
    scatters = [
        {
            "type": "SCATTER",
            "xaxis": {"key": cost, "type": "METRIC"},
            "yaxis": {"key": quality, "type": "METRIC"},
            "runsCountToCompare": 100,
        }
        for cost in costs
    ]
    parallel = {
        "type": "PARALLEL",
        "selectedParams": list(parameters),
        "selectedMetrics": [*costs, quality],
        "showAllRuns": True,
    }
    common = {"isGenerated": False, "deleted": False, "metricSectionId": "front"}
    charts = [*scatters, parallel, HYPERVOLUME_CHART]
    return [{"uuid": f"chart{i}", **common, **chart} for i, chart in enumerate(charts)]
