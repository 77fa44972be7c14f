"""A weight with the order in which its entries are masked."""

from dataclasses import dataclass

import torch
from torch import Tensor

from compressors.weights.compressible import Weight
from compressors.weights.masks import Mask


@dataclass(frozen=True, kw_only=True, eq=False)
class RankedWeight:
    """A weight of a model, the importance of its entries and their order."""

    position: int
    """Place of the weight among the compressible weights of its model."""
    weight: Weight
    scores: Tensor
    """Importance of each entry, `[R, ...]`, in the shape of the weight."""
    order: Tensor
    """`[R, ...]`: the scores, and -1 for entries that an earlier mask holds at zero. The lowest
    entries are masked first, so that masks nest."""


def rank(position: int, weight: Weight, scores: Tensor) -> RankedWeight:
    """Return a weight of a model, ranked by the scores `[R, ...]` of its entries."""
    masked = any(isinstance(step, Mask) for step in weight.chain())
    order = torch.where(weight.value() != 0, scores, -1.0) if masked else scores
    return RankedWeight(position=position, weight=weight, scores=scores, order=order)


def add_mask(weight: Weight, mask: Tensor, scores: Tensor) -> Mask:
    """Put a mask `[R, ...]` on top of a weight, in place, and return it.

    Args:
        weight: The weight to be masked.
        mask: False where the weight becomes zero, `[R, ...]`.
        scores: Importance of each entry, by which a schedule chooses anew, `[R, ...]`.
    """
    size = weight.value().abs()
    factor = torch.where(size > 0, scores / size.clamp(min=torch.finfo(size.dtype).tiny), 1.0)
    made = Mask(mask, factor=factor if bool((factor != 1).any()) else None)
    weight.add(made)
    return made
