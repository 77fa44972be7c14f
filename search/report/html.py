"""The front as one self-contained HTML page, with the recipe of every trial under the pointer."""

from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from search.pareto.front import Objectives
from search.report.describe import describe
from search.report.panels import (
    BASELINE,
    DOMINATED,
    FRONT,
    INFEASIBLE,
    LOG_SCALED,
    FrontPicture,
    Panel,
    label,
    metric_values,
    panels,
    quality_window,
    staircase,
    standard_errors,
    tally,
)
from search.trial_record import TrialRecord

HOVER_METRICS = (
    "score",
    "score_drop",
    "size_bytes",
    "run_bytes",
    "latency_ratio",
    "latency_ms",
    "macs",
    "bops_ratio",
    "bits_per_weight",
    "tokens_per_second",
)
"""Metrics under the pointer where a trial has them; the objectives come first."""
PANEL_HEIGHT = 460
"""Height of one panel in pixels."""


def write_html(picture: FrontPicture, path: Path) -> None:
    """Write a page with one panel for each cost among the objectives; it needs no network."""
    chosen = panels(picture.objectives, picture.baseline)
    figure = make_subplots(rows=len(chosen), cols=1, vertical_spacing=0.28 / len(chosen))
    for row, panel in enumerate(chosen, start=1):
        for trace in _traces(picture, panel):
            trace.update(showlegend=row == 1)
            figure.add_trace(trace, row=row, col=1)
        scale = {"type": "log", "dtick": "D2"} if panel.across in LOG_SCALED else {}
        figure.update_xaxes(title=label(panel.across), row=row, col=1, **scale)
        window = quality_window(picture, panel)
        figure.update_yaxes(title=label(panel.upward), range=window, row=row, col=1)
    _place_colour_bars(figure)
    figure.update_layout(
        title=f"Pareto front<br><sup>{tally(picture)} (double-click: all)</sup>",
        template="plotly_white",
        height=120 + PANEL_HEIGHT * len(chosen),
        hoverlabel={"align": "left", "font": {"family": "monospace", "size": 12}},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1.0, "xanchor": "right"},
        margin={"t": 110},
    )
    figure.write_html(path, include_plotlyjs=True, full_html=True)


def _traces(picture: FrontPicture, panel: Panel) -> list[go.Scatter]:
    """Return the staircase of a panel and the points of each group of trials."""
    grey = {"color": DOMINATED, "size": 7, "opacity": 0.6}
    crossed = {"size": 8, "symbol": "x-thin", "line": {"width": 1.5, "color": INFEASIBLE}}
    star = {"color": BASELINE, "size": 15, "symbol": "star"}
    members = picture.members
    groups = [
        ("dominated", picture.dominated, grey),
        ("beyond a constraint", picture.infeasible, crossed),
        ("front", members, _front_marker(members, panel)),
        ("baseline", [picture.baseline], star),
    ]
    traces = [_staircase_line(picture, panel)]
    for name, records, marker in groups:
        points = _points(records, panel)
        points.update(name=name, legendgroup=name, marker=marker)
        points.hovertext = [_hover(record, picture.objectives) for record in records]
        if name == "front" and (errors := standard_errors(records, panel)):
            points.error_y = {"array": errors, "color": FRONT, "thickness": 1, "width": 3}
        traces.append(points)
    return traces


def _staircase_line(picture: FrontPicture, panel: Panel) -> go.Scatter:
    across, upward = staircase(picture, panel)
    return go.Scatter(
        x=across,
        y=upward,
        mode="lines",
        name="reached",
        line={"color": FRONT, "shape": "hv", "width": 1.5},
        hoverinfo="skip",
        legendgroup="edge",
    )


def _points(records: Sequence[TrialRecord], panel: Panel) -> go.Scatter:
    across, upward = panel.points(records)
    return go.Scatter(x=across, y=upward, mode="markers", hoverinfo="text")


def _front_marker(members: Sequence[TrialRecord], panel: Panel) -> dict[str, object]:
    """Return the look of the front's points, with a colour bar where a metric is the colour."""
    marker: dict[str, object] = {"size": 12, "line": {"color": "white", "width": 1}}
    if panel.colour is None:
        return marker | {"color": FRONT}
    return marker | {
        "color": metric_values(members, panel.colour),
        "colorscale": "Viridis",
        "colorbar": {"title": {"text": label(panel.colour), "side": "right"}, "thickness": 14},
    }


def _place_colour_bars(figure: go.Figure) -> None:
    """Give each panel's colour bar the height of its panel."""
    bars = [trace for trace in figure.data if trace.marker.colorbar.title.text]
    for place, trace in enumerate(bars):
        low, high = figure.layout[f"yaxis{place + 1 if place else ''}"].domain
        trace.marker.colorbar.update(y=(low + high) / 2, len=high - low)


def _hover(record: TrialRecord, objectives: Objectives) -> str:
    """Return the text under the pointer: verdict, recipe and metrics of a trial."""
    names = dict.fromkeys([*objectives, *HOVER_METRICS])
    metrics = [f"{n:14} {record.metrics[n]:.6g}" for n in names if n in record.metrics]
    head = f"<b>trial {record.number}</b>  {record.verdict}"
    return "<br>".join([head, describe(record), *metrics]).replace("  ", "&nbsp;&nbsp;")
