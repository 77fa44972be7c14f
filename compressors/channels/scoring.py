"""The importance of channels: the sum of the scores of the weights that go with each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from compressors.base import Task
from compressors.budget.importance import taylor, wanda
from compressors.channels.cutting import Cut
from compressors.channels.group import ChannelGroup

Importance = Literal["magnitude", "taylor", "wanda"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredGroup:
    """A group with the importance of each of its channels."""

    group: ChannelGroup
    """The channels."""
    scores: Tensor
    """Importance of the channels, `[parts, size]`."""

    def lowest(self, count: int) -> Cut:
        """Return the group with the least important channels of each part, `[parts, count]`."""
        return self.group, self.scores.argsort(dim=1, stable=True)[:, :count]


def scored_groups(
    model: nn.Module, task: Task, groups: Sequence[ChannelGroup], importance: Importance
) -> list[ScoredGroup]:
    """Return groups with the importance of their channels, comparable between groups.

    Changes of the loss (`taylor`) have one unit already; other scores are divided by their mean
    in the group.

    Args:
        model: The model, unchanged afterwards.
        task: The source of training data and loss.
        groups: Groups of this model.
        importance: What the score of a weight is.
    """
    weight_scores = _weight_scores(model, task, importance)
    scores = [group.scores(weight_scores) for group in groups]
    if importance != "taylor":
        scores = [s / s.mean().clamp(min=torch.finfo(s.dtype).tiny) for s in scores]
    return [ScoredGroup(group=g, scores=s) for g, s in zip(groups, scores, strict=True)]


def _weight_scores(model: nn.Module, task: Task, importance: Importance) -> dict[str, Tensor]:
    """Return the importance of every weight, biases left out, in its shape and by its name."""
    if importance == "taylor":
        named = taylor(model, task)
    elif importance == "wanda":
        named = wanda(model, task)
    else:
        named = {name: p.detach().square() for name, p in model.named_parameters()}
    return {name: s for name, s in named.items() if "weight" in name.rpartition(".")[2]}
