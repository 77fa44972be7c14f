"""Low-rank factorisation: a layer becomes two thin ones wherever that saves weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import nn
from torch.nn.modules.conv import _ConvNd

from compressors.base import Task, check_choice, check_range
from compressors.budget.per_layer import check_patterns, layer_value
from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.layers.factorisable import factorisable_layers, why_not_factorisable
from compressors.layers.factors import Factors, factorised, factors_of
from compressors.layers.ranks import ranks_by_sensitivity, saving_rank, weights_at
from compressors.models.batch_norm import renew_batch_norm
from compressors.models.calibration import device_of, to_device
from compressors.models.copying import copy_model
from compressors.models.fused_attention import disable_fused_feedforward
from compressors.models.replacing import replace_module


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """Replace linear and convolution layers by pairs of thin ones, by truncated singular values.

    A layer is replaced where the pair has fewer weights, and kept otherwise. Batch-norm statistics
    behind a replaced layer are measured anew.
    """

    kind: ClassVar[CompressorKind] = CompressorKind.REMOVES_STRUCTURE

    lost_energy: float = 0.0
    """The share of squared singular values that may go, in [0, 1); 0 keeps every layer."""
    allocation: Literal["uniform", "sensitivity"] = "uniform"
    """The same share in each layer; or ranks of the least measured divergence of the outputs
    with at most as many weights, in all, as the same share in each layer would leave."""
    layers: Mapping[str, float] = field(default_factory=dict)
    """The lost energy of layers whose name matches a pattern, in place of `lost_energy`."""

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
        layers = factorisable_layers(smaller, to_device(task.example, device_of(smaller)))
        if not layers:
            reasons = "; ".join(f"{n}: {r}" for n, r in self.skipped_layers(model, task).items())
            raise InfeasibleError(
                "low rank: the model has no plain linear or ungrouped convolution layer with a "
                f"weight of its own ({reasons or 'it has no layers with weights'})"
            )
        check_patterns(self.layers, layers)
        factors = {name: factors_of(layer) for name, layer in layers.items()}
        ranks = {n: r for n, r in self._ranks(smaller, task, factors).items() if r is not None}
        if not ranks:
            raise InfeasibleError(
                f"low rank: with lost_energy {self.lost_energy:g} every layer needs a rank at "
                f"which two layers have no fewer weights than one"
            )
        for name, rank in ranks.items():
            replace_module(smaller, layers[name], factorised(layers[name], factors[name], rank))
        disable_fused_feedforward(smaller)
        renew_batch_norm(smaller, task, model)
        return smaller

    def skipped_layers(self, model: nn.Module, task: Task) -> dict[str, str]:
        """Return by the name of a layer why no pair can replace it, with any values."""
        found = factorisable_layers(model, to_device(task.example, device_of(model)))
        layers = (nn.Linear, _ConvNd, nn.RNNBase, nn.MultiheadAttention)
        return {
            name or "the model": why_not_factorisable(model, module)
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
        rest = {n: f for n, f in factors.items() if layer_value(self.layers, n, None) is None}
        if self.allocation == "uniform" or self.lost_energy == 0 or not rest:
            return uniform
        budget = sum(weights_at(found, uniform[name]) for name, found in rest.items())
        return uniform | ranks_by_sensitivity(model, task, rest, budget)
