"""The rank of a trial among the trials at the same rung, before there is an artefact to measure."""

import math
from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

from search.trial_record import ModelEstimate

STAND_INS = {
    "score": "nll",
    "score_drop": "nll",
    "relative_drop": "nll",
    "nll": "nll",
    "size_bytes": "estimated_bytes",
    "size_ratio": "estimated_bytes",
    "bits_per_weight": "estimated_bytes",
    "run_bytes": "estimated_bytes",
    "latency_ms": "macs",
    "latency_ratio": "macs",
    "tokens_per_second": "macs",
    "bops": "macs",
    "bops_ratio": "macs",
    "macs": "macs",
    "parameters": "parameters",
    "nonzeros": "nonzeros",
}
"""By objective, the metric that stands for it before there is an artefact; lower is better.

The loss ranks models with little training better than a score does."""
LINEAR_BELOW = 1e-3
"""Size below which the logarithmic scale of the costs becomes linear around 0."""


def rung_costs(estimate: ModelEstimate, objectives: Sequence[str]) -> list[float]:
    """Return the costs that stand for the objectives at a rung, lower is better, none twice.

    Args:
        estimate: A model in memory.
        objectives: The names of the objectives; one without a stand-in is left out.
    """
    names = dict.fromkeys(STAND_INS[name] for name in objectives if name in STAND_INS)
    return [float(np.arcsinh(getattr(estimate, name) / LINEAR_BELOW)) for name in names]


def passes(costs: Sequence[float], peers: Sequence[Sequence[float]], factor: float) -> bool:
    """Return whether a trial is among the best `1 / factor` of itself and its peers at a rung.

    The first `factor` trials at a rung all pass, and all trials where nothing is compared. This is
    the stopping form of asynchronous successive halving (Li et al., 2020, arXiv:1810.05934), with
    non-domination and crowding in place of a single metric (Schmucker et al., 2021,
    arXiv:2106.12639).

    Args:
        costs: The costs of the trial, as of `rung_costs`.
        peers: The costs of the trials that reached the rung before.
        factor: The inverse of the share that goes on, above 1.
    """
    if not costs or len(peers) < factor:
        return True
    order = ranking(np.array([*peers, costs], dtype=np.float64))
    place = int(np.flatnonzero(order == len(peers))[0])
    return place < math.ceil((len(peers) + 1) / factor)


def ranking(costs: NDArray[np.float64]) -> NDArray[np.intp]:
    """Order trials by front, and within a front by crowding distance, the least crowded first.

    The crowding distance (Deb et al., 2002, doi:10.1109/4235.996017) counts the gap beyond the end
    of a front as the gap before it, so that a worthless extreme is not always kept.

    Args:
        costs: `[trials, metrics]`, lower is better.

    Returns:
        The rows `[trials]` of `costs`, the best first.
    """
    fronts = moocore.pareto_rank(costs)
    spread = np.ptp(costs, axis=0)
    scaled = costs / np.where(spread > 0, spread, 1.0)
    crowding = np.zeros(len(costs))
    for front in np.unique(fronts):
        rows = np.flatnonzero(fronts == front)
        crowding[rows] = sum(_gaps(scaled[rows, column]) for column in range(costs.shape[1]))
    return np.lexsort((np.arange(len(costs)), -crowding, fronts))


def _gaps(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance `[trials]` between the neighbours of each value `[trials]`."""
    order = np.argsort(values, kind="stable")
    steps = np.diff(values[order])
    gaps = np.zeros(len(values))
    if len(steps):
        gaps[order] = np.concatenate([[2 * steps[0]], steps[1:] + steps[:-1], [2 * steps[-1]]])
    return gaps
