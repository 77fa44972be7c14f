"""The front as pictures, a page and an image: what both show, and writing them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from search.pareto.front import Objectives, cost_matrix, pareto_front
from search.trial_record import TrialRecord

LOG_SCALED = ("size_bytes", "run_bytes", "macs", "parameters", "nonzeros")
LABELS = {
    "score": "validation score",
    "score_drop": "score lost against the baseline",
    "nll": "validation NLL (nats)",
    "size_bytes": "size of the packed file (kB)",
    "size_ratio": "size relative to the baseline",
    "run_bytes": "size of the run file (kB)",
    "latency_ms": "latency (ms)",
    "latency_ratio": "latency relative to the baseline",
    "macs": "multiply-accumulates",
    "parameters": "parameters",
    "nonzeros": "non-zero parameters",
    "fidelity_db": "fidelity to the baseline (dB)",
}
FRONT, DOMINATED, INFEASIBLE, BASELINE = "#0b7285", "#868e96", "#c92a2a", "#212529"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture of the trials: a cost across, the quality upward, a third figure as colour."""

    across: str
    upward: str
    colour: str | None


def panels(objectives: Objectives, baseline: TrialRecord) -> list[Panel]:
    """Return a panel for each objective beside the quality, coloured by another objective.

    Quality is `score`, else `score_drop`, else the first objective. A study of one objective is
    shown over the size of the file.
    """
    quality = next((n for n in ("score", "score_drop") if n in objectives), next(iter(objectives)))
    costs = [name for name in objectives if name != quality] or ["size_bytes"]
    wanted = [*costs, "latency_ratio", "size_bytes"]
    figures = [name for name in wanted if name in baseline.metrics]
    return [
        Panel(
            across=cost,
            upward=quality,
            colour=next((n for n in figures if n not in (cost, quality)), None),
        )
        for cost in costs
    ]


def shown(name: str, value: float) -> float:
    """Return a metric in the unit of its label: bytes as kB (1,000 bytes), all else as it is."""
    return value / 1000 if name.endswith("_bytes") else value


def colour_values(records: Sequence[TrialRecord], name: str) -> list[float]:
    """Return a metric of each record in the unit of its label."""
    return [shown(name, record.metrics[name]) for record in records]


def standard_errors(records: Sequence[TrialRecord], panel: Panel) -> list[float] | None:
    """Return the standard errors of what a panel shows upward, where that is a score."""
    name = "score_standard_error"
    if panel.upward not in ("score", "score_drop") or any(name not in r.metrics for r in records):
        return None
    return [record.metrics[name] for record in records]


def label(name: str) -> str:
    """Return what an axis says of a metric."""
    return LABELS.get(name, name)


def staircase(
    records: Sequence[TrialRecord], panel: Panel, objectives: Objectives
) -> tuple[list[float], list[float]]:
    """Return the corners of the region that feasible trials reach in the plane of a panel."""
    plane = {n: objectives.get(n, "minimize") for n in (panel.across, panel.upward)}
    edge = pareto_front(records, plane)
    costs = cost_matrix(edge, plane)
    order = costs[:, 0].argsort()
    across = [shown(panel.across, edge[i].metrics[panel.across]) for i in order]
    upward = [edge[i].metrics[panel.upward] for i in order]
    return across, upward


def quality_window(
    records: Sequence[TrialRecord], front_numbers: Collection[int], panel: Panel
) -> tuple[float, float]:
    """Return the range of quality around the front and the baseline, with room for neighbours."""
    near = [
        r.metrics[panel.upward]
        for r in records
        if r.status == "ok" and (r.number in front_numbers or r.origin == "baseline")
    ]
    low, high = min(near), max(near)
    room = max(high - low, 0.01 * max(abs(high), abs(low), 1e-9))
    return low - 0.2 * room, high + 0.1 * room


def tally(records: Sequence[TrialRecord], front_numbers: Collection[int]) -> str:
    """Return what became of all trials, in one line."""
    measured = [r for r in records if r.status == "ok"]
    infeasible = sum(not r.feasible for r in measured)
    parts = [f"{len(records)} trials", f"{len(front_numbers)} on the front"]
    if infeasible:
        parts.append(f"{infeasible} beyond a constraint")
    if len(measured) < len(records):
        parts.append(f"{len(records) - len(measured)} without a result")
    return " · ".join(parts)


def write_pictures(
    records: Sequence[TrialRecord],
    front_numbers: Collection[int],
    objectives: Mapping[str, str],
    baseline: TrialRecord,
    folder: Path,
) -> list[Path]:
    """Write front.html and front.png, each replaced in one step; return their paths."""
    from search.report.html import write_html
    from search.report.png import write_png

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, write in (("front.html", write_html), ("front.png", write_png)):
        path, draft = folder / name, folder / f".part-{name}"
        write(records, front_numbers, objectives, baseline, draft)
        draft.replace(path)
        paths.append(path)
    return paths
