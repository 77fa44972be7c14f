"""Labels beside the values of a tensor: one facet for each kind of channel that it has."""

from collections.abc import Sequence

import torch
from torch import Tensor

Facet = Tensor
"""Labels in the shape of the tensor that they belong to, float64 so that every operation which
moves values can move them; axes along which they are equal have stride 0."""


def along(labels: Tensor, axis: int, shape: Sequence[int]) -> Facet:
    """Return a facet of a shape whose labels `[N]` run along one axis."""
    view = [1] * len(shape)
    view[axis] = -1
    return labels.double().view(view).expand(*shape)


def compact(facet: Facet) -> Tensor:
    """Return a facet with size 1 on the axes along which it is stored once."""
    for axis, (size, stride) in enumerate(zip(facet.shape, facet.stride(), strict=True)):
        if stride == 0 and size > 1:
            facet = facet.narrow(axis, 0, 1)
    return facet


def folded(facet: Facet) -> Facet:
    """Return the facet with stride 0 on every axis along which its labels are equal."""
    small = compact(facet)
    for axis in range(small.dim()):
        if small.shape[axis] > 1 and bool((small == small.narrow(axis, 0, 1)).all()):
            small = small.narrow(axis, 0, 1)
    return small.expand(facet.shape)


def varying(facet: Facet) -> frozenset[int]:
    """Return the axes along which the labels of a folded facet differ."""
    return frozenset(axis for axis, size in enumerate(compact(facet).shape) if size > 1)


def without(facet: Facet, axes: Sequence[int], *, keep: bool = False) -> Facet:
    """Return a facet at the first position of some axes, which stay with size 1 or go."""
    for axis in sorted(axes, reverse=True):
        facet = facet.narrow(axis, 0, 1) if keep else facet.select(axis, 0)
    return facet


def broadcast(facet: Facet, shape: torch.Size) -> Facet:
    """Return a facet in a shape that its tensor is broadcast to."""
    return facet.expand(shape)
