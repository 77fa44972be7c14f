"""The front as an image for a document."""

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

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

MAX_PANELS = 2
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def write_png(picture: FrontPicture, path: Path) -> None:
    """Draw one panel for each cost among the objectives, at most two, side by side."""
    chosen = panels(picture.objectives, picture.baseline)[:MAX_PANELS]
    with rc_context(STYLE):
        figure = Figure(figsize=(5.2 * len(chosen) + 0.6, 4.4), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(tally(picture), fontsize=11, color="#495057")
        axes = figure.subplots(1, len(chosen), squeeze=False, sharey=True)[0]
        for place, (area, panel) in enumerate(zip(axes, chosen, strict=True)):
            members = _draw_panel(area, picture, panel)
            if members is not None and panel.colour is not None:
                bar = figure.colorbar(members, ax=area, pad=0.02, fraction=0.05, aspect=30)
                bar.set_label(label(panel.colour))
                bar.outline.set_visible(False)
            area.set_ylabel(label(panel.upward) if place == 0 else "")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=5, frameon=False)
        figure.savefig(path, dpi=160, format="png")


def _draw_panel(area: Axes, picture: FrontPicture, panel: Panel) -> PathCollection | None:
    """Draw one panel; return the points of the front, which carry the colours."""
    across, upward = staircase(picture, panel)
    area.step(across, upward, where="post", color=FRONT, lw=1.4, alpha=0.55, zorder=2)
    _draw_others(area, picture, panel)
    _draw_outside(area, picture, panel)
    members = _draw_members(area, picture, panel)
    baseline = picture.baseline
    at = panel.points([baseline])
    area.scatter(*at, s=120, marker="*", c=BASELINE, zorder=5, label="baseline")
    area.axhline(baseline.metrics[panel.upward], color=BASELINE, lw=0.7, ls=":", zorder=1)
    area.set_ylim(*quality_window(picture, panel))
    _set_axis(area, panel)
    return members


def _set_axis(area: Axes, panel: Panel) -> None:
    """Label the horizontal axis and scale it logarithmically where the metric asks for it."""
    area.set_xlabel(label(panel.across))
    if panel.across in LOG_SCALED:
        area.set_xscale("log")
        area.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        area.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        area.xaxis.set_minor_formatter(NullFormatter())
    area.grid(True, lw=0.4, alpha=0.35)


def _draw_others(area: Axes, picture: FrontPicture, panel: Panel) -> None:
    """Draw the dominated and the infeasible trials."""
    groups = (
        ("dominated", picture.dominated, DOMINATED, "o"),
        ("beyond a constraint", picture.infeasible, INFEASIBLE, "x"),
    )
    for name, records, colour, marker in groups:
        if records:
            x, y = panel.points(records)
            area.scatter(x, y, s=22, c=colour, marker=marker, lw=1, alpha=0.6, label=name)


def _draw_outside(area: Axes, picture: FrontPicture, panel: Panel) -> None:
    """Hint at trials beyond the shown range with arrows at its edge."""
    low, high = quality_window(picture, panel)
    edge = 0.02 * (high - low)
    below = [r for r in picture.others if r.metrics[panel.upward] < low]
    above = [r for r in picture.others if r.metrics[panel.upward] > high]
    for records, place, marker in ((below, low + edge, "v"), (above, high - edge, "^")):
        across, _ = panel.points(records)
        colours = [DOMINATED if r.feasible else INFEASIBLE for r in records]
        area.scatter(across, [place] * len(records), s=16, c=colours, marker=marker, alpha=0.35)


def _draw_members(area: Axes, picture: FrontPicture, panel: Panel) -> PathCollection | None:
    """Draw the front with its standard errors; return its points, None where there are none."""
    members = picture.members
    if not members:
        return None
    x, y = panel.points(members)
    errors = standard_errors(members, panel)
    if errors is not None:
        bars = area.errorbar(x, y, yerr=errors, fmt="none", ecolor=FRONT, capsize=2, zorder=3)
        for part in (*bars.lines[1], *bars.lines[2]):
            part.set(alpha=0.5, linewidth=0.9)
    area.scatter([], [], s=62, c=FRONT, label="front")
    colours = FRONT if panel.colour is None else metric_values(members, panel.colour)
    return area.scatter(x, y, s=62, c=colours, cmap="viridis", edgecolors="white", lw=0.8, zorder=4)
