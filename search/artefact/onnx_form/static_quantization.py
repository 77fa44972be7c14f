"""Quantise a region of a graph; the ranges of its activations are fixed, from calibration data."""

from collections.abc import Mapping, Sequence
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
from search.artefact.onnx_form.integer_region import SAME_SCALE, IntegerRegion
from search.artefact.onnx_form.integer_types import IntegerTypes
from search.artefact.onnx_form.integer_weights import IntegerWeight
from search.artefact.onnx_form.outside import folder_of, fresh, load_graph, save_graph
from search.artefact.onnx_form.type_measurement import Types

HEADROOM = 2.0
"""Factor on the range of activations where a CPU without VNNI would saturate. They then use half of
their 256 steps: two products of 128 and 127 fit into the 16 bits of their sum."""
FINE = 2.0**-16
"""Scale of a weight of zeros: steps of its bias are this share of those of its input."""
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
class _Rounding:
    """How the nodes of a region are rounded."""

    region: IntegerRegion
    weights: Mapping[str, IntegerWeight]
    types: Types

    def activations(self, model: onnx.ModelProto) -> set[str]:
        """Return the names of all inputs and outputs of the nodes that are activations."""
        constants = {tensor.name for tensor in model.graph.initializer}
        made = {name for node in self.region.nodes for name in node.output}
        ends = {node.output[0] for node in self.region.floating_ends}
        return (self.region.read | made) - constants - ends

    def saturating(self, machine: IntegerTypes) -> set[str]:
        """Return the activations that need headroom for the weights that they meet."""
        found = {
            node.input[0]
            for node in self.region.layers
            if machine.needs_headroom(self.types, narrow=self.weights[node.input[1]].narrow)
        }
        for node in reversed(self.region.followers):
            if node.op_type in SAME_SCALE and not found.isdisjoint(node.output):
                found.add(node.input[0])
        return found


def quantise_static(
    model: onnx.ModelProto,
    region: IntegerRegion,
    weights: Mapping[str, IntegerWeight],
    calibration: Calibration,
    machine: IntegerTypes,
) -> onnx.ModelProto:
    """Return the graph with the nodes of this region in integers.

    All layers have the same types, chosen for the machine and the widest of their weights, with
    one scale per channel.

    Args:
        model: The graph in floats.
        region: The nodes to quantise.
        weights: The integers of the layers' weights by the name of the initialiser.
        calibration: Batches of inputs and how ranges are taken from them.
        machine: Speed and exactness of the types on this machine.
    """
    narrow = all(weights[node.input[1]].narrow for node in region.layers)
    types = machine.convolution(narrow=narrow)
    rounding = _Rounding(region=region, weights=weights, types=types)
    saturating = rounding.saturating(machine)
    ranges = activation_ranges(model, rounding.activations(model) - saturating, calibration)
    ranges |= _with_headroom(activation_ranges(model, saturating, calibration, steps=127))
    # All ranges are given, but the quantiser needs some data all the same.
    sample = {name: array[:1] for name, array in calibration.batches[0].items()}
    overrides = _weight_overrides(rounding) | _as_overrides(ranges)
    quantised = _quantised(model, rounding, sample, overrides)
    for node in region.floating_ends:
        _return_floats(quantised.graph, node.name)
    return quantised


def _quantised(
    model: onnx.ModelProto, rounding: _Rounding, sample: Feeds, overrides: Overrides
) -> onnx.ModelProto:
    """Return the graph as ONNX Runtime's quantiser rewrites it under these settings."""
    nodes = rounding.region.nodes
    outside = folder_of(model)
    with TemporaryDirectory() as temporary:
        source, target = (fresh(outside or Path(temporary), ".onnx") for _ in range(2))
        save_graph(model, source)
        quantize_static(
            source,
            target,
            _Batches([sample]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=sorted({node.op_type for node in nodes}),
            per_channel=True,
            activation_type=QUANT_TYPES[rounding.types[0]],
            weight_type=QUANT_TYPES[rounding.types[2]],
            nodes_to_quantize=[node.name for node in nodes],
            use_external_data_format=outside is not None,
            extra_options={"TensorQuantOverrides": overrides},
        )
        return load_graph(target)


def _return_floats(graph: onnx.GraphProto, name: str) -> None:
    """Remove the rounding after one node, in place."""
    users = {node.input[0]: node for node in graph.node if node.input}
    [layer] = [node for node in graph.node if node.name == name]
    rounded = users[layer.output[0]]
    restored = users[rounded.output[0]]
    layer.output[0] = restored.output[0]
    graph.node.remove(rounded)
    graph.node.remove(restored)


def _with_headroom(ranges: Ranges) -> Ranges:
    return {name: (low, low + HEADROOM * (high - low)) for name, (low, high) in ranges.items()}


def _as_overrides(ranges: Ranges) -> Overrides:
    return {
        name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
        for name, (low, high) in ranges.items()
    }


def _weight_overrides(rounding: _Rounding) -> Overrides:
    """Return the scales of the weights that the quantiser can take over."""
    names = {node.input[1] for node in rounding.region.layers}
    found = {name: rounding.weights[name] for name in names}
    return {
        name: _channel_scales(weight, rounding.types)
        for name, weight in found.items()
        if weight.fits_int8
    }


def _channel_scales(weight: IntegerWeight, types: Types) -> list[dict[str, Any]]:
    """Return the scale of each output channel in the form of ONNX Runtime's quantiser.

    Its rounding of `integer * scale / |scale|` gives the integers back, with opposite signs where
    folding a batch-normalisation has made a scale negative. A channel of zeros fits any scale; it
    takes the median of the others, since the bias is rounded to steps of that scale.
    """
    scale = np.abs(weight.scale[:, 0])
    used = weight.signed.any(1) & (scale > 0)
    scale = np.where(used, scale, np.median(scale[used]) if used.any() else FINE).astype(np.float32)
    zero = np.int8(0) if types[2] == "S" else np.uint8(128)
    axis = int(weight.transposed)
    return [
        {"quant_type": QUANT_TYPES[types[2]], "axis": axis, "scale": value, "zero_point": zero}
        for value in scale
    ]
