"""A weight as the product of two thin ones, by truncated singular values."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from compressors.models.trainable import carry_frozen

PRECISION = 1e-6
"""Relative rounding error of the squared singular values of float32 weights."""

FactorisableLayer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(frozen=True, kw_only=True, eq=False)
class Factors:
    """The singular value decomposition of a layer's weight `[O, I, *K]`, as `[O, I * K]`."""

    left: Tensor
    """Left singular vectors `[O, M]` with M = min(O, I * K)."""
    values: Tensor
    """Singular values `[M]`, descending."""
    right: Tensor
    """Right singular vectors `[M, I * K]`."""
    shape: torch.Size
    """Shape of the layer's weight, `[O, I, *K]`."""

    @property
    def full_size(self) -> int:
        """The number of weights of the layer itself."""
        return self.shape.numel()

    def size(self, rank: int) -> int:
        """Return the number of weights of both factors."""
        return rank * (self.left.shape[0] + self.right.shape[1])

    def rank(self, energy: float) -> int:
        """Return the least rank that keeps a share of the sum of squared singular values.

        Args:
            energy: The share, in [0, 1].
        """
        kept = self.values.double().square().cumsum(0)
        enough = kept >= energy * kept[-1] * (1 - PRECISION)
        return int(enough.int().argmax()) + 1

    def split(self, rank: int) -> tuple[Tensor, Tensor]:
        """Return `[O, rank]` and `[rank, I * K]`, each times the root of the singular values.

        Their product has the least squared error of this rank (Eckart & Young, 1936), which is the
        sum of the squares of the other singular values.
        """
        roots = self.values[:rank].sqrt()
        return self.left[:, :rank] * roots, roots[:, None] * self.right[:rank]

    def weight(self, rank: int) -> Tensor:
        """Return the product of both factors in the shape of the layer's weight, `[O, I, *K]`."""
        left, right = self.split(rank)
        return (left @ right).view(self.shape)


def factors_of(layer: FactorisableLayer) -> Factors:
    """Return the decomposition of a layer's weight `[O, I, *K]`, computed in at least float32."""
    weight = layer.weight.detach()
    matrix = weight.flatten(1)
    matrix = matrix if matrix.dtype == torch.float64 else matrix.float()
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return Factors(left=left, values=values, right=right, shape=weight.shape)


def factorised(layer: FactorisableLayer, factors: Factors, rank: int) -> nn.Sequential:
    """Return two plain layers that replace one, in its dtype and on its device.

    A linear layer becomes two (Denton et al., 2014, arXiv:1404.0736). A convolution becomes one
    of the same kernel, stride and padding to `rank` channels, and one of kernel 1 (Zhang et
    al., 2015, arXiv:1505.06798). The first has no bias, the second the layer's own.

    Args:
        layer: The layer to replace, unchanged afterwards.
        factors: The decomposition of its weight.
        rank: The width between the two, at least 1.
    """
    left, right = factors.split(rank)
    pair = _pair(layer, rank)
    first, second = cast(tuple[FactorisableLayer, FactorisableLayer], tuple(pair))
    with torch.no_grad():
        first.weight.copy_(right.view(first.weight.shape))
        second.weight.copy_(left.view(second.weight.shape))
        if layer.bias is not None and second.bias is not None:
            second.bias.copy_(layer.bias)
    carry_frozen(layer, pair)
    return pair.requires_grad_(layer.weight.requires_grad).train(layer.training)


def _pair(layer: FactorisableLayer, rank: int) -> nn.Sequential:
    """Return the two layers, their weights uninitialised."""
    bias = layer.bias is not None
    with torch.device("meta"):
        if isinstance(layer, nn.Linear):
            pair = nn.Sequential(
                nn.Linear(layer.in_features, rank, bias=False),
                nn.Linear(rank, layer.out_features, bias=bias),
            )
        else:
            first = type(layer)(
                layer.in_channels,
                rank,
                layer.kernel_size,  # type: ignore[arg-type]
                stride=layer.stride,  # type: ignore[arg-type]
                padding=layer.padding,  # type: ignore[arg-type]
                dilation=layer.dilation,  # type: ignore[arg-type]
                padding_mode=layer.padding_mode,
                bias=False,
            )
            pair = nn.Sequential(first, type(layer)(rank, layer.out_channels, 1, bias=bias))
    return pair.to(layer.weight.dtype).to_empty(device=layer.weight.device)
