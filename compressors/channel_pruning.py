"""Channel pruning: channels, units and heads are cut, with everything that is coupled to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from compressors.base import Inputs, Task, check_choice, check_range
from compressors.budget.importance import IMPORTANCES, taylor, wanda
from compressors.budget.knapsack import ALLOCATIONS
from compressors.budget.per_layer import check_patterns, layer_value
from compressors.channels.attention_heads import open_attention
from compressors.channels.counts import at_share, by_sensitivity, by_threshold, rounded
from compressors.channels.cutting import Cut, cut_channels, is_sound
from compressors.channels.discovery import find_channel_groups
from compressors.channels.group import ChannelGroup
from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.models.batch_norm import renew_batch_norm
from compressors.models.calibration import device_of, first_samples, to_device
from compressors.models.copying import copy_model

TRACED = 2
"""Samples, of the task's example, that suffice to follow channels through a model."""


@dataclass(frozen=True, kw_only=True)
class ChannelPruning:
    """Cut a share of the channels of every layer but the last, the least important first.

    Channels are those of convolution and linear layers, the hidden units of recurrent layers and
    the heads of attention. Channels that are coupled, by a residual connection for instance, go
    together (Fang et al., 2023, arXiv:2301.12900). The result is a plain, smaller model, its
    batch-norm statistics measured anew.
    """

    kind: ClassVar[CompressorKind] = CompressorKind.REMOVES_STRUCTURE

    ratio: float = 0.0
    """The share of channels that go, in [0, 1)."""
    importance: Literal["magnitude", "taylor", "wanda"] = "magnitude"
    """Of a channel, the sum over the weights it takes along: their squares, or these times the
    gradient of the loss, or their size times that of their inputs."""
    allocation: Literal["uniform", "global", "sensitivity"] = "uniform"
    """The share holds for each group of coupled channels; or for the channels of all together, by
    one threshold of importance; or for the weights that go with channels, each group with a share
    of its own by measured sensitivity."""
    round_to: int = 1
    """The outputs that a layer keeps are a multiple of this, where it has as many; at least 1."""
    layers: Mapping[str, float] = field(default_factory=dict)
    """Shares of single groups, by patterns on the name of their first layer."""

    def __post_init__(self) -> None:
        check_range("ratio", self.ratio, 0, 1, closed=False)
        check_choice("importance", self.importance, IMPORTANCES)
        check_choice("allocation", self.allocation, ALLOCATIONS)
        check_range("round_to", self.round_to, 1, float("inf"))
        for pattern, ratio in self.layers.items():
            check_range(f"layers[{pattern}]", ratio, 0, 1, closed=False)

    @property
    def active(self) -> bool:
        """True when any channel is to go."""
        return self.ratio > 0 or any(self.layers.values())

    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a copy with fewer channels.

        Raises:
            InfeasibleError: the model has masked or encoded weights, or no channels that can go.
        """
        if not self.active:
            return copy_model(model)
        _refuse(model)
        example = first_samples(to_device(task.example, device_of(model)), TRACED)
        opened = copy_model(model)
        open_attention(opened, example)
        found = find_channel_groups(opened, example)
        if not found.groups:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in found.left.items())
            raise InfeasibleError(
                f"channel pruning: no channels between the inputs and the outputs ({reasons})"
            )
        cuts = self._cuts(opened, task, found.groups)
        if not cuts:
            raise InfeasibleError(
                f"channel pruning: ratio {self.ratio:g} with round_to {self.round_to} "
                f"leaves every channel"
            )
        cut_channels(opened, _compatible(opened, example, cuts))
        renew_batch_norm(opened, task)
        return opened

    def skipped_layers(self, model: nn.Module, task: Task) -> dict[str, str]:
        """Return by the name of a layer why its channels stay, whatever the ratio."""
        _refuse(model)
        example = first_samples(to_device(task.example, device_of(model)), TRACED)
        opened = copy_model(model)
        open_attention(opened, example)
        return find_channel_groups(opened, example).left

    def _cuts(self, model: nn.Module, task: Task, groups: tuple[ChannelGroup, ...]) -> list[Cut]:
        """Return the least important channels of the groups that lose any."""
        weight_scores = self._weight_scores(model, task)
        scores = {group: self._normalised(group.scores(weight_scores)) for group in groups}
        orders = {group: score.argsort(dim=1, stable=True) for group, score in scores.items()}
        counts = self._counts(model, task, scores, orders)
        return [(g, orders[g][:, :count]) for g, count in counts.items() if count]

    def _weight_scores(self, model: nn.Module, task: Task) -> dict[str, Tensor]:
        if self.importance == "taylor":
            named = taylor(model, task)
        elif self.importance == "wanda":
            named = wanda(model, task)
        else:
            named = {name: p.detach().square() for name, p in model.named_parameters()}
        return {n: s for n, s in named.items() if "weight" in n.rpartition(".")[2]}

    def _normalised(self, score: Tensor) -> Tensor:
        """Make groups comparable: changes of the loss have one unit already."""
        if self.importance == "taylor":
            return score
        return score / score.mean().clamp(min=torch.finfo(score.dtype).tiny)

    def _counts(
        self,
        model: nn.Module,
        task: Task,
        scores: Mapping[ChannelGroup, Tensor],
        orders: Mapping[ChannelGroup, Tensor],
    ) -> dict[ChannelGroup, int]:
        """Return how many channels of each part of each group go."""
        check_patterns(self.layers, [group.name for group in scores])
        shares = {group: layer_value(self.layers, group.name, -1.0) for group in scores}
        counts = {
            group: at_share(self.ratio if share < 0 else share, group, self.round_to)
            for group, share in shares.items()
        }
        rest = [group for group, share in shares.items() if share < 0]
        if not rest or self.ratio == 0 or self.allocation == "uniform":
            return counts
        if self.allocation == "global":
            ranked = [scores[group].sort(dim=1).values.sum(0) for group in rest]
            threshold = by_threshold(ranked, self.ratio)
            own = [rounded(n, g, self.round_to) for g, n in zip(rest, threshold, strict=True)]
        else:
            own = by_sensitivity(
                model,
                task,
                {group: orders[group] for group in rest},
                ratio=self.ratio,
                round_to=self.round_to,
            )
        return counts | dict(zip(rest, own, strict=True))


def _refuse(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if is_parametrized(module):
            raise InfeasibleError(
                f"channel pruning: {name or 'the model'} has a weight under a parametrisation "
                f"(a mask or a code), whose channels cannot be cut"
            )


def _compatible(model: nn.Module, example: Inputs, cuts: list[Cut]) -> list[Cut]:
    """Return the cuts that the model stands together: nearly always all of them."""
    if is_sound(model, example, cuts):
        return cuts
    kept: list[Cut] = []
    for cut in cuts:
        if is_sound(model, example, [*kept, cut]):
            kept.append(cut)
    if not kept:
        raise InfeasibleError("channel pruning: the model runs with none of the cuts asked for")
    return kept
