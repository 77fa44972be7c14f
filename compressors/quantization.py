"""Quantisation: every weight becomes an integer of a few bits, with a scale and a zero point."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import nn

from compressors.base import Task, check_choice, check_range
from compressors.budget.knapsack import allocate
from compressors.budget.per_layer import check_patterns, layer_value
from compressors.budget.sensitivity import Change, sensitivity
from compressors.errors import InfeasibleError
from compressors.kinds import CompressorKind
from compressors.models.copying import copy_model
from compressors.weights.biases import round_biases
from compressors.weights.compressible import Weight, compressible_weights
from compressors.weights.masks import settle_masks
from compressors.weights.uniform_quantizer import UniformQuantizer, quantizer_for

LADDER = range(2, 9)
"""The bit-widths."""
GROUP_SIZES = (16, 32, 64, 128, 256)
ACTIVATIONS = ("float", "minmax", "percentile", "mse")


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """Round every weight to integers of `bits` bits; scale and zero point are recorded.

    Zero stays exactly zero. At 8 bits the range of a weight is kept whole; below, it is clipped
    where the squared error of the weights is least. A later recovery trains weights and scales.
    """

    kind: ClassVar[CompressorKind] = CompressorKind.ENCODES_WEIGHTS

    bits: float | None = None
    """2 to 8, or None for off; a mean over the weights, and so any fraction, if by sensitivity."""
    symmetric: bool = True
    """Integers around zero, `-(2^(b-1)-1)` to `2^(b-1)-1`; else 0 to `2^b-1` with a zero point."""
    granularity: Literal["tensor", "channel", "group"] = "channel"
    """One scale for a whole weight, for each row (its first axis) or for each group of a row."""
    group_size: int = 64
    """Values a group: 16, 32, 64, 128 or 256."""
    allocation: Literal["uniform", "sensitivity"] = "uniform"
    """The same bits everywhere, or those of least measured divergence at this mean."""
    layers: Mapping[str, int] = field(default_factory=dict)
    """Bits of single weights by a pattern on their name; they do not count in the mean."""
    biases: bool = True
    """Round biases too, to 8 bits with one scale each."""
    activations: Literal["float", "minmax", "percentile", "mse"] = "minmax"
    """When the model runs: as floats, or in 8 bits, where a convolution's are fixed beforehand by
    their whole range, by percentiles or by the least squared error on calibration data."""

    def __post_init__(self) -> None:
        if self.bits is not None:
            check_range("bits", self.bits, LADDER[0], LADDER[-1])
            if self.allocation == "uniform" and self.bits != int(self.bits):
                raise ValueError(
                    f"bits must be a whole number where allocation is uniform, got {self.bits!r}"
                )
        check_choice("granularity", self.granularity, ("tensor", "channel", "group"))
        check_choice("group_size", self.group_size, GROUP_SIZES)
        check_choice("allocation", self.allocation, ("uniform", "sensitivity"))
        check_choice("activations", self.activations, ACTIVATIONS)
        if self.layers and self.bits is None:
            raise ValueError("layers need bits, the width of the other weights, got None")
        for pattern, bits in self.layers.items():
            check_choice(f"layers[{pattern!r}]", bits, LADDER)

    @property
    def active(self) -> bool:
        """True when a bit-width is set."""
        return self.bits is not None

    def __call__(self, model: nn.Module, task: Task) -> nn.Module:
        """Return a copy with quantised weights.

        Raises:
            InfeasibleError: the model has no weights, or a pattern of `layers` matches none.
        """
        quantised = copy_model(model)
        if self.bits is None:
            return quantised
        weights = compressible_weights(quantised)
        if not weights:
            raise InfeasibleError("quantisation: the model has no weights with two or more axes")
        settle_masks(quantised)
        check_patterns(self.layers, [weight.name for weight in weights])
        widths = self._widths(weights, self.bits, quantised, task)
        for weight, bits in zip(weights, widths, strict=True):
            weight.add(self._quantizer(weight, bits))
        if self.biases:
            round_biases(quantised)
        return quantised

    def _quantizer(self, weight: Weight, bits: int) -> UniformQuantizer:
        return quantizer_for(
            weight.value(),
            bits=bits,
            symmetric=self.symmetric,
            granularity=self.granularity,
            group_size=self.group_size,
            activations=None if self.activations == "float" else self.activations,
        )

    def _widths(
        self, weights: Sequence[Weight], mean: float, model: nn.Module, task: Task
    ) -> list[int]:
        """Return the bits of each weight."""
        if self.allocation == "uniform":
            return [layer_value(self.layers, weight.name, int(mean)) for weight in weights]
        given = [layer_value(self.layers, weight.name, 0) for weight in weights]
        free = [number for number, bits in enumerate(given) if not bits]
        if free:
            changes = [self._change(number, bits) for number in free for bits in LADDER]
            grid = f"{self.symmetric} {self.granularity} {self.group_size}"
            name = f"quantisation {grid} {[weights[i].name for i in free]} {list(LADDER)}"
            found = iter(sensitivity(model, task, changes, name=name))
            costs = [[next(found) for _ in LADDER] for _ in free]
            counts = [weights[number].value().numel() for number in free]
            sizes = [[bits * count for bits in LADDER] for count in counts]
            levels = allocate(costs, sizes, mean * sum(counts))
            for number, level in zip(free, levels, strict=True):
                given[number] = LADDER[level]
        return given

    def _change(self, number: int, bits: int) -> Change:
        def quantise(model: nn.Module) -> None:
            weight = compressible_weights(model)[number]
            weight.add(self._quantizer(weight, bits))

        return quantise
