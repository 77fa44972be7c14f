"""The hypervolume: how much a set of trials gains over the baseline, as one number."""

import math
from collections.abc import Mapping

import moocore
import numpy as np
from numpy.typing import NDArray

from search.pareto.front import Objectives, direction_sign

SCORE_TOLERANCE = 0.10
"""Loss of score, as a share of the baseline's score, at which a model is worth nothing."""


def hypervolume(
    costs: NDArray[np.float64],
    objectives: Objectives,
    baseline_metrics: Mapping[str, float],
    reference: Mapping[str, float],
) -> float:
    """Return the volume that some trials dominate, in units of the baseline.

    A model with the baseline's score at zero cost is worth 1. A trial that is not better than the
    reference in every objective adds nothing (Zitzler and Thiele, 1999, doi:10.1109/4235.797969;
    computed by moocore).

    Args:
        costs: `[trials, objectives]`, as of `cost_matrix`.
        objectives: Direction by metric.
        baseline_metrics: The metrics of the uncompressed model.
        reference: By objective, the value from which a gain counts. Without an entry it lies 10 %
            of the absolute baseline score below the baseline for `score`, `score_drop` and
            `relative_drop` (0.1 below a baseline that scores 0), and at the baseline's value for
            any other metric.

    Raises:
        ValueError: An objective cannot be normalised.
    """
    signs = np.array([direction_sign(name, way) for name, way in objectives.items()])
    scales = [reference_and_unit(*item, baseline_metrics, reference) for item in objectives.items()]
    references, units = np.array(scales, dtype=np.float64).T
    gains = (signs * references - costs) / units
    better = gains[(gains > 0).all(axis=1)]
    return float(moocore.hypervolume(better, ref=0.0, maximise=True)) if len(better) else 0.0


def reference_and_unit(
    name: str,
    way: str,
    baseline_metrics: Mapping[str, float],
    reference: Mapping[str, float],
) -> tuple[float, float]:
    """Return the value of an objective that is worth nothing, and the gain that is worth 1.

    The unit is the distance from the reference to the baseline's score, or to 0 for any other
    metric; a distance of 0 gives the unit 1.

    Raises:
        ValueError: The baseline's value is missing or not finite.
    """
    drops = name in ("score_drop", "relative_drop")
    source = "score" if drops else name
    value = baseline_metrics.get(source)
    if value is None or not math.isfinite(value):
        raise ValueError(
            f"objective {name} cannot be compared with the baseline, whose {source} is {value}: "
            "choose another objective"
        )
    tolerance = SCORE_TOLERANCE * (1.0 if name == "relative_drop" else abs(value) or 1.0)
    ideal = value if name == "score" else 0.0
    default = ideal + direction_sign(name, way) * tolerance if drops or name == "score" else value
    worthless = reference.get(name, default)
    return worthless, abs(ideal - worthless) or 1.0
