"""How many channels every group loses, for one ratio that holds for all."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import torch
from torch import Tensor, nn

from compressors.base import Task
from compressors.budget.level_allocation import Level, LevelChoice, allocate_levels
from compressors.budget.sensitivity import Change
from compressors.channels.cutting import Cut, zero_channels
from compressors.channels.group import ChannelGroup
from compressors.channels.scoring import ScoredGroup
from compressors.models.fingerprint import content

MAX_GROUP_SHARE = 0.9
"""With a global threshold, the greatest share of its channels that a group loses."""
PROBED_SHARES = tuple(step / 8 for step in range(8))
"""The shares of cut channels at which the sensitivity of a group is probed."""


@dataclass(frozen=True, kw_only=True)
class ChannelTarget:
    """The share of channels that go, and what the number of the others is a multiple of."""

    ratio: float
    """Share of a group's channels, in [0, 1)."""
    round_to: int
    """Divisor of the number of outputs that a layer keeps, where it has as many; at least 1."""

    def count(self, group: ChannelGroup) -> int:
        """Return how many channels of each part of a group go at the target's ratio."""
        return self.rounded(int(self.ratio * group.size + 1e-9), group)

    def rounded(self, count: int, group: ChannelGroup) -> int:
        """Return how many channels go if about `count` shall; at least one stays."""
        step = self.round_to // math.gcd(self.round_to, group.width)
        kept = math.ceil(max(1, group.size - count) / step) * step
        return group.size - min(group.size, kept)


def counts_by_threshold(scored: Sequence[ScoredGroup], target: ChannelTarget) -> list[int]:
    """Return how many channels of each group are among the lowest share of all of them.

    Channels of several parts that have the same rank in their part count as one, with the sum of
    their scores.
    """
    if not scored:
        return []
    merged = torch.cat([_ascending_unprotected(item.scores) for item in scored])
    wanted = min(int(target.ratio * merged.numel() + 1e-9), int(merged.isfinite().sum()))
    goes = torch.zeros_like(merged, dtype=torch.bool)
    goes[merged.argsort(stable=True)[:wanted]] = True
    counts = [int(part.sum()) for part in torch.split(goes, [item.group.size for item in scored])]
    return [target.rounded(n, item.group) for n, item in zip(counts, scored, strict=True)]


def _ascending_unprotected(scores: Tensor) -> Tensor:
    """Return `[size]` of `[parts, size]`: each part's scores ascending, summed over the parts.

    The channels that stay in any case have infinity.
    """
    ranked = scores.sort(dim=1).values.sum(0)
    protected = max(1, math.ceil(ranked.numel() * (1 - MAX_GROUP_SHARE)))
    ranked[-protected:] = torch.inf
    return ranked


def counts_by_sensitivity(
    model: nn.Module, task: Task, scored: Sequence[ScoredGroup], target: ChannelTarget
) -> list[int]:
    """Return how many channels of each group go, for the least measured damage.

    The budget is a share of the weights that go with channels: of the sum over all groups of the
    weights that go with a group, where a weight that goes with two channels counts for both. At
    the same ratio this is what cutting this share of every group takes.

    Args:
        model: A model whose channels are held at zero in copies, to see how far the outputs move.
        task: The source of calibration data.
        scored: The groups, with the importance of their channels.
        target: The share that goes, and the rounding.
    """
    shares = [replace(target, ratio=share) for share in (*PROBED_SHARES, target.ratio)]
    counts = [sorted({share.count(item.group) for share in shares}) for item in scored]
    held = [item.group.weights(model) for item in scored]
    levels = [_levels(*probed) for probed in zip(scored, counts, held, strict=True)]
    # Rounding, and the channel that each group keeps, may exceed the budget.
    smallest = sum(min(level.size for level in of_group) for of_group in levels)
    choice = LevelChoice(
        levels=levels,
        layers=[item.group.name for item in scored],
        budget=max((1 - target.ratio) * sum(held), smallest),
        unit="weights",
        name=_name(scored, counts),
        ascending_cost=True,
    )
    return allocate_levels(model, task, choice)


def _levels(item: ScoredGroup, counts: Sequence[int], weights: float) -> list[Level[int]]:
    """Return the numbers of channels that a group may lose, with the weights that are left."""
    return [
        Level(
            value=count,
            size=weights * (1 - count / item.group.size),
            change=_zeroing(item.lowest(count)),
        )
        for count in counts
    ]


def _name(scored: Sequence[ScoredGroup], counts: Sequence[Sequence[int]]) -> str:
    """Return what identifies the cuts: the groups, the counts and the order of the channels."""
    probed = [(item.group.name, some) for item, some in zip(scored, counts, strict=True)]
    orders = [item.lowest(item.group.size)[1] for item in scored]
    ranks = sha256(b"".join(bytes(content(order)) for order in orders)).hexdigest()
    return f"channels {probed} {ranks}"


def _zeroing(cut: Cut) -> Change:
    return lambda model: zero_channels(model, [cut])
