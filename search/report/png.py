"""The front as an image for a document."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from search.pareto.front import Objectives
from search.report.panels import (
    BASELINE,
    DOMINATED,
    FRONT,
    INFEASIBLE,
    LOG_SCALED,
    Panel,
    colour_values,
    label,
    panels,
    quality_window,
    shown,
    staircase,
    standard_errors,
    tally,
)
from search.trial_record import TrialRecord


def write_png(
    records: Sequence[TrialRecord],
    front_numbers: Collection[int],
    objectives: Objectives,
    baseline: TrialRecord,
    path: Path,
) -> None:
    """Draw front.png with one panel for each cost among the objectives, at most two."""
    chosen = panels(objectives, baseline)[:2]
    style: dict[Any, Any] = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    with rc_context(style):
        figure = Figure(figsize=(5.2 * len(chosen) + 0.6, 4.4), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(tally(records, front_numbers), fontsize=11, color="#495057")
        axes = figure.subplots(1, len(chosen), squeeze=False, sharey=True)[0]
        for place, (area, panel) in enumerate(zip(axes, chosen, strict=True)):
            coloured = _draw(area, records, front_numbers, objectives, baseline, panel)
            if coloured is not None and panel.colour is not None:
                bar = figure.colorbar(coloured, ax=area, pad=0.02, fraction=0.05, aspect=30)
                bar.set_label(label(panel.colour))
                bar.outline.set_visible(False)
            area.set_ylabel(label(panel.upward) if place == 0 else "")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=5, frameon=False)
        figure.savefig(path, dpi=160)


def _draw(
    area: Axes,
    records: Sequence[TrialRecord],
    front_numbers: Collection[int],
    objectives: Objectives,
    baseline: TrialRecord,
    panel: Panel,
) -> PathCollection | None:
    """Draw one panel and return what carries the colours."""
    measured = [r for r in records if r.status == "ok"]
    rest = [r for r in measured if r.number not in front_numbers and r.number != baseline.number]
    low, high = quality_window(records, front_numbers, panel)
    across, upward = staircase(measured, panel, objectives)
    area.step(across, upward, where="post", color=FRONT, lw=1.4, alpha=0.55, zorder=2)
    _draw_rest(area, [r for r in rest if r.feasible], panel, "dominated", DOMINATED, "o")
    beyond = [r for r in rest if not r.feasible]
    _draw_rest(area, beyond, panel, "beyond a constraint", INFEASIBLE, "x")
    _draw_outside(area, rest, panel, low, high)
    members = [r for r in measured if r.number in front_numbers and r.number != baseline.number]
    coloured = _draw_members(area, members, panel)
    area.scatter(
        *_points([baseline], panel), s=120, marker="*", c=BASELINE, zorder=5, label="baseline"
    )
    area.axhline(baseline.metrics[panel.upward], color=BASELINE, lw=0.7, ls=":", zorder=1)
    area.set_ylim(low, high)
    area.set_xlabel(label(panel.across))
    if panel.across in LOG_SCALED:
        area.set_xscale("log")
        area.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        area.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        area.xaxis.set_minor_formatter(NullFormatter())
    area.grid(True, lw=0.4, alpha=0.35)
    return coloured


def _draw_rest(
    area: Axes, group: Sequence[TrialRecord], panel: Panel, name: str, colour: str, marker: str
) -> None:
    if not group:
        return
    across, upward = _points(group, panel)
    area.scatter(across, upward, s=22, c=colour, marker=marker, lw=1, alpha=0.6, label=name)


def _draw_outside(
    area: Axes, rest: Sequence[TrialRecord], panel: Panel, low: float, high: float
) -> None:
    """Hint at the trials that lie beyond the shown range with arrows at its edge."""
    edge = 0.02 * (high - low)
    below = [r for r in rest if r.metrics[panel.upward] < low]
    above = [r for r in rest if r.metrics[panel.upward] > high]
    for group, place, marker in ((below, low + edge, "v"), (above, high - edge, "^")):
        across, _ = _points(group, panel)
        colours = [DOMINATED if r.feasible else INFEASIBLE for r in group]
        area.scatter(across, [place] * len(group), s=16, c=colours, marker=marker, alpha=0.35)


def _draw_members(
    area: Axes, members: Sequence[TrialRecord], panel: Panel
) -> PathCollection | None:
    if not members:
        return None
    x, y = _points(members, panel)
    errors = standard_errors(members, panel)
    if errors is not None:
        bars = area.errorbar(x, y, yerr=errors, fmt="none", ecolor=FRONT, capsize=2, zorder=3)
        for part in (*bars.lines[1], *bars.lines[2]):
            part.set(alpha=0.5, linewidth=0.9)
    area.scatter([], [], s=62, c=FRONT, label="front")
    colours = FRONT if panel.colour is None else colour_values(members, panel.colour)
    return area.scatter(x, y, s=62, c=colours, cmap="viridis", edgecolors="white", lw=0.8, zorder=4)


def _points(records: Sequence[TrialRecord], panel: Panel) -> tuple[list[float], list[float]]:
    across = [shown(panel.across, r.metrics[panel.across]) for r in records]
    return across, [r.metrics[panel.upward] for r in records]
