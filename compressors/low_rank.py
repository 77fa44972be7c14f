"""Low-rank factorisation: a layer becomes two thin ones wherever that saves weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, cast

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from compressors.base import Task, check_choice, check_range
from compressors.budget.knapsack import allocate
from compressors.budget.per_layer import check_patterns, layer_value
from compressors.budget.sensitivity import Change, sensitivity
from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.layers.factorisable import factorisable_layers, replace_layer
from compressors.layers.factors import Factors, Layer, factorised, factors_of
from compressors.models.batch_norm import renew_batch_norm
from compressors.models.calibration import device_of, to_device
from compressors.models.copying import copy_model

LADDER = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
"""The energies whose ranks are probed in each layer, beside rank 1 and the layer as it is."""


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """Replace linear and convolution layers by pairs of thin ones, by truncated singular values.

    A layer is replaced where the pair has fewer weights, and left otherwise. Batch-norm statistics
    are measured anew at the end.
    """

    kind: ClassVar[CompressorKind] = CompressorKind.REMOVES_STRUCTURE

    lost_energy: float = 0.0
    """The share of squared singular values that may go, in [0, 1); 0 leaves every layer."""
    allocation: Literal["uniform", "sensitivity"] = "uniform"
    """The same share in each layer; or ranks of the least measured divergence of the outputs
    with at most as many weights, in all, as the same share in each layer would leave."""
    layers: Mapping[str, float] = field(default_factory=dict)
    """The lost energy of layers whose name matches a pattern, whatever `lost_energy` says."""

    def __post_init__(self) -> None:
        check_range("lost_energy", self.lost_energy, 0, 1, closed=False)
        check_choice("allocation", self.allocation, ("uniform", "sensitivity"))
        for pattern, lost in self.layers.items():
            check_range(f"layers[{pattern!r}]", lost, 0, 1, closed=False)

    @property
    def active(self) -> bool:
        """True when any layer may be replaced."""
        return self.lost_energy > 0 or any(lost > 0 for lost in self.layers.values())

    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a copy in which layers are pairs of layers.

        Raises:
            InfeasibleError: no layer can be replaced, or no pair would have fewer weights.
        """
        smaller = copy_model(model)
        if not self.active:
            return smaller
        found = factorisable_layers(smaller, to_device(task.example, device_of(smaller)))
        if not found:
            raise InfeasibleError(
                "low rank: the model has no plain linear or ungrouped convolution layer with a "
                "weight of its own"
            )
        check_patterns(self.layers, found)
        factors = {name: factors_of(layer) for name, layer in found.items()}
        ranks = {n: r for n, r in self._ranks(smaller, task, factors).items() if r is not None}
        if not ranks:
            raise InfeasibleError(
                f"low rank: with lost_energy {self.lost_energy:g} every layer needs a rank at "
                f"which two layers have no fewer weights than one"
            )
        for name, rank in ranks.items():
            replace_layer(smaller, found[name], factorised(found[name], factors[name], rank))
        _leave_fused_kernels(smaller)
        renew_batch_norm(smaller, task)
        return smaller

    def skipped_layers(self, model: nn.Module, task: Task) -> dict[str, str]:
        """Return by the name of a layer why it has no pair, whatever the values."""
        found = factorisable_layers(model, to_device(task.example, device_of(model)))
        layers = (nn.Linear, _ConvNd, nn.RNNBase, nn.MultiheadAttention)
        return {
            name
            or "the model": "it is no plain linear or ungrouped convolution layer with a weight "
            "of its own"
            for name, module in model.named_modules()
            if isinstance(module, layers) and name not in found
        }

    def _ranks(
        self, model: nn.Module, task: Task, factors: Mapping[str, Factors]
    ) -> dict[str, int | None]:
        """Return the rank of each layer, None for one that stays as it is."""
        uniform = {
            name: saving_rank(found, 1 - layer_value(self.layers, name, self.lost_energy))
            for name, found in factors.items()
        }
        rest = {n: f for n, f in factors.items() if layer_value(self.layers, n, -1.0) < 0}
        if self.allocation == "uniform" or self.lost_energy == 0 or not rest:
            return uniform
        budget = sum(_size(found, uniform[name]) for name, found in rest.items())
        return uniform | ranks_by_sensitivity(model, task, rest, budget)


def saving_rank(factors: Factors, energy: float) -> int | None:
    """Return the rank that keeps an energy, None where the pair has no fewer weights."""
    if energy == 1:
        return None
    rank = factors.rank(energy)
    return rank if factors.size(rank) < factors.full_size else None


def ranks_by_sensitivity(
    model: nn.Module, task: Task, factors: Mapping[str, Factors], budget: float
) -> dict[str, int | None]:
    """Return the ranks of the least summed divergence with at most `budget` weights in all.

    The divergence of each layer at each rank of a ladder is measured alone, once for a model; an
    integer programme chooses among them.
    """
    levels = {name: _levels(found) for name, found in factors.items()}
    changes = [
        _truncation(name, factors[name], rank)
        for name, ranks in levels.items()
        for rank in ranks
        if rank is not None
    ]
    measured = iter(sensitivity(model, task, changes, name=f"low rank {levels}"))
    costs = [[0.0 if r is None else next(measured) for r in ranks] for ranks in levels.values()]
    sizes = [[float(_size(factors[n], rank)) for rank in ranks] for n, ranks in levels.items()]
    chosen = allocate(costs, sizes, budget)
    return {n: ranks[i] for (n, ranks), i in zip(levels.items(), chosen, strict=True)}


def _levels(factors: Factors) -> list[int | None]:
    """Return rank 1 and those of the ladder that save weights, and the layer as it is."""
    ranks = sorted({1, *(factors.rank(energy) for energy in LADDER)})
    return [*(rank for rank in ranks if factors.size(rank) < factors.full_size), None]


def _size(factors: Factors, rank: int | None) -> int:
    return factors.full_size if rank is None else factors.size(rank)


def _truncation(name: str, factors: Factors, rank: int) -> Change:
    def change(model: nn.Module) -> None:
        with torch.no_grad():
            cast(Layer, model.get_submodule(name)).weight.copy_(factors.weight(rank))

    return change


def _leave_fused_kernels(model: nn.Module) -> None:
    """Have torch's encoder layers call their linear layers, where these are pairs.

    In inference they read the weights of `linear1` and `linear2` for a fused kernel, unless told
    that the activation is not one that the kernel knows; their stack reads those of the first.
    """
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoderLayer) and _has_pair(module):
            module.activation_relu_or_gelu = 0
        if isinstance(module, nn.TransformerEncoder) and any(map(_has_pair, module.layers)):
            module.use_nested_tensor = False


def _has_pair(layer: nn.Module) -> bool:
    parts = (getattr(layer, "linear1", None), getattr(layer, "linear2", None))
    return any(isinstance(part, nn.Sequential) for part in parts)
