"""Quantise convolutions; the ranges of their activations are fixed, from calibration batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from search.artefact.onnx_form.activation_ranges import Calibration, Ranges, activation_ranges
from search.artefact.onnx_form.export import Feeds
from search.artefact.onnx_form.integer_types import IntegerTypes
from search.artefact.onnx_form.integer_weights import IntegerLayers, IntegerWeight
from search.artefact.onnx_form.type_measurement import Types

FOLLOWERS = ("Relu", "Clip", "Add", "MaxPool", "GlobalAveragePool")
"""Operators between quantised convolutions that stay in integers."""
SAME_RANGE = ("Relu", "Clip", "MaxPool")
"""Followers whose output has the range of their input."""
HEADROOM = 2.0
"""Factor on the range of activations where a CPU without VNNI would saturate. They then use half of
their 256 steps: two products of 128 and 127 fit into the 16 bits of their sum."""
QUANT_TYPES = {"U": QuantType.QUInt8, "S": QuantType.QInt8}

Overrides = dict[str, list[dict[str, Any]]]
"""Settings of ONNX Runtime's quantiser by the name of the tensor."""


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """Hands batches of inputs to ONNX Runtime's calibrator."""

    def __init__(self, batches: Sequence[Feeds]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        """Return the next batch, arrays `[B, ...]` by input, or None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else dict(batch)


@dataclass(frozen=True, kw_only=True)
class _Region:
    """The part of a graph that runs in integers."""

    layers: IntegerLayers
    """The convolutions."""
    followers: list[onnx.NodeProto]
    """The nodes between them that stay in integers."""
    types: Types

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        """All nodes that run in integers."""
        return [*self.layers.nodes, *self.followers]

    @property
    def activations(self) -> set[str]:
        """The names of all inputs and outputs of the nodes that are activations."""
        return {name for node in self.nodes for name in (node.input[0], node.output[0])}

    def saturating(self, machine: IntegerTypes) -> set[str]:
        """Return the activations that need headroom for the weights that they meet."""
        found = {
            node.input[0]
            for node in self.layers.nodes
            if machine.needs_headroom(self.types, narrow=self.layers.weights[node.input[1]].narrow)
        }
        for node in reversed(self.followers):
            if node.op_type in SAME_RANGE and node.output[0] in found:
                found.add(node.input[0])
        return found


def quantise_static(
    model: onnx.ModelProto,
    layers: IntegerLayers,
    calibration: Calibration,
    machine: IntegerTypes,
) -> onnx.ModelProto:
    """Return the graph with these convolutions, and the nodes between them, in integers.

    All convolutions have the same types, chosen for the machine and the widest of their weights,
    with one scale per channel.

    Args:
        model: The graph in floats.
        layers: The convolutions to quantise.
        calibration: Batches of inputs and how ranges are taken from them.
        machine: Speed and exactness of the types on this machine.
    """
    narrow = all(layers.weights[node.input[1]].narrow for node in layers.nodes)
    types = machine.convolution(narrow=narrow)
    region = _Region(layers=layers, followers=_followers(model, layers.nodes), types=types)
    saturating = region.saturating(machine)
    ranges = activation_ranges(model, region.activations - saturating, calibration)
    ranges |= _with_headroom(activation_ranges(model, saturating, calibration, steps=127))
    # All ranges are given, but the quantiser needs some data all the same.
    sample = {name: array[:1] for name, array in calibration.batches[0].items()}
    return _quantised(model, region, sample, _weight_overrides(region) | _as_overrides(ranges))


def _quantised(
    model: onnx.ModelProto, region: _Region, sample: Feeds, overrides: Overrides
) -> onnx.ModelProto:
    """Return the graph as ONNX Runtime's quantiser rewrites it under these settings."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "static.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            _Batches([sample]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", *FOLLOWERS],
            per_channel=True,
            activation_type=QUANT_TYPES[region.types[0]],
            weight_type=QUANT_TYPES[region.types[2]],
            nodes_to_quantize=[node.name for node in region.nodes],
            extra_options={"TensorQuantOverrides": overrides},
        )
        return onnx.load(target)


def _followers(model: onnx.ModelProto, convolutions: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the nodes whose activations all come from nodes that are quantised."""
    integers = {node.output[0] for node in convolutions}
    integers |= {tensor.name for tensor in model.graph.initializer}
    followers = []
    for node in model.graph.node:
        if node.op_type in FOLLOWERS and integers.issuperset(node.input):
            integers.add(node.output[0])
            followers.append(node)
    return followers


def _with_headroom(ranges: Ranges) -> Ranges:
    return {name: (low, low + HEADROOM * (high - low)) for name, (low, high) in ranges.items()}


def _as_overrides(ranges: Ranges) -> Overrides:
    return {
        name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
        for name, (low, high) in ranges.items()
    }


def _weight_overrides(region: _Region) -> Overrides:
    """Return the scales of the weights that the quantiser can take over."""
    found = {node.input[1]: region.layers.weights[node.input[1]] for node in region.layers.nodes}
    return {
        name: _channel_scales(weight, region.types)
        for name, weight in found.items()
        if weight.fits_int8 and not weight.transposed
    }


def _channel_scales(weight: IntegerWeight, types: Types) -> list[dict[str, Any]]:
    """Return the scale of each output channel in the form of ONNX Runtime's quantiser.

    Its rounding of `integer * scale / |scale|` gives the integers back, with opposite signs where
    folding a batch-normalisation has made a scale negative.
    """
    scale = np.where(weight.scale == 0, 1, np.abs(weight.scale)).astype(np.float32)[:, 0]
    zero = np.int8(0) if types[2] == "S" else np.uint8(128)
    return [
        {"quant_type": QUANT_TYPES[types[2]], "axis": 0, "scale": value, "zero_point": zero}
        for value in scale
    ]
