"""Weight pruning: the single weights of least importance are held at zero."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar, Literal

from torch import Tensor, nn

from compressors.base import Task, check_choice, check_range
from compressors.budget.importance import IMPORTANCES, magnitude, taylor, wanda
from compressors.budget.knapsack import ALLOCATIONS
from compressors.budget.level_allocation import Level, LevelChoice, allocate_levels
from compressors.budget.per_layer import check_patterns, layer_value
from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.models.copying import copy_model
from compressors.models.fingerprint import content
from compressors.weights.compressible import Weight, compressible_weights
from compressors.weights.masks import Schedule, keep_best, shared_masks
from compressors.weights.ranking import RankedWeight, add_mask, rank

LADDER = (0.2, 0.4, 0.6, 0.75, 0.85, 0.92, 0.96, 0.98, 0.99, 0.995)
"""Shares of zeros at which the sensitivity of a weight is measured."""


@dataclass(frozen=True, kw_only=True)
class WeightPruning:
    """Hold a share of the weights at zero, the least important first (unstructured pruning).

    Weights that an earlier mask holds at zero stay zero and count towards the share.
    """

    kind: ClassVar[CompressorKind] = CompressorKind.MASKS_WEIGHTS

    ratio: float = 0.0
    """Share of zeros among the weights, in [0, 1); 0 turns the method off."""
    importance: Literal["magnitude", "taylor", "wanda"] = "magnitude"
    """Importance of a single weight: its absolute value (`magnitude`), the value times the gradient
    of the loss (`taylor`), or the value times the norm of its input (`wanda`)."""
    allocation: Literal["uniform", "global", "sensitivity"] = "uniform"
    """`uniform` gives every weight tensor the same share; `global` applies one threshold to all of
    them, each of which keeps at least one weight; `sensitivity` gives each tensor the share that
    keeps the measured divergence least, at the same number of zeros in all."""
    schedule: Literal["one_shot", "cubic"] = "one_shot"
    """`one_shot` sets the zeros at once; with `cubic` the next recovery starts without zeros,
    reaches the share along a cubic curve and chooses the zeros anew at every step (Zhu & Gupta,
    2017, arXiv:1710.01878)."""
    layers: Mapping[str, float] = field(default_factory=dict)
    """Shares of single weight tensors by patterns on their names, in place of `ratio`."""

    def __post_init__(self) -> None:
        check_range("ratio", self.ratio, 0, 1, closed=False)
        check_choice("importance", self.importance, IMPORTANCES)
        check_choice("allocation", self.allocation, ALLOCATIONS)
        check_choice("schedule", self.schedule, ("one_shot", "cubic"))
        for pattern, ratio in self.layers.items():
            check_range(f"layers[{pattern}]", ratio, 0, 1, closed=False)

    @property
    def active(self) -> bool:
        """True when any share of zeros is above 0."""
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
        scores = self._scores(pruned, task, weights)
        ranked = [rank(i, *pair) for i, pair in enumerate(zip(weights, scores, strict=True))]
        groups = self._groups(pruned, task, ranked)
        if not any(group.zeros for group in groups):
            raise InfeasibleError(f"weight pruning: ratio {self.ratio:g} leaves every weight")
        for group in groups:
            group.prune(Schedule(zeros=group.zeros) if self.schedule == "cubic" else None)
        return pruned

    def _scores(self, model: nn.Module, task: Task, weights: Sequence[Weight]) -> list[Tensor]:
        """Return the importance of every entry of each weight, in its shape `[R, ...]`."""
        if self.importance == "magnitude":
            return [magnitude(weight.value()) for weight in weights]
        by_name = taylor(model, task) if self.importance == "taylor" else wanda(model, task)
        names = {id(p): name for name, p in model.named_parameters()}
        found = [by_name.get(names.get(id(weight.stored()), "")) for weight in weights]
        for weight, score in zip(weights, found, strict=True):
            if score is None:
                raise InfeasibleError(
                    f"weight pruning: the {self.importance} importance of {weight.name} is not "
                    f"defined, as it is made of several stored tensors; choose magnitude"
                )
        return [score for score in found if score is not None]

    def _groups(
        self, model: nn.Module, task: Task, ranked: Sequence[RankedWeight]
    ) -> list["_Group"]:
        """Return the weights, grouped where they share one number of zeros."""
        own = [layer_value(self.layers, one.weight.name, None) for one in ranked]
        single = [
            _group([one], ratio)
            for one, ratio in zip(ranked, own, strict=True)
            if ratio is not None
        ]
        rest = [one for one, ratio in zip(ranked, own, strict=True) if ratio is None]
        if not rest:
            return single
        if self.allocation == "global":
            return [_group(rest, self.ratio), *single]
        ratios = self._ratios(model, task, rest)
        return [_group([one], ratio) for one, ratio in zip(rest, ratios, strict=True)] + single

    def _ratios(self, model: nn.Module, task: Task, ranked: Sequence[RankedWeight]) -> list[float]:
        """Return the share of zeros of each weight that has none of its own."""
        if self.allocation == "uniform" or self.ratio == 0:
            return [self.ratio] * len(ranked)
        ladder = sorted({*LADDER, self.ratio})
        orders = sha256(b"".join(bytes(content(one.order)) for one in ranked)).hexdigest()
        choice = LevelChoice(
            levels=[[_level(one, ratio) for ratio in (0.0, *ladder)] for one in ranked],
            layers=[one.weight.name for one in ranked],
            budget=(1 - self.ratio) * sum(one.order.numel() for one in ranked),
            unit="weights",
            name=f"zeros {ladder} {[one.weight.name for one in ranked]} {orders}",
        )
        return allocate_levels(model, task, choice)


def _level(ranked: RankedWeight, ratio: float) -> Level[float]:
    """Return a share of zeros of one weight, with the number of entries that it leaves."""
    count = ranked.order.numel()

    def change(model: nn.Module) -> None:
        weight = compressible_weights(model)[ranked.position]
        mask = keep_best(ranked.order.flatten(), _zeros(ratio, count)).view(ranked.order.shape)
        add_mask(weight, mask, ranked.order)

    return Level(value=ratio, size=(1 - ratio) * count, change=change if ratio else None)


@dataclass(frozen=True)
class _Group:
    """Weights that have a number of zeros together."""

    members: Sequence[RankedWeight]
    zeros: int

    def prune(self, schedule: Schedule | None) -> None:
        """Put a mask on each weight, in place."""
        masks = shared_masks([member.order for member in self.members], self.zeros)
        for member, mask in zip(self.members, masks, strict=True):
            add_mask(member.weight, mask, member.scores).schedule = schedule


def _group(members: Sequence[RankedWeight], ratio: float) -> _Group:
    return _Group(members, _zeros(ratio, sum(member.order.numel() for member in members)))


def _zeros(ratio: float, count: int) -> int:
    return int(ratio * count + 1e-9)
