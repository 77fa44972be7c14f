"""Weight sharing: the weights of a layer take a few values, which are stored once."""

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.base import InfeasibleError, Kind, Task, check_range
from compressors.coding import CodedWeight
from compressors.copying import copy_model
from compressors.weights import compressible_weights

BINS = 8192
"""Weights of more values than four times this are clustered through a histogram."""


class Codebook(nn.Module):
    """A parametrisation whose parameter is the centroids `[K]`: the weight is looked up in them.

    With zeros, index 0 stands for an exact zero that is no centroid and is not trained.
    """

    indices: Tensor

    def __init__(self, indices: Tensor, *, zeros: bool) -> None:
        """Keep the indices, uint8 in the shape of the weight."""
        super().__init__()
        self.zeros = zeros
        self.register_buffer("indices", indices)

    def table(self, centroids: Tensor) -> Tensor:
        """Return the values that the indices point to, `[K]` or, with the zero, `[K + 1]`."""
        return torch.cat([centroids.new_zeros(1), centroids]) if self.zeros else centroids

    def forward(self, centroids: Tensor) -> Tensor:
        """Return the weight `[R, ...]` that centroids `[K]` make."""
        looked_up = self.table(centroids).index_select(0, self.indices.flatten().int())
        return looked_up.view(self.indices.shape)

    def coded(self, original: Tensor) -> CodedWeight:
        """Return the code of the weight that centroids `[K]` make."""
        rows = self.indices.shape[0]
        return CodedWeight(
            indices=self.indices.flatten(1).cpu().numpy().astype(np.int64),
            levels=self.table(original.detach()).float().cpu().numpy(),
            offset=np.zeros(rows, dtype=np.float32),
            factor=np.ones(rows, dtype=np.float32),
            bits=None,
            shape=tuple(self.indices.shape),
        )


@dataclass(frozen=True, kw_only=True)
class WeightSharing:
    """Cluster the weights of each layer by k-means and store each cluster once.

    Weights that are zero stay exactly zero, beside the clusters (Han et al., 2016,
    arXiv:1510.00149). An earlier mask is taken into the code.
    """

    kind: ClassVar[Kind] = Kind.ENCODES_WEIGHTS

    clusters: int = 0
    """Distinct non-zero values of a weight tensor: 2 to 256 (255 beside zeros), or 0 for off."""

    def __post_init__(self) -> None:
        if self.clusters != 0:
            check_range("clusters", self.clusters, 2, 256)

    @property
    def active(self) -> bool:
        """True when a number of clusters is set."""
        return self.clusters > 0

    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a copy with shared weights.

        Raises:
            InfeasibleError: the model has no weights, or all are zero.
        """
        shared = copy_model(model)
        if not self.active:
            return shared
        acted = False
        for weight in compressible_weights(shared):
            value = weight.value()
            if bool(value.any()):
                weight.replace(*encode(value, self.clusters))
                acted = True
        if not acted:
            raise InfeasibleError("weight sharing: no non-zero weights with two or more axes")
        return shared


def encode(weight: Tensor, clusters: int) -> tuple[Tensor, Codebook]:
    """Return the centroids `[K]`, ascending, and the codebook of a weight with a non-zero value."""
    mask = weight != 0
    zeros = not bool(mask.all())
    values = weight[mask]
    centroids = cluster(values, min(clusters, 255) if zeros else clusters)
    nearest = torch.bucketize(values, (centroids[1:] + centroids[:-1]) / 2)
    indices = torch.zeros_like(weight, dtype=torch.uint8)
    indices[mask] = (nearest + int(zeros)).to(torch.uint8)
    return centroids, Codebook(indices, zeros=zeros)


def cluster(values: Tensor, clusters: int) -> Tensor:
    """Return at most `clusters` k-means centroids of values `[N]`, ascending and distinct.

    The result depends on the values alone. Many values are first counted into the bins of a fine
    histogram, of which the means are clustered.
    """
    sample = values.detach().double().cpu().numpy()
    points, counts = _histogram(sample) if sample.size > 4 * BINS else (sample, None)
    centres = np.unique(points)
    if centres.size > clusters:
        centres = _k_means(points, counts, _start(sample, clusters))
    return torch.from_numpy(np.unique(centres.astype(np.float32))).to(values)


def _histogram(sample: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    counts, edges = np.histogram(sample, bins=BINS)
    sums, _ = np.histogram(sample, bins=edges, weights=sample)
    filled = counts > 0
    return sums[filled] / counts[filled], counts[filled].astype(np.float64)


def _start(sample: NDArray[np.float64], clusters: int) -> NDArray[np.float64]:
    """Return first centroids, as dense as the cube root of the values' own density.

    This is what the best ones tend to (Panter & Dite, 1951, doi:10.1109/JRPROC.1951.230419).
    """
    counts, edges = np.histogram(sample, bins=min(128, max(16, sample.size // 64)))
    share = np.cumsum([0.0, *np.cbrt(counts)])
    return np.unique(np.interp((np.arange(clusters) + 0.5) / clusters, share / share[-1], edges))


def _k_means(
    points: NDArray[np.float64], counts: NDArray[np.float64] | None, start: NDArray[np.float64]
) -> NDArray[np.float64]:
    from sklearn.cluster import KMeans  # costs a second to import, and most uses do without
    from sklearn.exceptions import ConvergenceWarning

    fit = KMeans(n_clusters=start.size, init=start[:, None], n_init=1, tol=1e-6, random_state=0)
    with warnings.catch_warnings():
        # Fewer clusters than were asked for are fine.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit.fit(points[:, None], sample_weight=counts)
    centres: NDArray[np.float64] = fit.cluster_centers_[:, 0]
    return centres
