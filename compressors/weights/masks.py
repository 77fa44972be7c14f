"""Masks that hold weights at zero, and how they close gradually while the model is trained."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

RAMP = 0.6
"""The share of a training after which the masks of a schedule stay as they are."""


@dataclass(kw_only=True, eq=False)
class Schedule:
    """The weights under the masks that share this object have `zeros` zeros when it ends."""

    zeros: int


class Mask(nn.Module):
    """A parametrisation that holds chosen entries of a weight at zero, through training too."""

    mask: Tensor
    factor: Tensor | None

    def __init__(self, mask: Tensor, factor: Tensor | None = None) -> None:
        """Keep a mask and what an entry's size counts for.

        Args:
            mask: Boolean, in the shape of the weight, False where the weight is zero.
            factor: Importance of an entry over its absolute value, in the shape of the weight;
                None where the importance is the absolute value itself.
        """
        super().__init__()
        self.register_buffer("mask", mask)
        self.register_buffer("factor", factor, persistent=False)
        self.schedule: Schedule | None = None
        """While there is one, the next training moves the mask."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with its masked entries at zero.

        Masked entries get no gradient. Under a schedule one that outlasts the others by its old
        value comes back; letting the gradient reach masked entries made the results worse.
        """
        return torch.where(self.mask, weight, 0.0)


def keep_best(scores: Tensor, zeros: int) -> Tensor:
    """Return a mask over scores `[N]`, False at the `zeros` lowest, ties by position.

    Negative scores are of entries that are zero in any case.
    """
    if zeros == 0:
        return scores >= 0
    threshold = scores.kthvalue(zeros).values
    tied = scores == threshold
    ties_kept = int((scores <= threshold).sum()) - zeros
    last = tied & (tied.flip(0).cumsum(0).flip(0) <= ties_kept)
    return ((scores > threshold) | last) & (scores >= 0)


def shared_masks(scores: Sequence[Tensor], zeros: int) -> list[Tensor]:
    """Return masks that have `zeros` zeros in all, at the lowest scores of all the tensors.

    Each of several tensors keeps at least its highest score.
    """
    flat = [score.flatten().clone() for score in scores]
    if len(flat) > 1:
        for score in flat:
            score[score.argmax()] = torch.inf
    kept = torch.split(keep_best(torch.cat(flat), zeros), [score.numel() for score in flat])
    return [mask.view(score.shape) for mask, score in zip(kept, scores, strict=True)]


def open_masks(model: nn.Module) -> dict[Schedule, list[tuple[Mask, Tensor]]]:
    """Return the masks that a training shall close, each with its input, by their schedule."""
    found: dict[Schedule, list[tuple[Mask, Tensor]]] = {}
    seen: set[nn.Module] = set()
    for module in model.modules():
        for chain in getattr(module, "parametrizations", {}).values():
            for step in chain:
                if isinstance(step, Mask) and step.schedule is not None and step not in seen:
                    seen.add(step)
                    found.setdefault(step.schedule, []).append((step, _before(chain, step)))
    return found


def _before(chain: ParametrizationList, last: nn.Module) -> Tensor:
    """Return what a parametrisation is given by those below it."""
    with torch.no_grad():
        value = chain.original
        for step in chain:
            if step is last:
                break
            value = step(value)
        return value.detach()


def close_masks(model: nn.Module, progress: float) -> None:
    """Move the masks that have a schedule to where they stand at a progress of training.

    The zeros follow `1 - (1 - progress / RAMP)^3`, then the schedule is over and the masks stay.

    Args:
        model: Its masks are changed in place.
        progress: The share of the training that is done, in [0, 1].
    """
    done = min(1.0, progress / RAMP)
    for schedule, members in open_masks(model).items():
        zeros = int(schedule.zeros * (1 - (1 - done) ** 3))
        scores = [_score(mask, weight) for mask, weight in members]
        for (mask, _), kept in zip(members, shared_masks(scores, zeros), strict=True):
            mask.mask.copy_(kept)
            if done == 1.0:
                mask.schedule = None


def settle_masks(model: nn.Module) -> None:
    """Leave every mask of a model where it is: no training moves it any more."""
    for members in open_masks(model).values():
        for mask, _ in members:
            mask.schedule = None


def _score(mask: Mask, weight: Tensor) -> Tensor:
    size = weight.abs()
    return size if mask.factor is None else size * mask.factor
