"""Codebooks: a weight that takes a few values, which are stored once and can be trained."""

import numpy as np
import torch
from torch import Tensor, nn

from compressors.weights.compressible import Weight
from compressors.weights.encoded import CodedWeight
from compressors.weights.k_means import cluster
from compressors.weights.masks import Mask


class Codebook(nn.Module):
    """A parametrisation that gives every non-zero weight the nearest of K learned centroids.

    In training the centroids receive the gradient of the weights they stand for (Han et al.,
    2016, arXiv:1510.00149), and each weight receives it too, as if it were not rounded, so that
    it can change its cluster. An exact zero stays zero, at index 0.
    """

    def __init__(self, centroids: Tensor, *, zeros: bool) -> None:
        """Keep the centroids as a parameter.

        Args:
            centroids: Distinct values `[K]`, in any order.
            zeros: Whether the weight has exact zeros, which then take index 0 of the table.
        """
        super().__init__()
        self.zeros = zeros
        self.centroids = nn.Parameter(centroids, requires_grad=False)

    def table(self) -> Tensor:
        """Return the values a weight can take, `[K]`, or `[K + 1]` with the zero first.

        The centroids are in ascending order, even where training has moved them past each other.
        """
        ordered = self.centroids.sort().values
        return torch.cat([ordered.new_zeros(1), ordered]) if self.zeros else ordered

    def indices(self, weight: Tensor) -> Tensor:
        """Return the index in the table for each value of a weight `[R, ...]`, in its shape."""
        ordered = self.table().detach()[int(self.zeros) :]
        nearest = torch.bucketize(weight.detach().contiguous(), (ordered[1:] + ordered[:-1]) / 2)
        return torch.where(weight != 0, nearest + 1, 0) if self.zeros else nearest

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight `[R, ...]` with each value replaced by its nearest centroid."""
        looked_up = self.table().index_select(0, self.indices(weight).flatten())
        # The bracket is exactly zero: it only carries the gradient.
        return looked_up.view(weight.shape) + (weight - weight.detach())

    def coded(self, original: Tensor) -> CodedWeight:
        """Return the code of the weight that this codebook makes of `original` `[R, ...]`."""
        levels = self.table().detach().float().cpu().numpy()
        indices = self.indices(original).flatten(1).cpu().numpy()
        rows, columns = indices.shape
        return CodedWeight(
            indices=indices.astype(np.min_scalar_type(len(levels) - 1)),
            levels=levels,
            offset=np.zeros((rows, 1), dtype=np.float32),
            factor=np.ones((rows, 1), dtype=np.float32),
            group=columns,
            bits=None,
            shape=tuple(original.shape),
        )


def share(weight: Weight, clusters: int) -> None:
    """Put a codebook on a weight, in place.

    A weight with zeros and without a mask gets a mask first, which holds the zeros in training.

    Args:
        weight: A weight with at least one non-zero value.
        clusters: The greatest number of centroids.
    """
    value = weight.value()
    mask = value != 0
    masked = any(isinstance(step, Mask) for step in weight.chain())
    if not masked and not bool(mask.all()):
        weight.add(Mask(mask))
    weight.add(codebook_for(value, clusters))


def codebook_for(value: Tensor, clusters: int) -> Codebook:
    """Return the codebook that fits the values of a weight.

    Args:
        value: The weight `[R, ...]`, with at least one non-zero value.
        clusters: The greatest number of centroids; beside zeros there are at most 255.
    """
    filled = value[value != 0]
    zeros = filled.numel() < value.numel()
    return Codebook(cluster(filled, min(clusters, 256 - zeros)), zeros=zeros)
