"""Weight sharing: the weights of a layer take a few values, which are stored once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import nn

from compressors.base import Task, check_choice, check_range
from compressors.budget.level_allocation import Level, LevelChoice, allocate_levels
from compressors.budget.per_layer import check_patterns, layer_value
from compressors.budget.sensitivity import Change
from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.models.constant_channels import settle_constant_channels
from compressors.models.copying import copy_model
from compressors.models.folded_weights import REASON, folded_weights, layers_left
from compressors.weights.biases import round_biases
from compressors.weights.codebook import share
from compressors.weights.compressible import Weight, compressible_weights
from compressors.weights.masks import settle_masks

LADDER = (2, 3, 4, 6, 8, 16, 32, 64, 255)
"""Numbers of clusters at which the sensitivity of a weight is measured."""


@dataclass(frozen=True, kw_only=True)
class WeightSharing:
    """Cluster the weights of each layer by k-means and store each cluster once.

    Weights that are zero stay exactly zero, beside the clusters (Han et al., 2016,
    arXiv:1510.00149). A later recovery trains the centroids and the choice among them.
    """

    kind: ClassVar[CompressorKind] = CompressorKind.ENCODES_WEIGHTS

    clusters: int = 0
    """Distinct non-zero values of each weight tensor, in [2, 256] (at most 255 if it has zeros);
    0 turns the method off."""
    allocation: Literal["uniform", "sensitivity"] = "uniform"
    """`uniform` gives every weight the same number; `sensitivity` gives each the number that keeps
    the measured divergence least, at the same mean bits (log2) over the non-zero weights."""
    layers: Mapping[str, int] = field(default_factory=dict)
    """Clusters of single weights by patterns on their names; they do not count in the mean."""
    biases: bool = True
    """Whether biases are rounded to 8-bit integers with one scale each."""

    def __post_init__(self) -> None:
        if self.clusters != 0:
            check_range("clusters", self.clusters, 2, 256)
        check_choice("allocation", self.allocation, ("uniform", "sensitivity"))
        if self.layers and self.clusters == 0:
            raise ValueError("layers need clusters, the number for the other weights, got 0")
        for pattern, clusters in self.layers.items():
            check_range(f"layers[{pattern}]", clusters, 2, 256)

    @property
    def active(self) -> bool:
        """True when a number of clusters is set."""
        return self.clusters > 0

    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a copy with shared weights.

        Raises:
            InfeasibleError: the model has no weights, or all are zero.
        """
        shared = copy_model(model)
        if not self.active:
            return shared
        settle_masks(shared)
        weights = compressible_weights(shared)
        check_patterns(self.layers, [weight.name for weight in weights])
        filled = [i for i, weight in enumerate(weights) if bool(weight.value().any())]
        if not filled:
            raise InfeasibleError("weight sharing: no non-zero weights with two or more axes")
        left = folded_weights(shared, task.example)
        filled = [i for i in filled if weights[i].name not in left]
        if not filled:
            raise InfeasibleError(f"weight sharing: every weight is left out, since {REASON}")
        settle_constant_channels(shared, task)
        chosen = {i: layer_value(self.layers, weights[i].name, 0) for i in filled}
        rest = {i: weights[i] for i in filled if chosen[i] == 0}
        for i, clusters in (chosen | self._clusters(shared, task, rest)).items():
            share(weights[i], clusters)
        if self.biases:
            round_biases(shared)
        return shared

    def skipped_layers(self, model: nn.Module, task: Task) -> dict[str, str]:
        """Return by the name of a layer why its weight stays as it is, at any number."""
        return layers_left(model, task.example)

    def _clusters(
        self, model: nn.Module, task: Task, weights: Mapping[int, Weight]
    ) -> dict[int, int]:
        """Return the clusters of the weights without a number of their own, by position."""
        if self.allocation == "uniform" or not weights:
            return dict.fromkeys(weights, self.clusters)
        counts = {i: int(weight.value().count_nonzero()) for i, weight in weights.items()}
        choice = LevelChoice(
            levels=[_levels(i, count) for i, count in counts.items()],
            layers=[weight.name for weight in weights.values()],
            budget=sum(counts.values()) * math.log2(self.clusters),
            unit="bits",
            name=f"clusters {list(LADDER)} {[weight.name for weight in weights.values()]}",
        )
        return dict(zip(weights, allocate_levels(model, task, choice), strict=True))


def _levels(position: int, count: int) -> Sequence[Level[int]]:
    """Return the numbers of clusters of one weight, with its `count` values coded in bits."""
    return [Level(value=n, size=count * math.log2(n), change=_sharing(position, n)) for n in LADDER]


def _sharing(position: int, clusters: int) -> Change:
    """Return the change that shares one weight, given by its position."""
    return lambda model: share(compressible_weights(model)[position], clusters)
