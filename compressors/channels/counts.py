"""How many channels every group keeps, for one ratio that holds for all."""

import math
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import accumulate

import torch
from torch import Tensor, nn

from compressors.base import Task
from compressors.budget.knapsack import allocate
from compressors.budget.sensitivity import Change, sensitivity
from compressors.channels.cutting import zero_channels
from compressors.channels.group import ChannelGroup
from compressors.models.fingerprint import content

GREATEST_SHARE = 0.9
"""With a global threshold, the greatest share of its channels that a group loses."""
LADDER = tuple(step / 8 for step in range(8))
"""The shares of cut channels at which the sensitivity of a group is probed."""


def rounded(count: int, group: ChannelGroup, round_to: int) -> int:
    """Return how many channels go if about `count` shall.

    At least one stays, and what stays are a multiple of `round_to` outputs of the layer, where
    there are as many.
    """
    step = round_to // math.gcd(round_to, group.width)
    kept = math.ceil(max(1, group.size - count) / step) * step
    return group.size - min(group.size, kept)


def at_share(ratio: float, group: ChannelGroup, round_to: int) -> int:
    """Return how many of a group's channels go at one ratio, in [0, 1)."""
    return rounded(int(ratio * group.size + 1e-9), group, round_to)


def by_threshold(ranked: Sequence[Tensor], ratio: float) -> list[int]:
    """Return how many channels of each group are among the lowest share of all of them.

    Args:
        ranked: For each group the scores of its channels, ascending.
        ratio: The share, in [0, 1).
    """
    flat = []
    for scores in ranked:
        protected = max(1, math.ceil(scores.numel() * (1 - GREATEST_SHARE)))
        raised = scores.clone()
        raised[-protected:] = torch.inf
        flat.append(raised)
    if not flat:
        return []
    merged = torch.cat(flat)
    wanted = min(int(ratio * merged.numel() + 1e-9), int(merged.isfinite().sum()))
    goes = torch.zeros_like(merged, dtype=torch.bool)
    goes[merged.argsort(stable=True)[:wanted]] = True
    return [int(part.sum()) for part in torch.split(goes, [s.numel() for s in ranked])]


def by_sensitivity(
    model: nn.Module,
    task: Task,
    orders: Mapping[ChannelGroup, Tensor],
    *,
    ratio: float,
    round_to: int,
) -> list[int]:
    """Return how many channels of each group go, for the least measured damage.

    The budget is a share of the weights that go with channels: of the sum over all groups of the
    weights that a group would take along, where a weight that goes with two channels counts for
    both. At the same ratio this is what cutting this share of every group takes.

    Args:
        model: Its channels are held at zero in copies, to see how far the outputs move.
        task: Gives the data.
        orders: By group, its channels `[parts, size]` from the least important on.
        ratio: The share that goes, in [0, 1).
        round_to: See `rounded`.
    """
    levels = [sorted({at_share(s, g, round_to) for s in (*LADDER, ratio)}) for g in orders]
    changes = [
        _zeroing(group, order[:, :count])
        for (group, order), counts in zip(orders.items(), levels, strict=True)
        for count in counts
    ]
    probed = [(group.name, counts) for group, counts in zip(orders, levels, strict=True)]
    ranks = sha256(b"".join(bytes(content(order)) for order in orders.values())).hexdigest()
    name = f"channels {probed} {ranks}"
    flat = iter(sensitivity(model, task, changes, name=name))
    # Noise aside, cutting more of a group does not do less damage.
    costs = [list(accumulate((next(flat) for _ in counts), max)) for counts in levels]
    weights = [group.weights(model) for group in orders]
    sizes = [
        [held * (1 - count / group.size) for count in counts]
        for group, held, counts in zip(orders, weights, levels, strict=True)
    ]
    # What rounding and the least a group keeps leave may exceed the budget.
    budget = max((1 - ratio) * sum(weights), sum(map(min, sizes)))
    chosen = allocate(costs, sizes, budget)
    return [counts[level] for counts, level in zip(levels, chosen, strict=True)]


def _zeroing(group: ChannelGroup, chosen: Tensor) -> Change:
    return lambda model: zero_channels(model, [(group, chosen)])
