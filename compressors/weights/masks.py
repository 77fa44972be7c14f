"""Masks that hold weights at zero, and schedules that close them while the model is trained."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

RAMP = 0.6
"""Share of the training after which scheduled masks no longer move."""


@dataclass(kw_only=True, eq=False)
class Schedule:
    """The number of zeros that the masks which share this object have together at its end."""

    zeros: int


class Mask(nn.Module):
    """A parametrisation that holds chosen entries of a weight at zero, through training too."""

    mask: Tensor
    factor: Tensor | None

    def __init__(self, mask: Tensor, factor: Tensor | None = None) -> None:
        """Keep a mask and the factors from size to importance.

        Args:
            mask: Boolean `[R, ...]` in the shape of the weight, False where the weight is zero.
            factor: Importance of each entry divided by its absolute value, `[R, ...]`; None where
                the importance is the absolute value itself.
        """
        super().__init__()
        self.register_buffer("mask", mask)
        self.register_buffer("factor", factor, persistent=False)
        self.schedule: Schedule | None = None
        """The schedule by which the next training moves the mask; None for a fixed mask."""

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight `[R, ...]` with its masked entries at zero.

        Masked entries get no gradient and keep their old values, by which a schedule may bring
        them back. Letting the gradient reach masked entries gave worse results.
        """
        return torch.where(self.mask, weight, 0.0)


def keep_best(scores: Tensor, zeros: int) -> Tensor:
    """Return a mask `[N]` that is False at the lowest scores; ties are broken by position.

    Args:
        scores: Importance of each entry `[N]`; a negative score is always masked.
        zeros: Number of entries to mask.
    """
    if zeros == 0:
        return scores >= 0
    threshold = scores.kthvalue(zeros).values
    tied = scores == threshold
    ties_kept = int((scores <= threshold).sum()) - zeros
    last = tied & (tied.flip(0).cumsum(0).flip(0) <= ties_kept)
    return ((scores > threshold) | last) & (scores >= 0)


def shared_masks(scores: Sequence[Tensor], zeros: int) -> list[Tensor]:
    """Return masks that together are False at the lowest scores of all tensors.

    Each of several tensors keeps at least its highest score.

    Args:
        scores: Importance of the entries of each weight, `[R, ...]`; each mask has this shape.
        zeros: Number of entries to mask in all tensors together.
    """
    flat = [score.flatten().clone() for score in scores]
    if len(flat) > 1:
        for score in flat:
            score[score.argmax()] = torch.inf
    kept = torch.split(keep_best(torch.cat(flat), zeros), [score.numel() for score in flat])
    return [mask.view(score.shape) for mask, score in zip(kept, scores, strict=True)]


def open_masks(model: nn.Module) -> dict[Schedule, list[tuple[Mask, Tensor]]]:
    """Return by schedule the masks that the next training moves, each with its input `[R, ...]`."""
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
    """Return the input of a parametrisation: the result of those below it."""
    with torch.no_grad():
        value = chain.original
        for step in chain:
            if step is last:
                break
            value = step(value)
        return value.detach()


def close_masks(model: nn.Module, progress: float) -> None:
    """Move the scheduled masks to their state at a progress of the training.

    The share of zeros follows `1 - (1 - progress / RAMP)^3`; at RAMP the schedule ends and the
    masks stay fixed.

    Args:
        model: Its masks are changed in place.
        progress: Share of the training that is done, in [0, 1].
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
    """End the schedule of every mask of a model, in place, so that no training moves it."""
    for members in open_masks(model).values():
        for mask, _ in members:
            mask.schedule = None


def _score(mask: Mask, weight: Tensor) -> Tensor:
    size = weight.abs()
    return size if mask.factor is None else size * mask.factor
