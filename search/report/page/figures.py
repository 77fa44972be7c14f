"""The figures of the page as plain data for plotly.js, in colours for colour-blind eyes too.

Every trace of trials names them in `customdata`, by which the page links its figures.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from search.config.study_config import StudyConfig
from search.report.panels import (
    LOG_SCALED,
    FrontPicture,
    Panel,
    label,
    metric_values,
    panels,
    quality_window,
    staircase,
    standard_errors,
)
from search.report.reference_recipes import REFERENCE_PREFIX
from search.trial_record import TrialRecord, Value

Figure = dict[str, Any]
"""`data` and `layout` as of plotly.js."""
FRONT, INFEASIBLE, RIVAL = "#0072b2", "#d55e00", "#009e73"
DOMINATED, BASELINE = "#8c8c8c", "#000000"
"""Colours of the groups, of Okabe and Ito's palette; each group has a symbol of its own too."""
MAX_NUMBERED = 12
"""Members of a front that all have their numbers beside them; of more, those with a role."""
MAX_NAME, RIVALS = 8, "rival"
"""Letters of the name of a rival that stands beside its point; a longer one is just a rival."""
MAX_PARAMETERS = 6
"""Parameters among the parallel coordinates."""
OFF = "off"
"""Label of trials that do not have a parameter."""


def front_figures(picture: FrontPicture, roles: Mapping[int, Sequence[str]]) -> list[Figure]:
    """Return a figure for each cost among the objectives, the quality upward.

    Args:
        picture: The trials.
        roles: By a trial's number, the words that select it.
    """
    figures = [_front(picture, p, roles) for p in panels(picture.objectives, picture.baseline)]
    for figure in figures[1:]:
        figure["layout"]["showlegend"] = False
    return figures


def solid_figure(picture: FrontPicture, roles: Mapping[int, Sequence[str]]) -> Figure | None:
    """Return the first three objectives as a figure in space; None for fewer."""
    axes = list(picture.objectives)[:3]
    if len(axes) < 3:
        return None
    data = []
    symbols = {"circle": "circle", "circle-open": "circle", "x-thin": "cross", "star": "diamond"}
    for name, records, marker, size in _groups(picture):
        shown = [r for r in records if all(axis in r.metrics for axis in axes)]
        x, y, z = (metric_values(shown, axis) for axis in axes)
        symbol = symbols.get(marker["symbol"], marker["symbol"])
        look = {"color": marker["color"], "size": size * 0.55, "symbol": symbol}
        look["opacity"] = marker.get("opacity", 1)
        trace = _trace(name, shown, roles, marker=look)
        del trace["cliponaxis"]
        data.append(trace | {"type": "scatter3d", "x": x, "y": y, "z": z})
    scene: dict[str, Any] = {
        # The label of a figure's axis is too long for one in space.
        f"{letter}axis": _axis(axis, data, letter) | {"title": {"text": axis}}
        for letter, axis in zip("xyz", axes, strict=True)
    }
    scene["camera"] = {
        "eye": {"x": 1.6, "y": 1.5, "z": 0.9},
        "center": {"x": 0, "y": 0, "z": -0.15},
    }
    return {"data": data, "layout": {"scene": scene, "showlegend": False}}


def history_figure(history: Mapping[int, float]) -> Figure:
    """Return the hypervolume after each trial."""
    trace = {
        "type": "scatter",
        "mode": "lines",
        "x": list(history),
        "y": list(history.values()),
        "line": {"shape": "hv", "color": FRONT, "width": 2},
        "hovertemplate": "after trial %{x}: %{y:.4f}<extra></extra>",
    }
    axes = {
        "xaxis": {"title": {"text": "trial"}},
        "yaxis": {"title": {"text": "hypervolume"}, "rangemode": "tozero"},
        "margin": {"l": 56, "r": 28, "t": 12, "b": 46},
    }
    return {"data": [trace], "layout": axes}


def importance_figure(importances: Mapping[str, Mapping[str, float]]) -> Figure | None:
    """Return bars of the parameters that stand out for each objective; None if none does."""
    names = list(dict.fromkeys(name for shares in importances.values() for name in shares))
    if not names:
        return None
    looks = zip((FRONT, RIVAL, INFEASIBLE, DOMINATED), ("", "/", ".", "x"), strict=True)
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": label(objective),
            "y": names[::-1],
            "x": [100 * shares.get(name, 0.0) for name in reversed(names)],
            "marker": {"color": colour, "pattern": {"shape": pattern}},
            "hovertemplate": "%{y}: %{x:.0f} %<extra></extra>",
        }
        for (objective, shares), (colour, pattern) in zip(importances.items(), looks, strict=False)
    ]
    axes = {
        "xaxis": {"title": {"text": "share of importance (%)"}, "rangemode": "tozero"},
        "yaxis": {"automargin": True},
        "legend": _LEGEND,
        "height": 150 + 26 * len(names) * len(data),
    }
    return {"data": data, "layout": axes}


def parallel_figure(
    config: StudyConfig, picture: FrontPicture, importances: Mapping[str, Mapping[str, float]]
) -> Figure:
    """Return the objectives and the parameters that matter most as parallel coordinates.

    Trials of the front come last, so that they lie above the others. A trial without a parameter
    lies at `off`.
    """
    records = [*picture.others, *picture.members]
    dimensions = [_objective(name, records) for name in config.objectives]
    dimensions += [_parameter(name, records) for name in _parameters(records, importances)]
    numbers = set(picture.front_numbers)
    line = {
        "color": [int(record.number in numbers) for record in records],
        "colorscale": [[0, "#d4d4d4"], [1, FRONT]],
        "cmin": 0,
        "cmax": 1,
    }
    trace = {"type": "parcoords", "dimensions": dimensions, "line": line, "labelangle": -12}
    return {"data": [trace], "layout": {"margin": {"t": 70, "b": 30, "l": 60, "r": 50}}}


def log_ticks(values: Sequence[float]) -> list[float]:
    """Return round places 1, 2 and 5 times a power of ten around positive values, or powers alone.

    Over more than three decades the powers alone are left.
    """
    low, high = min(values), max(values)
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if math.log10(high / low) <= 3 else (1,)
    return [float(f"{factor}e{decade}") for decade in decades for factor in factors]


_LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}


def _groups(
    picture: FrontPicture,
) -> list[tuple[str, Sequence[TrialRecord], dict[str, Any], float]]:
    """Return the groups of trials with their names, markers and sizes, the front among the last."""
    rivals = [r for r in picture.others if r.origin.startswith(REFERENCE_PREFIX)]
    numbers = {record.number for record in rivals}
    open_ = {"color": DOMINATED, "symbol": "circle-open", "opacity": 0.7}
    crossed = {
        "color": INFEASIBLE,
        "symbol": "x-thin",
        "opacity": 0.7,
        "line": {"width": 1.3, "color": INFEASIBLE},
    }
    apart = [r for r in picture.dominated if r.number not in numbers]
    beyond = [r for r in picture.infeasible if r.number not in numbers]
    return [
        ("dominated", apart, open_, 6),
        ("beyond a constraint", beyond, crossed, 7),
        (RIVALS, rivals, {"color": RIVAL, "symbol": "diamond"}, 11),
        ("front", picture.members, {"color": FRONT, "symbol": "circle"}, 10),
        ("baseline", [picture.baseline], {"color": BASELINE, "symbol": "star"}, 14),
    ]


def _front(picture: FrontPicture, panel: Panel, roles: Mapping[int, Sequence[str]]) -> Figure:
    across, upward = staircase(picture, panel)
    reached = {
        "type": "scatter",
        "mode": "lines",
        "x": across,
        "y": upward,
        "name": "reached",
        "line": {"color": FRONT, "shape": "hv", "width": 1.2},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    data = [reached]
    for name, records, marker, size in _groups(picture):
        shown = [r for r in records if panel.across in r.metrics]
        trace = _trace(name, shown, roles, marker=marker | {"size": size})
        trace["x"], trace["y"] = panel.points(shown)
        trace["textposition"] = _sides(trace["x"], logarithmic=panel.across in LOG_SCALED)
        errors = standard_errors(shown, panel)
        if name in ("front", RIVALS, "baseline") and errors:
            bars = {"type": "data", "array": errors, "thickness": 1, "width": 3, "visible": True}
            trace["error_y"] = bars | {"color": marker["color"]}
        data.append(trace)
    window = {"title": {"text": label(panel.upward)}, "range": quality_window(picture, panel)}
    layout = {"xaxis": _axis(panel.across, data, "x"), "yaxis": window, "legend": _LEGEND}
    return {"data": data, "layout": layout}


def _sides(across: Sequence[float], *, logarithmic: bool) -> list[str]:
    """Return where the words beside points stand: inward, above and below in turns.

    Neighbours in turns, since their points are often nearly one.
    """
    places = [math.log(x) if logarithmic and x > 0 else x for x in across]
    middle = (min(places) + max(places)) / 2 if places else 0.0
    order = {
        index: rank for rank, index in enumerate(sorted(range(len(places)), key=places.__getitem__))
    }
    return [
        f"{'bottom' if order[index] % 2 else 'top'} {'right' if place <= middle else 'left'}"
        for index, place in enumerate(places)
    ]


def _trace(
    name: str,
    records: Sequence[TrialRecord],
    roles: Mapping[int, Sequence[str]],
    *,
    marker: dict[str, Any],
) -> dict[str, Any]:
    """Return the points of a group, with numbers, roles and names of rivals beside the chosen."""
    numbered = name == "front" and len(records) <= MAX_NUMBERED
    texts = [_beside(record, roles.get(record.number, ()), numbered=numbered) for record in records]
    return {
        "type": "scatter",
        "mode": "markers+text" if any(texts) else "markers",
        "name": name,
        "customdata": [record.number for record in records],
        "text": texts,
        "textposition": "top right",
        "cliponaxis": False,
        "textfont": {"size": 11},
        "marker": marker,
        "hoverinfo": "text",
    }


def _beside(record: TrialRecord, roles: Sequence[str], *, numbered: bool) -> str:
    """Return what stands beside a point: `12 knee`, `1 int8` for a rival, or nothing."""
    name = record.origin.partition(REFERENCE_PREFIX)[2]
    short = name if len(name) <= MAX_NAME else RIVALS
    words = [word for word in (short, *roles) if word]
    if words:
        return f"{record.number} {', '.join(words)}"
    return str(record.number) if numbered else ""


def _axis(name: str, data: Sequence[Mapping[str, Any]], letter: str) -> dict[str, Any]:
    """Return an axis with a title, on a logarithmic scale with round labels where that fits."""
    axis: dict[str, Any] = {"title": {"text": label(name)}, "automargin": True}
    values = [value for trace in data for value in trace[letter]]
    if name in LOG_SCALED and values and min(values) > 0:
        ticks = log_ticks(values)
        axis |= {"type": "log", "tickvals": ticks, "ticktext": [_short(tick) for tick in ticks]}
    return axis


def _short(value: float) -> str:
    """Return a round number as `0.5`, `200`, `2k` or `5M`."""
    for unit, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{sign}"
    return f"{value:g}"


def _objective(name: str, records: Sequence[TrialRecord]) -> dict[str, Any]:
    values = metric_values(records, name)
    title = label(name)
    if name in LOG_SCALED and values and min(values) > 0:
        ticks = [t for t in log_ticks(values) if min(values) <= t <= max(values)]
        return {
            "label": title,
            "values": [math.log10(value) for value in values],
            "tickvals": [math.log10(tick) for tick in ticks],
            "ticktext": [_short(tick) for tick in ticks],
        }
    return {"label": title, "values": values}


def _parameters(
    records: Sequence[TrialRecord], importances: Mapping[str, Mapping[str, float]]
) -> list[str]:
    """Return the names of the most important parameters, then of those that most trials have."""
    weight: dict[str, float] = {}
    for shares in importances.values():
        for name, share in shares.items():
            weight[name] = weight.get(name, 0.0) + share
    values: dict[str, list[Value]] = {}
    for record in records:
        for name, value in record.params.items():
            values.setdefault(name, []).append(value)
    varied = [name for name, found in values.items() if len(set(found)) > 1]
    ordered = sorted(varied, key=lambda name: (-weight.get(name, 0.0), -len(values[name]), name))
    return ordered[:MAX_PARAMETERS]


def _parameter(name: str, records: Sequence[TrialRecord]) -> dict[str, Any]:
    """Return a parameter as a dimension whose lowest place is that of trials without it."""
    values = [record.params.get(name) for record in records]
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) == sum(value is not None for value in values):
        low, high = min(numbers), max(numbers)
        off = low - 0.12 * (high - low)
        inner = [low + share * (high - low) for share in (0, 0.25, 0.5, 0.75, 1)]
        ticks, texts = [off, *inner], [OFF, *(f"{tick:.3g}" for tick in inner)]
        places = [off if v is None else v for v in values]
        if None not in values:
            ticks, texts = ticks[1:], texts[1:]
        return {"label": name, "values": places, "tickvals": ticks, "ticktext": texts}
    choices = [OFF, *sorted({str(value) for value in values if value is not None})]
    shown = [OFF if value is None else str(value) for value in values]
    return {
        "label": name,
        "values": [choices.index(value) for value in shown],
        "tickvals": list(range(len(choices))),
        "ticktext": choices,
    }
