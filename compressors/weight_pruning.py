"""Weight pruning: the least important single weights are held at zero."""

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from compressors.base import InfeasibleError, Kind, Task, check_choice, check_range
from compressors.copying import copy_model
from compressors.importance import IMPORTANCES, contribution, magnitude
from compressors.weights import Weight, compressible_weights


class Mask(nn.Module):
    """A parametrisation that holds chosen entries of a weight at zero, through training too."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        """Keep a boolean mask in the shape of the weight, False where the weight is zero."""
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with its masked entries at zero."""
        return torch.where(self.mask, weight, 0.0)


@dataclass(frozen=True, kw_only=True)
class WeightPruning:
    """Hold a share of the weights at zero, the least important first (unstructured pruning).

    Weights that an earlier mask holds at zero count towards the share and stay there.
    """

    kind: ClassVar[Kind] = Kind.MASKS_WEIGHTS

    ratio: float = 0.0
    """The share of zeros, in [0, 1); of n weights, floor(ratio * n) are zero."""
    importance: Literal["magnitude", "contribution"] = "magnitude"
    """Absolute value, or contribution to the output on calibration data."""
    scope: Literal["layer", "global"] = "layer"
    """The share holds for each weight tensor, or for all together, each keeping at least one."""

    def __post_init__(self) -> None:
        check_range("ratio", self.ratio, 0, 1, closed=False)
        check_choice("importance", self.importance, IMPORTANCES)
        check_choice("scope", self.scope, ("layer", "global"))

    @property
    def active(self) -> bool:
        """True when any weight is to be zero."""
        return self.ratio > 0

    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a copy whose least important weights are masked.

        Raises:
            InfeasibleError: the model has no weights, or so few that none can go.
        """
        pruned = copy_model(model)
        if not self.active:
            return pruned
        weights = compressible_weights(pruned)
        if not weights:
            raise InfeasibleError("weight pruning: the model has no weights with two or more axes")
        scores = [_protect(w, s) for w, s in zip(weights, self._scores(pruned, task), strict=True)]
        masks = _masks(scores, self.ratio, together=self.scope == "global")
        if all(bool(mask.all()) for mask in masks):
            raise InfeasibleError(f"weight pruning: ratio {self.ratio:g} leaves every weight")
        for weight, mask in zip(weights, masks, strict=True):
            _apply(weight, mask)
        return pruned

    def _scores(self, model: nn.Module, task: Task) -> list[Tensor]:
        weights = compressible_weights(model)
        if self.importance == "magnitude":
            return [magnitude(weight.value()) for weight in weights]
        by_name = contribution(model, task)
        names = {id(p): name for name, p in model.named_parameters()}
        return [by_name[names[id(_stored(weight))]] for weight in weights]


def _stored(weight: Weight) -> Tensor:
    module, attribute = weight.places[0]
    if not weight.chain():
        return cast(Tensor, getattr(module, attribute))
    chain = cast(nn.ModuleDict, module.parametrizations)[attribute]
    if not isinstance(getattr(chain, "original", None), Tensor):
        raise InfeasibleError(
            f"weight pruning: the contribution of {weight.name} is not defined, as it is made of "
            f"several stored tensors"
        )
    return cast(Tensor, chain.original)


def _earlier_mask(weight: Weight) -> Mask | None:
    chain = weight.chain()
    return chain[-1] if chain and isinstance(chain[-1], Mask) else None


def _protect(weight: Weight, scores: Tensor) -> Tensor:
    """Rank the entries of an earlier mask below all others, so that masks nest."""
    earlier = _earlier_mask(weight)
    return scores if earlier is None else torch.where(earlier.mask, scores, -1.0)


def _masks(scores: list[Tensor], ratio: float, *, together: bool) -> list[Tensor]:
    if not together:
        return [_keep(score.flatten(), ratio).view(score.shape) for score in scores]
    flat = [score.flatten().clone() for score in scores]
    for score in flat:
        score[score.argmax()] = torch.inf
    kept = torch.split(_keep(torch.cat(flat), ratio), [score.numel() for score in flat])
    return [mask.view(score.shape) for mask, score in zip(kept, scores, strict=True)]


def _keep(scores: Tensor, ratio: float) -> Tensor:
    """Return a mask over `[N]` scores, False at the floor(ratio * N) lowest, ties by position."""
    zeros = int(ratio * scores.numel() + 1e-9)
    keep = torch.ones_like(scores, dtype=torch.bool)
    keep[scores.argsort(stable=True)[:zeros]] = False
    return keep & (scores >= 0)


def _apply(weight: Weight, mask: Tensor) -> None:
    earlier = _earlier_mask(weight)
    if earlier is not None:
        earlier.mask.copy_(mask)
    else:
        weight.add(Mask(mask))
