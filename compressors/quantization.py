"""Quantisation: each weight is stored as an integer of a few bits, with scales and zero points."""

from collections.abc import Mapping
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
from compressors.weights.compressible import Weight, compressible_weights
from compressors.weights.masks import settle_masks
from compressors.weights.uniform_quantizer import (
    QuantizerSettings,
    UniformQuantizer,
    quantizer_for,
)

LADDER = range(2, 9)
"""Bit-widths of a weight."""
GROUP_SIZES = (16, 32, 64, 128, 256)
ACTIVATIONS = ("float", "minmax", "percentile", "mse")


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """Round every weight to integers of a few bits, with a scale and a zero point.

    Zero stays exactly zero. At 8 bits the grid covers the whole range of a weight; below 8 bits
    the range is clipped to the one of least squared error. A later recovery trains the weights and
    the scales. Batch-norm channels that are constant keep their value, see
    `settle_constant_channels`.
    """

    kind: ClassVar[CompressorKind] = CompressorKind.ENCODES_WEIGHTS

    bits: float | None = None
    """Bits per weight, in [2, 8]; None turns the method off. A whole number if `allocation` is
    `uniform`; the mean over all weights, which may be fractional, if it is `sensitivity`."""
    symmetric: bool = True
    """Whether the integers are centred on zero, in [-(2^(b-1)-1), 2^(b-1)-1]; otherwise they are in
    [0, 2^b-1], with a zero point."""
    granularity: Literal["tensor", "channel", "group"] = "channel"
    """One scale per weight tensor, per channel (index of the first axis) or per group of values in
    a channel."""
    group_size: int = 64
    """Values per group if `granularity` is `group`: 16, 32, 64, 128 or 256."""
    allocation: Literal["uniform", "sensitivity"] = "uniform"
    """`uniform` gives every weight the same bits; `sensitivity` gives each weight the bits that
    keep the measured divergence least, at the mean `bits`."""
    layers: Mapping[str, int] = field(default_factory=dict)
    """Bits of single weights by patterns on their names; these weights do not count in the mean."""
    biases: bool = True
    """Whether biases are rounded to 8-bit integers with one scale each."""
    activations: Literal["float", "minmax", "percentile", "mse"] = "minmax"
    """Activations in the exported model: `float` keeps floats; the others quantise to 8 bits, with
    the range of a convolution's input fixed on calibration data: the whole range, the range between
    percentiles, or the range of least squared error."""

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
        left = folded_weights(quantised, task.example)
        settle_masks(quantised)
        settle_constant_channels(quantised, task)
        check_patterns(self.layers, [weight.name for weight in weights])
        used = {i: weight for i, weight in enumerate(weights) if weight.name not in left}
        if not used:
            raise InfeasibleError(f"quantisation: every weight is left out, since {REASON}")
        chosen = {i: layer_value(self.layers, w.name, 0) for i, w in used.items()}
        rest = {i: weight for i, weight in used.items() if not chosen[i]}
        for i, bits in (chosen | self._widths(quantised, task, rest)).items():
            weights[i].add(self._quantizer(weights[i], bits))
        if self.biases:
            round_biases(quantised)
        return quantised

    def skipped_layers(self, model: nn.Module, task: Task) -> dict[str, str]:
        """Return by the name of a layer why its weight stays as it is, at any width."""
        return layers_left(model, task.example)

    def _quantizer(self, weight: Weight, bits: int) -> UniformQuantizer:
        settings = QuantizerSettings(
            bits=bits,
            symmetric=self.symmetric,
            granularity=self.granularity,
            group_size=self.group_size,
            activations=None if self.activations == "float" else self.activations,
        )
        return quantizer_for(weight.value(), settings)

    def _widths(
        self, model: nn.Module, task: Task, weights: Mapping[int, Weight]
    ) -> dict[int, int]:
        """Return the bits of the weights without bits of their own, by position."""
        assert self.bits is not None
        if self.allocation == "uniform" or not weights:
            return dict.fromkeys(weights, int(self.bits))
        counts = {i: weight.value().numel() for i, weight in weights.items()}
        grid = f"{self.symmetric} {self.granularity} {self.group_size}"
        names = [weight.name for weight in weights.values()]
        choice = LevelChoice(
            levels=[self._levels(i, count) for i, count in counts.items()],
            layers=names,
            budget=self.bits * sum(counts.values()),
            unit="bits",
            name=f"quantisation {grid} {names} {list(LADDER)}",
        )
        return dict(zip(weights, allocate_levels(model, task, choice), strict=True))

    def _levels(self, position: int, count: int) -> list[Level[int]]:
        """Return the bit-widths of one weight, given by its position, with its size in bits."""
        return [
            Level(value=bits, size=bits * count, change=self._change(position, bits))
            for bits in LADDER
        ]

    def _change(self, position: int, bits: int) -> Change:
        def quantise(model: nn.Module) -> None:
            weight = compressible_weights(model)[position]
            weight.add(self._quantizer(weight, bits))

        return quantise
