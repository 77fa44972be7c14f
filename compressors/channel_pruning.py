"""Channel pruning: channels, units and heads are cut, with everything that is coupled to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import nn

from compressors.base import Inputs, Task, check_choice, check_range
from compressors.budget.importance import IMPORTANCES
from compressors.budget.knapsack import ALLOCATIONS
from compressors.budget.per_layer import check_patterns, layer_value
from compressors.channels.attention.replacement import replace_attention
from compressors.channels.counts import (
    ChannelTarget,
    counts_by_sensitivity,
    counts_by_threshold,
)
from compressors.channels.cutting import Cut, cut_channels
from compressors.channels.discovery import find_channel_groups
from compressors.channels.group import ChannelGroup
from compressors.channels.scoring import Importance, ScoredGroup, scored_groups
from compressors.channels.verification import sound_cuts
from compressors.channels.width_attributes import follow_norms
from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.models.batch_norm import renew_batch_norm
from compressors.models.calibration import device_of, few, to_device
from compressors.models.copying import copy_model
from compressors.weights.in_use import has_mask_or_code


@dataclass(frozen=True, kw_only=True)
class ChannelPruning:
    """Cut a share of the channels of every layer but the last, the least important first.

    Channels are those of convolution and linear layers, the hidden units of recurrent layers and
    the heads of attention. Channels that are coupled, by a residual connection for instance, go
    together (Fang et al., 2023, arXiv:2301.12900). The result is a plain, smaller model, its
    batch-norm statistics measured anew where what goes has changed them.
    """

    kind: ClassVar[CompressorKind] = CompressorKind.REMOVES_STRUCTURE

    ratio: float = 0.0
    """The share of channels that go, in [0, 1)."""
    importance: Importance = "magnitude"
    """The score of a weight, of which a channel has the sum over the weights that go with it: the
    weight's square, its size times the gradient of the loss, or its size times that of its input.
    """
    allocation: Literal["uniform", "global", "sensitivity"] = "uniform"
    """What the share is a share of: each group of coupled channels; the channels of all groups, by
    one threshold of importance; or the weights that go with channels, where each group gets a
    share of its own by measured sensitivity."""
    round_to: int = 1
    """Divisor of the number of outputs that a layer keeps, where it has as many; at least 1."""
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
        smaller, example = _with_replaced_attention(model, task)
        found = find_channel_groups(smaller, example)
        if not found.groups:
            reasons = "; ".join(f"{n or 'the model'}: {r}" for n, r in found.skipped_layers.items())
            raise InfeasibleError(
                f"channel pruning: no channels between the inputs and the outputs ({reasons})"
            )
        cuts = self._cuts(smaller, task, found.groups)
        if not cuts:
            raise InfeasibleError(
                f"channel pruning: ratio {self.ratio:g} with round_to {self.round_to} "
                f"leaves every channel"
            )
        sound = sound_cuts(smaller, example, cuts)
        if not sound:
            raise InfeasibleError("channel pruning: the model runs with none of the cuts asked for")
        cut_channels(smaller, sound)
        follow_norms(smaller, example)
        renew_batch_norm(smaller, task, model)
        return smaller

    def skipped_layers(self, model: nn.Module, task: Task) -> dict[str, str]:
        """Return by the name of a layer why its channels stay, at any ratio."""
        return find_channel_groups(*_with_replaced_attention(model, task)).skipped_layers

    def _cuts(self, model: nn.Module, task: Task, groups: Sequence[ChannelGroup]) -> list[Cut]:
        """Return the least important channels of the groups that lose any."""
        scored = scored_groups(model, task, groups, self.importance)
        counts = self._counts(model, task, scored)
        return [item.lowest(n) for item, n in zip(scored, counts, strict=True) if n]

    def _counts(self, model: nn.Module, task: Task, scored: Sequence[ScoredGroup]) -> list[int]:
        """Return how many channels of each part of each group go."""
        check_patterns(self.layers, [item.group.name for item in scored])
        own_ratios = [layer_value(self.layers, item.group.name, None) for item in scored]
        pairs = list(zip(scored, own_ratios, strict=True))
        rest = [item for item, ratio in pairs if ratio is None]
        shared = iter(self._allocated_counts(model, task, rest))
        return [
            next(shared) if ratio is None else self._target(ratio).count(item.group)
            for item, ratio in pairs
        ]

    def _allocated_counts(
        self, model: nn.Module, task: Task, scored: Sequence[ScoredGroup]
    ) -> list[int]:
        """Return how many channels of each part go, of the groups without a ratio of their own."""
        target = self._target(self.ratio)
        if not scored or self.ratio == 0 or self.allocation == "uniform":
            return [target.count(item.group) for item in scored]
        if self.allocation == "global":
            return counts_by_threshold(scored, target)
        return counts_by_sensitivity(model, task, scored, target)

    def _target(self, ratio: float) -> ChannelTarget:
        return ChannelTarget(ratio=ratio, round_to=self.round_to)


def _with_replaced_attention(model: nn.Module, task: Task) -> tuple[nn.Module, Inputs]:
    """Return a copy of a model whose attention can lose heads, and some inputs to trace it."""
    for name, module in model.named_modules():
        if has_mask_or_code(module):
            raise InfeasibleError(
                f"channel pruning: {name or 'the model'} has a weight under a parametrisation "
                f"(a mask or a code), whose channels cannot be cut; prune channels before"
            )
    example = to_device(few(task.example), device_of(model))
    copy = copy_model(model)
    replace_attention(copy, example)
    return copy, example
