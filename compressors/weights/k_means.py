"""One-dimensional k-means over the values of a weight."""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BINS = 8192
"""Bins of the histogram that stands in for a weight of more than four times as many values."""


def cluster(values: Tensor, clusters: int) -> Tensor:
    """Return the k-means centroids of some values.

    The result is deterministic. More than `4 * BINS` values are first counted into a histogram,
    and the means of its bins are clustered.

    Args:
        values: The values `[N]`.
        clusters: The greatest number of centroids.

    Returns:
        Ascending, distinct centroids `[K]` with K <= clusters; the values themselves where there
        are no more than `clusters` distinct ones.
    """
    sample = values.detach().double().cpu().numpy()
    points, counts = _histogram(sample) if sample.size > 4 * BINS else (sample, None)
    centres = np.unique(points)
    if centres.size > clusters:
        centres = _k_means(points, counts, _start(sample, clusters))
    return torch.from_numpy(np.unique(centres.astype(np.float32))).to(values)


def _histogram(sample: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the count of every bin that has values."""
    counts, edges = np.histogram(sample, bins=BINS)
    sums, _ = np.histogram(sample, bins=edges, weights=sample)
    filled = counts > 0
    return sums[filled] / counts[filled], counts[filled].astype(np.float64)


def _start(sample: NDArray[np.float64], clusters: int) -> NDArray[np.float64]:
    """Return the initial centroids, whose density is the cube root of that of the values.

    The optimal centroids tend to this density (Panter & Dite, 1951,
    doi:10.1109/JRPROC.1951.230419).
    """
    counts, edges = np.histogram(sample, bins=min(128, max(16, sample.size // 64)))
    share = np.cumsum([0.0, *np.cbrt(counts)])
    return np.unique(np.interp((np.arange(clusters) + 0.5) / clusters, share / share[-1], edges))


def _k_means(
    points: NDArray[np.float64], counts: NDArray[np.float64] | None, start: NDArray[np.float64]
) -> NDArray[np.float64]:
    from sklearn.cluster import KMeans  # importing it takes a second
    from sklearn.exceptions import ConvergenceWarning

    fit = KMeans(n_clusters=start.size, init=start[:, None], n_init=1, tol=1e-6, random_state=0)
    with warnings.catch_warnings():
        # Fewer distinct clusters than requested are not an error.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit.fit(points[:, None], sample_weight=counts)
    centres: NDArray[np.float64] = fit.cluster_centers_[:, 0]
    return centres
