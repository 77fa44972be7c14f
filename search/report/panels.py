"""What the image and the page both show: which trials, on which axes, in which units."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from search.pareto.front import Objectives, cost_matrix, pareto_front
from search.trial_record import TrialRecord

LOG_SCALED = ("size_bytes", "run_bytes", "macs", "bops", "parameters", "nonzeros")
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
    "bops": "bit operations",
    "bops_ratio": "bit operations relative to the baseline",
    "bits_per_weight": "bits per weight of the baseline",
    "tokens_per_second": "tokens per second",
    "parameters": "parameters",
    "nonzeros": "non-zero parameters",
    "fidelity_db": "fidelity to the model in memory (dB)",
}
FRONT, DOMINATED, INFEASIBLE, BASELINE = "#0b7285", "#868e96", "#c92a2a", "#212529"
"""Colours of the four groups of trials."""


@dataclass(frozen=True, kw_only=True)
class FrontPicture:
    """The trials of a study, divided into the groups that a picture shows apart."""

    records: Sequence[TrialRecord]
    front_numbers: Collection[int]
    """Numbers of the trials on the front."""
    objectives: Objectives
    baseline: TrialRecord
    """The measured trial of the uncompressed model."""

    @property
    def measured(self) -> list[TrialRecord]:
        """Trials that have metrics."""
        return [record for record in self.records if record.status == "ok"]

    @property
    def members(self) -> list[TrialRecord]:
        """Members of the front, without the baseline."""
        return [r for r in self._compressed if r.number in self.front_numbers]

    @property
    def others(self) -> list[TrialRecord]:
        """Measured trials beside the front and the baseline."""
        return [r for r in self._compressed if r.number not in self.front_numbers]

    @property
    def dominated(self) -> list[TrialRecord]:
        """Feasible trials that are not on the front."""
        return [record for record in self.others if record.feasible]

    @property
    def infeasible(self) -> list[TrialRecord]:
        """Measured trials that break a constraint."""
        return [record for record in self.others if not record.feasible]

    @property
    def _compressed(self) -> list[TrialRecord]:
        return [record for record in self.measured if record.number != self.baseline.number]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One plot of the trials: a cost across, the quality upward, a third metric as colour."""

    across: str
    upward: str
    colour: str | None

    def points(self, records: Sequence[TrialRecord]) -> tuple[list[float], list[float]]:
        """Return where records lie in the plot, in the units of its labels."""
        across = metric_values(records, self.across)
        return across, [record.metrics[self.upward] for record in records]


def panels(objectives: Objectives, baseline: TrialRecord) -> list[Panel]:
    """Return a panel for each objective beside the quality, coloured by another objective.

    Quality is `score`, else `score_drop`, else the first objective. A study of one objective is
    shown over the size of the file.
    """
    quality = next((n for n in ("score", "score_drop") if n in objectives), next(iter(objectives)))
    costs = [name for name in objectives if name != quality] or ["size_bytes"]
    wanted = [*costs, "latency_ratio", "size_bytes"]
    colours = [name for name in wanted if name in baseline.metrics]
    return [
        Panel(
            across=cost,
            upward=quality,
            colour=next((n for n in colours if n not in (cost, quality)), None),
        )
        for cost in costs
    ]


def metric_values(records: Sequence[TrialRecord], name: str) -> list[float]:
    """Return a metric of each record in the unit of its label: bytes as kB (1,000 bytes)."""
    unit = 1000 if name.endswith("_bytes") else 1
    return [record.metrics[name] / unit for record in records]


def standard_errors(records: Sequence[TrialRecord], panel: Panel) -> list[float] | None:
    """Return the standard errors of a panel's quality, or None where it is not a score."""
    name = "score_standard_error"
    if panel.upward not in ("score", "score_drop") or any(name not in r.metrics for r in records):
        return None
    return [record.metrics[name] for record in records]


def label(name: str) -> str:
    """Return the label of a metric's axis."""
    return LABELS.get(name, name)


def staircase(picture: FrontPicture, panel: Panel) -> tuple[list[float], list[float]]:
    """Return the corners of the region that feasible trials reach in the plane of a panel."""
    plane = {n: picture.objectives.get(n, "minimize") for n in (panel.across, panel.upward)}
    corners = pareto_front(picture.records, plane)
    order = cost_matrix(corners, plane)[:, 0].argsort()
    return panel.points([corners[place] for place in order])


def quality_window(picture: FrontPicture, panel: Panel) -> tuple[float, float]:
    """Return the range of quality around the front and the baseline, errors too, with a margin."""
    near = [
        r for r in picture.measured if r.number in picture.front_numbers or r.origin == "baseline"
    ]
    errors = standard_errors(near, panel) or [0.0] * len(near)
    values = [record.metrics[panel.upward] for record in near]
    low = min(value - error for value, error in zip(values, errors, strict=True))
    high = max(value + error for value, error in zip(values, errors, strict=True))
    extent = max(high - low, 0.01 * max(abs(high), abs(low), 1e-9))
    return low - 0.2 * extent, high + 0.1 * extent


def tally(picture: FrontPicture) -> str:
    """Return the number of trials in each group, in one line."""
    total, measured = len(picture.records), picture.measured
    infeasible = sum(not record.feasible for record in measured)
    parts = [f"{total} trials", f"{len(picture.front_numbers)} on the front"]
    if infeasible:
        parts.append(f"{infeasible} beyond a constraint")
    if len(measured) < total:
        parts.append(f"{total - len(measured)} without a result")
    return " · ".join(parts)
