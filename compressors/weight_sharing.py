"""Weight sharing: the weights of a layer take a few values, which are stored once."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.base import Task, check_choice, check_range
from compressors.budget.knapsack import allocate
from compressors.budget.per_layer import check_patterns, layer_value
from compressors.budget.sensitivity import Change, sensitivity
from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.models.copying import copy_model
from compressors.weights.biases import round_biases
from compressors.weights.compressible import Weight, compressible_weights
from compressors.weights.encoded import CodedWeight
from compressors.weights.masks import Mask, settle_masks

LADDER = (2, 3, 4, 6, 8, 16, 32, 64, 255)
"""The numbers of clusters at which the sensitivity of a weight is probed."""

BINS = 8192
"""Weights of more values than four times this are clustered through a histogram."""


class Codebook(nn.Module):
    """A parametrisation that gives every non-zero weight the nearest of K learned centroids.

    In training the centroids receive the gradient of the weights they stand for (Han et al.,
    2016, arXiv:1510.00149), and each weight receives it too, as if it were not rounded, so that
    it can change its cluster. An exact zero stays zero, at index 0.
    """

    def __init__(self, centroids: Tensor, *, zeros: bool) -> None:
        """Keep the centroids `[K]` as a parameter.

        Args:
            centroids: Distinct, in any order.
            zeros: Whether the weight has exact zeros, which then have a place in the table.
        """
        super().__init__()
        self.zeros = zeros
        self.centroids = nn.Parameter(centroids, requires_grad=False)

    def table(self) -> Tensor:
        """Return the values of a weight, ascending after the zero, `[K]` or `[K + 1]`."""
        ordered = self.centroids.sort().values
        return torch.cat([ordered.new_zeros(1), ordered]) if self.zeros else ordered

    def indices(self, weight: Tensor) -> Tensor:
        """Return where in the table each value of a weight is, in its shape."""
        ordered = self.table().detach()[int(self.zeros) :]
        nearest = torch.bucketize(weight.detach().contiguous(), (ordered[1:] + ordered[:-1]) / 2)
        return torch.where(weight != 0, nearest + 1, 0) if self.zeros else nearest

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with its values replaced by centroids, in its shape."""
        looked_up = self.table().index_select(0, self.indices(weight).flatten())
        # The bracket is exactly zero: it only carries the gradient.
        return looked_up.view(weight.shape) + (weight - weight.detach())

    def coded(self, original: Tensor) -> CodedWeight:
        """Return the code of the weight `[R, ...]` that this codebook makes of its input."""
        indices = self.indices(original).flatten(1).cpu().numpy().astype(np.int64)
        rows, columns = indices.shape
        return CodedWeight(
            indices=indices,
            levels=self.table().detach().float().cpu().numpy(),
            offset=np.zeros((rows, 1), dtype=np.float32),
            factor=np.ones((rows, 1), dtype=np.float32),
            group=columns,
            bits=None,
            shape=tuple(original.shape),
        )


@dataclass(frozen=True, kw_only=True)
class WeightSharing:
    """Cluster the weights of each layer by k-means and store each cluster once.

    Weights that are zero stay exactly zero, beside the clusters (Han et al., 2016,
    arXiv:1510.00149). A later recovery trains the centroids and the choice among them.
    """

    kind: ClassVar[CompressorKind] = CompressorKind.ENCODES_WEIGHTS

    clusters: int = 0
    """Distinct non-zero values of a weight tensor: 2 to 256 (255 beside zeros), or 0 for off."""
    allocation: Literal["uniform", "sensitivity"] = "uniform"
    """The same number for every weight; or, at the same mean of its logarithm over the non-zero
    weights, numbers of least measured divergence."""
    layers: Mapping[str, int] = field(default_factory=dict)
    """Clusters of single weights, by patterns on their names; they do not count in the mean."""
    biases: bool = True
    """Round biases too, to 8-bit integers with one scale each."""

    def __post_init__(self) -> None:
        if self.clusters != 0:
            check_range("clusters", self.clusters, 2, 256)
        check_choice("allocation", self.allocation, ("uniform", "sensitivity"))
        if self.layers and self.clusters == 0:
            raise ValueError("layers need clusters, the number for the other weights, got 0")
        for pattern, clusters in self.layers.items():
            check_range(f"layers[{pattern}]", clusters, 2, 256)

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
        settle_masks(shared)
        weights = compressible_weights(shared)
        check_patterns(self.layers, [weight.name for weight in weights])
        filled = [i for i, weight in enumerate(weights) if bool(weight.value().any())]
        if not filled:
            raise InfeasibleError("weight sharing: no non-zero weights with two or more axes")
        for i, clusters in self._clusters(shared, weights, filled, task).items():
            share(weights[i], clusters)
        if self.biases:
            round_biases(shared)
        return shared

    def _clusters(
        self, model: nn.Module, weights: list[Weight], filled: list[int], task: Task
    ) -> dict[int, int]:
        """Return the clusters of each weight that has values, by its position."""
        chosen = {i: layer_value(self.layers, weights[i].name, 0) for i in filled}
        rest = [i for i in filled if chosen[i] == 0]
        if self.allocation == "uniform" or not rest:
            return {i: clusters or self.clusters for i, clusters in chosen.items()}
        ladder = list(LADDER)
        changes = [_sharing(i, clusters) for i in rest for clusters in ladder]
        name = f"clusters {ladder} {[weights[i].name for i in rest]}"
        found = sensitivity(model, task, changes, name=name)
        costs = [found[k * len(ladder) : (k + 1) * len(ladder)] for k in range(len(rest))]
        counts = [int(weights[i].value().count_nonzero()) for i in rest]
        sizes = [[count * math.log2(clusters) for clusters in ladder] for count in counts]
        levels = allocate(costs, sizes, sum(counts) * math.log2(self.clusters))
        return chosen | {i: ladder[level] for i, level in zip(rest, levels, strict=True)}


def _sharing(position: int, clusters: int) -> Change:
    """Return the change that shares one weight, given by its position."""
    return lambda model: share(compressible_weights(model)[position], clusters)


def share(weight: Weight, clusters: int) -> None:
    """Put a codebook on a weight that has a non-zero value; its zeros are held by a mask."""
    value = weight.value()
    mask = value != 0
    masked = any(isinstance(step, Mask) for step in weight.chain())
    if not masked and not bool(mask.all()):
        weight.add(Mask(mask))
    weight.add(codebook_for(value, clusters))


def codebook_for(value: Tensor, clusters: int) -> Codebook:
    """Return the codebook that fits a weight which has a non-zero value."""
    filled = value[value != 0]
    zeros = filled.numel() < value.numel()
    return Codebook(cluster(filled, min(clusters, 256 - zeros)), zeros=zeros)


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
