"""The front as one self-contained HTML page, with the recipe of every trial under the pointer."""

from collections.abc import Collection, Sequence
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
    Panel,
    colour_values,
    label,
    quality_window,
    shown,
    staircase,
    standard_errors,
    tally,
)
from search.report.panels import panels as chosen_panels
from search.trial_record import TrialRecord

HOVERED = ("score", "score_drop", "size_bytes", "run_bytes", "latency_ratio", "latency_ms", "macs")
"""The metrics that the pointer shows, where a trial has them; the objectives come first."""


def write_html(
    records: Sequence[TrialRecord],
    front_numbers: Collection[int],
    objectives: Objectives,
    baseline: TrialRecord,
    path: Path,
) -> None:
    """Write a page with one panel for each cost among the objectives; it needs no network."""
    chosen = chosen_panels(objectives, baseline)
    figure = make_subplots(rows=len(chosen), cols=1, vertical_spacing=0.28 / len(chosen))
    for row, panel in enumerate(chosen, start=1):
        for trace in _traces(records, front_numbers, objectives, baseline, panel):
            trace.update(showlegend=row == 1)
            figure.add_trace(trace, row=row, col=1)
        scale = {"type": "log", "dtick": "D2"} if panel.across in LOG_SCALED else {}
        figure.update_xaxes(title=label(panel.across), row=row, col=1, **scale)
        window = quality_window(records, front_numbers, panel)
        figure.update_yaxes(title=label(panel.upward), range=window, row=row, col=1)
    _place_colour_bars(figure, len(chosen))
    figure.update_layout(
        title=f"Pareto front<br><sup>{tally(records, front_numbers)} (double-click: all)</sup>",
        template="plotly_white",
        height=120 + 460 * len(chosen),
        hoverlabel={"align": "left", "font": {"family": "monospace", "size": 12}},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1.0, "xanchor": "right"},
        margin={"t": 110},
    )
    figure.write_html(path, include_plotlyjs=True, full_html=True)


def _traces(
    records: Sequence[TrialRecord],
    front_numbers: Collection[int],
    objectives: Objectives,
    baseline: TrialRecord,
    panel: Panel,
) -> list[go.Scatter]:
    measured = [r for r in records if r.status == "ok"]
    rest = [r for r in measured if r.number not in front_numbers and r.number != baseline.number]
    members = [r for r in measured if r.number in front_numbers and r.number != baseline.number]
    grey = {"color": DOMINATED, "size": 7, "opacity": 0.6}
    crossed = {"size": 8, "symbol": "x-thin", "line": {"width": 1.5, "color": INFEASIBLE}}
    star = {"color": BASELINE, "size": 15, "symbol": "star"}
    across, upward = staircase(measured, panel, objectives)
    edge = go.Scatter(
        x=across,
        y=upward,
        mode="lines",
        name="reached",
        line={"color": FRONT, "shape": "hv", "width": 1.5},
        hoverinfo="skip",
        legendgroup="edge",
    )
    return [
        edge,
        _points([r for r in rest if r.feasible], panel, objectives, "dominated", grey),
        _points(
            [r for r in rest if not r.feasible], panel, objectives, "beyond a constraint", crossed
        ),
        _points(members, panel, objectives, "front", _front_marker(members, panel), errors=True),
        _points([baseline], panel, objectives, "baseline", star),
    ]


def _points(
    records: Sequence[TrialRecord],
    panel: Panel,
    objectives: Objectives,
    name: str,
    marker: dict[str, object],
    *,
    errors: bool = False,
) -> go.Scatter:
    spread = standard_errors(records, panel) if errors else None
    return go.Scatter(
        x=[shown(panel.across, r.metrics[panel.across]) for r in records],
        y=[r.metrics[panel.upward] for r in records],
        error_y={"array": spread, "color": FRONT, "thickness": 1, "width": 3} if spread else None,
        mode="markers",
        name=name,
        legendgroup=name,
        marker=marker,
        hovertext=[_hover(r, objectives) for r in records],
        hoverinfo="text",
    )


def _front_marker(members: Sequence[TrialRecord], panel: Panel) -> dict[str, object]:
    marker: dict[str, object] = {"size": 12, "line": {"color": "white", "width": 1}}
    if panel.colour is None:
        return marker | {"color": FRONT}
    return marker | {
        "color": colour_values(members, panel.colour),
        "colorscale": "Viridis",
        "colorbar": {"title": {"text": label(panel.colour), "side": "right"}, "thickness": 14},
    }


def _place_colour_bars(figure: go.Figure, rows: int) -> None:
    """Give each panel's colour bar the height of its panel."""
    bars = [trace for trace in figure.data if trace.marker.colorbar.title.text]
    for place, trace in enumerate(bars):
        low, high = figure.layout[f"yaxis{place + 1 if place else ''}"].domain
        trace.marker.colorbar.update(y=(low + high) / 2, len=high - low)


def _hover(record: TrialRecord, objectives: Objectives) -> str:
    names = dict.fromkeys([*objectives, *HOVERED])
    figures = [f"{n:14} {record.metrics[n]:.6g}" for n in names if n in record.metrics]
    head = f"<b>trial {record.number}</b>  {record.verdict}"
    return "<br>".join([head, describe(record), *figures]).replace("  ", "&nbsp;&nbsp;")
