"""What MLflow's run page shows of a study: the columns, and charts of front and hypervolume.

The page reads a view from a tag of the experiment, which is how its own Share button keeps one.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from search.report.describe import SHORT_FORM_FIELDS

SHARED_VIEW = "mlflow.sharedViewState."
ALWAYS = ("score", "size_bytes", "latency_ratio")
"""The metrics that stand in the table beside the objectives."""
TOLD = 4
"""The most parameters that stay legible among parallel coordinates."""


def study_views(
    study_id: str, objectives: Mapping[str, str], parameters: Sequence[str]
) -> dict[str, str]:
    """Return the views of a study as tags of its experiment: all of it, and its front.

    The table is sorted by the first objective. The charts are each cost over the first objective,
    parallel coordinates, and the hypervolume by trial.
    """
    mine = f"tags.`paredown.study_id` = '{study_id}'"
    front = f"{mine} and tags.`paredown.front` = 'true'"
    return {
        SHARED_VIEW + view_key(study_id, name): _view(search_filter, objectives, parameters)
        for name, search_filter in (("trials", mine), ("front", front))
    }


def view_key(study_id: str, name: str) -> str:
    """Return the name under which an address refers to a view."""
    return f"{study_id}-{name}"


def _view(search_filter: str, objectives: Mapping[str, str], parameters: Sequence[str]) -> str:
    name, way = next(iter(objectives.items()))
    metrics = [f"metrics.`{metric}`" for metric in dict.fromkeys([*objectives, *ALWAYS])]
    tags = [f"tags.`paredown.{tag}`" for tag in ("verdict", "status", "origin")]
    state: dict[str, Any] = {
        "searchFilter": search_filter,
        "orderByKey": f"metrics.`{name}`",
        "orderByAsc": way == "minimize",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [*metrics, *tags],
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
        "compareRunSections": [_section("front", "Front"), _section("metrics", "Model metrics")],
        "compareRunCharts": _charts(objectives, _told(parameters)),
    }
    return json.dumps(state, separators=(",", ":"))


def _told(parameters: Sequence[str]) -> list[str]:
    """Return the parameters that tell most of a recipe, a few of them."""
    telling = [name for name in parameters if name.rpartition(".")[2] in SHORT_FORM_FIELDS]
    return telling[:TOLD]


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
    charts = [
        {
            "type": "SCATTER",
            "xaxis": {"key": cost, "type": "METRIC"},
            "yaxis": {"key": quality, "type": "METRIC"},
            "runsCountToCompare": 100,
        }
        for cost in costs
    ]
    charts.append(
        {
            "type": "PARALLEL",
            "selectedParams": list(parameters),
            "selectedMetrics": [*costs, quality],
            "showAllRuns": True,
        }
    )
    charts.append(
        {
            "type": "LINE",
            "metricKey": "hypervolume",
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "useGlobalLineSmoothing": False,
        }
    )
    common = {"isGenerated": False, "deleted": False, "metricSectionId": "front"}
    return [{"uuid": f"chart{i}", **common, **chart} for i, chart in enumerate(charts)]
