"""Channel pruning: whole nodes of layers are cut, with everything that is coupled to them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from compressors.base import InfeasibleError, Inputs, Kind, Task, check_choice, check_range, run
from compressors.calibration import device_of, to_device
from compressors.channel_groups import ChannelGroup, channel_groups
from compressors.copying import copy_model
from compressors.importance import IMPORTANCES, contribution, output_tensors

GREATEST_SHARE = 0.9
"""With global scope, the greatest share of its channels that a group loses."""


@dataclass(frozen=True, kw_only=True)
class ChannelPruning:
    """Cut a share of the channels of every layer but the last, the least important first.

    Channels that are coupled, by a residual connection for instance, go together (Fang et al.,
    2023, arXiv:2301.12900). The result is a plain, smaller model.
    """

    kind: ClassVar[Kind] = Kind.REMOVES_STRUCTURE

    ratio: float = 0.0
    """The share of channels that go, in [0, 1)."""
    importance: Literal["magnitude", "contribution"] = "magnitude"
    """Squared weights of a channel, or their contribution to the output on calibration data."""
    scope: Literal["layer", "global"] = "layer"
    """The share holds for each group of coupled channels, or for all together."""
    round_to: int = 1
    """The channels that stay are a multiple of this, where there are as many; at least 1."""

    def __post_init__(self) -> None:
        check_range("ratio", self.ratio, 0, 1, closed=False)
        check_choice("importance", self.importance, IMPORTANCES)
        check_choice("scope", self.scope, ("layer", "global"))
        check_range("round_to", self.round_to, 1, float("inf"))

    @property
    def active(self) -> bool:
        """True when any channel is to go."""
        return self.ratio > 0

    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a copy with fewer channels.

        Raises:
            InfeasibleError: the model has recurrent layers, whose coupling cannot be traced, or
                masked or encoded weights, or no channels that can go.
        """
        if not self.active:
            return copy_model(model)
        _refuse(model)
        example = to_device(task.example, device_of(model))
        scores = self._weight_scores(model, task)
        unsound: set[str] = set()
        while True:
            pruned = copy_model(model).requires_grad_(True)
            failed = self._cut(pruned, example, scores, unsound)
            if failed is None:
                return pruned.requires_grad_(False)
            unsound.add(failed)

    def _cut(
        self, model: nn.Module, example: Inputs, scores: Mapping[str, Tensor], unsound: set[str]
    ) -> str | None:
        """Cut in place; return the name of the first group that the model does not run without."""
        found = [group for group in channel_groups(model, example) if group.name not in unsound]
        if not found:
            raise InfeasibleError("channel pruning: no channels between the inputs and the outputs")
        by_module = {m: scores[name] for name, m in model.named_modules() if name in scores}
        group_scores = [self._normalised(group.score(by_module)) for group in found]
        counts = self._counts(group_scores)
        if not any(counts):
            raise InfeasibleError(
                f"channel pruning: ratio {self.ratio:g} with round_to {self.round_to} "
                f"leaves every channel"
            )
        shapes = _output_shapes(model, example)
        for group, score, count in zip(found, group_scores, counts, strict=True):
            if count and not _survives(model, example, shapes, group, score, count):
                return group.name
        return None

    def _weight_scores(self, model: nn.Module, task: Task) -> dict[str, Tensor]:
        """Return the score of each weight by the path of its module."""
        if self.importance == "contribution":
            named = contribution(model, task)
        else:
            named = {name: p.detach().square() for name, p in model.named_parameters()}
        suffix = ".weight"
        return {n.removesuffix(suffix): s for n, s in named.items() if n.endswith(suffix)}

    def _normalised(self, score: Tensor) -> Tensor:
        """Make groups comparable: contributions have one unit already, squared weights do not."""
        if self.importance == "contribution":
            return score
        return score / score.mean().clamp(min=torch.finfo(score.dtype).tiny)

    def _counts(self, scores: list[Tensor]) -> list[int]:
        """Return how many channels of each group go."""
        if self.scope == "layer":
            counts = [int(self.ratio * score.numel() + 1e-9) for score in scores]
        else:
            counts = _global_counts(scores, self.ratio)
        return [
            self._rounded(count, score.numel()) for count, score in zip(counts, scores, strict=True)
        ]

    def _rounded(self, count: int, size: int) -> int:
        kept = max(1, size - count)
        return size - min(size, math.ceil(kept / self.round_to) * self.round_to)


def _refuse(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            raise InfeasibleError(
                f"channel pruning: {name or 'the model'} is recurrent, and the coupling of its "
                f"state across time cannot be traced"
            )
        if is_parametrized(module):
            raise InfeasibleError(
                f"channel pruning: {name or 'the model'} has a weight under a parametrisation "
                f"(a mask or a code), whose channels cannot be cut"
            )


def _global_counts(scores: list[Tensor], ratio: float) -> list[int]:
    """Return how many scores of each tensor are among the lowest share of all of them."""
    flat = []
    for score in scores:
        protected = max(1, math.ceil(score.numel() * (1 - GREATEST_SHARE)))
        raised = score.clone()
        raised[score.argsort(stable=True)[-protected:]] = torch.inf
        flat.append(raised)
    merged = torch.cat(flat)
    wanted = min(int(ratio * merged.numel() + 1e-9), int(merged.isfinite().sum()))
    goes = torch.zeros_like(merged, dtype=torch.bool)
    goes[merged.argsort(stable=True)[:wanted]] = True
    return [int(part.sum()) for part in torch.split(goes, [score.numel() for score in scores])]


def _output_shapes(model: nn.Module, example: Inputs) -> list[torch.Size]:
    with torch.no_grad():
        return [tensor.shape for tensor in output_tensors(run(model, example))]


def _survives(
    model: nn.Module,
    example: Inputs,
    shapes: list[torch.Size],
    group: ChannelGroup,
    score: Tensor,
    count: int,
) -> bool:
    """Cut the lowest channels of a group; tell whether the model still gives the same shapes.

    Code that has a width written into it, such as a reshape into attention heads, does not.
    """
    try:
        with torch.no_grad():
            group.cut(score.argsort(stable=True)[:count].tolist())
        return _output_shapes(model, example) == shapes
    except (RuntimeError, ValueError, AssertionError):
        return False
