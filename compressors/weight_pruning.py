"""Weight pruning: the least important single weights are held at zero."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from compressors.base import Task, check_choice, check_range
from compressors.budget.importance import IMPORTANCES, magnitude, taylor, wanda
from compressors.budget.knapsack import ALLOCATIONS, allocate
from compressors.budget.per_layer import check_patterns, layer_value
from compressors.budget.sensitivity import Change, sensitivity
from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.models.copying import copy_model
from compressors.models.fingerprint import content
from compressors.weights.compressible import Weight, compressible_weights
from compressors.weights.masks import Mask, Schedule, keep_best, shared_masks

LADDER = (0.2, 0.4, 0.6, 0.75, 0.85, 0.92, 0.96, 0.98, 0.99, 0.995)
"""The shares of zeros at which the sensitivity of a layer is probed, beside none."""


@dataclass(frozen=True, kw_only=True)
class WeightPruning:
    """Hold a share of the weights at zero, the least important first (unstructured pruning).

    Weights that an earlier mask holds at zero count towards the share and stay there.
    """

    kind: ClassVar[CompressorKind] = CompressorKind.MASKS_WEIGHTS

    ratio: float = 0.0
    """The share of zeros among all weights, in [0, 1)."""
    importance: Literal["magnitude", "taylor", "wanda"] = "magnitude"
    """Absolute value, that times the gradient, or that times the size of the input."""
    allocation: Literal["uniform", "global", "sensitivity"] = "uniform"
    """The share holds for each weight tensor; or for all together, by one threshold, each keeping
    at least one; or for all together, each with a share of its own by measured sensitivity."""
    schedule: Literal["one_shot", "cubic"] = "one_shot"
    """With cubic, the next recovery starts without zeros and reaches the share along a cubic
    curve, choosing anew all the time (Zhu & Gupta, 2017, arXiv:1710.01878)."""
    layers: Mapping[str, float] = field(default_factory=dict)
    """Shares of single weights, by patterns on their names; the others keep to `ratio`."""

    def __post_init__(self) -> None:
        check_range("ratio", self.ratio, 0, 1, closed=False)
        check_choice("importance", self.importance, IMPORTANCES)
        check_choice("allocation", self.allocation, ALLOCATIONS)
        check_choice("schedule", self.schedule, ("one_shot", "cubic"))
        for pattern, ratio in self.layers.items():
            check_range(f"layers[{pattern}]", ratio, 0, 1, closed=False)

    @property
    def active(self) -> bool:
        """True when any weight is to be zero."""
        return self.ratio > 0 or any(self.layers.values())

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
        check_patterns(self.layers, [weight.name for weight in weights])
        scores = self._scores(pruned, weights, task)
        ranked = [_protect(w, s) for w, s in zip(weights, scores, strict=True)]
        groups = self._groups(pruned, weights, ranked, task)
        if not any(zeros for _, zeros in groups):
            raise InfeasibleError(f"weight pruning: ratio {self.ratio:g} leaves every weight")
        for members, zeros in groups:
            kept = shared_masks([ranked[i] for i in members], zeros)
            masks = [
                _mask(weights[i], mask, scores[i]) for i, mask in zip(members, kept, strict=True)
            ]
            if self.schedule == "cubic":
                schedule = Schedule(zeros=zeros)
                for mask in masks:
                    mask.schedule = schedule
        return pruned

    def _scores(self, model: nn.Module, weights: list[Weight], task: Task) -> list[Tensor]:
        if self.importance == "magnitude":
            return [magnitude(weight.value()) for weight in weights]
        by_name = taylor(model, task) if self.importance == "taylor" else wanda(model, task)
        names = {id(p): name for name, p in model.named_parameters()}
        found = [by_name.get(names.get(id(weight.stored()), "")) for weight in weights]
        for weight, score in zip(weights, found, strict=True):
            if score is None:
                raise InfeasibleError(
                    f"weight pruning: the importance of {weight.name} is not defined, as it is "
                    f"made of several stored tensors"
                )
        return [score for score in found if score is not None]

    def _groups(
        self, model: nn.Module, weights: list[Weight], ranked: list[Tensor], task: Task
    ) -> list[tuple[list[int], int]]:
        """Return the weights that share a number of zeros, by position, and this number."""
        own = {
            i: ratio
            for i, weight in enumerate(weights)
            if (ratio := layer_value(self.layers, weight.name, -1.0)) >= 0
        }
        rest = [i for i in range(len(weights)) if i not in own]
        if self.allocation == "global":
            together = [(rest, _zeros(self.ratio, sum(ranked[i].numel() for i in rest)))]
        else:
            if self.allocation == "uniform" or self.ratio == 0 or not rest:
                ratios = dict.fromkeys(rest, self.ratio)
            else:
                ratios = self._by_sensitivity(model, weights, ranked, rest, task)
            together = [([i], _zeros(ratios[i], ranked[i].numel())) for i in rest]
        single = [([i], _zeros(ratio, ranked[i].numel())) for i, ratio in own.items()]
        return [group for group in together + single if group[0]]

    def _by_sensitivity(
        self,
        model: nn.Module,
        weights: list[Weight],
        ranked: list[Tensor],
        rest: list[int],
        task: Task,
    ) -> dict[int, float]:
        ladder = sorted({*LADDER, self.ratio})
        changes = [_zeroing(i, ranked[i], ratio) for i in rest for ratio in ladder]
        orders = sha256(b"".join(bytes(content(ranked[i])) for i in rest)).hexdigest()
        name = f"zeros {ladder} {[weights[i].name for i in rest]} {orders}"
        found = iter(sensitivity(model, task, changes, name=name))
        ladder = [0.0, *ladder]
        costs = [[0.0, *(next(found) for _ in ladder[1:])] for _ in rest]
        sizes = [[(1 - ratio) * ranked[i].numel() for ratio in ladder] for i in rest]
        budget = (1 - self.ratio) * sum(ranked[i].numel() for i in rest)
        return {
            i: ladder[level] for i, level in zip(rest, allocate(costs, sizes, budget), strict=True)
        }


def _zeros(ratio: float, count: int) -> int:
    return int(ratio * count + 1e-9)


def _zeroing(position: int, ranked: Tensor, ratio: float) -> Change:
    """Return the change that masks a share of one weight, given by its position."""

    def change(model: nn.Module) -> None:
        mask = keep_best(ranked.flatten(), _zeros(ratio, ranked.numel())).view(ranked.shape)
        _mask(compressible_weights(model)[position], mask, ranked)

    return change


def _protect(weight: Weight, scores: Tensor) -> Tensor:
    """Rank the entries that a mask holds at zero below all others, so that masks nest."""
    if not any(isinstance(step, Mask) for step in weight.chain()):
        return scores
    return torch.where(weight.value() != 0, scores, -1.0)


def _mask(weight: Weight, mask: Tensor, scores: Tensor) -> Mask:
    """Put a mask on top of a weight and return it."""
    size = weight.value().abs()
    factor = torch.where(size > 0, scores / size.clamp(min=torch.finfo(size.dtype).tiny), 1.0)
    made = Mask(mask, factor=factor if bool((factor != 1).any()) else None)
    weight.add(made)
    return made
