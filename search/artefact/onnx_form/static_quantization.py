"""Quantise convolutions: the ranges of their activations are fixed, from calibration batches."""

from collections.abc import Iterable, Mapping
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

from search.artefact.onnx_form.activation_ranges import Feeds, Ranges, activation_ranges
from search.artefact.onnx_form.integer_types import IntegerTypes, Types
from search.artefact.onnx_form.integer_weights import IntegerWeight

FOLLOWERS = ("Relu", "Clip", "Add", "MaxPool", "GlobalAveragePool")
"""Operators between quantised convolutions that stay in integers."""
SAME_RANGE = ("Relu", "Clip", "MaxPool")
"""Of these, those that share the range of their input."""
HEADROOM = 2.0
"""Where a CPU without VNNI would saturate, activations use half of their 256 steps: two products
of 128 and 127 fit into the 16 bits in which it adds them up."""
KINDS = {"U": QuantType.QUInt8, "S": QuantType.QInt8}

Overrides = dict[str, list[dict[str, Any]]]


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Hands batches of inputs to ONNX Runtime's calibrator."""

    def __init__(self, batches: Iterable[Feeds]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        """Return the next batch, or None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else dict(batch)


def quantise_static(
    model: onnx.ModelProto,
    convolutions: list[onnx.NodeProto],
    weights: Mapping[str, IntegerWeight],
    calibration: Iterable[Feeds],
    *,
    method: str,
    machine: IntegerTypes,
) -> onnx.ModelProto:
    """Return the graph with these convolutions, and what lies between them, in integers.

    All convolutions have the types that suit the machine and the widest of their weights, with one
    scale a channel.

    Args:
        model: The graph in floats.
        convolutions: The nodes to quantise.
        weights: The integers of each of their weights, by the initialiser's name.
        calibration: Batches of inputs.
        method: How ranges are taken from them, see `activation_ranges`.
        machine: What was measured on it.
    """
    followers = _followers(model, convolutions)
    narrow = all(weights[node.input[1]].narrow for node in convolutions)
    types = machine.convolution(narrow=narrow)
    scales: Overrides = {
        name: _channel_scales(weights[name], types)
        for name in {node.input[1] for node in convolutions}
        if weights[name].fits_int8 and not weights[name].transposed
    }
    batches = list(calibration)
    names = {n for node in (*convolutions, *followers) for n in (node.input[0], node.output[0])}
    wide = _inputs_of_wide(convolutions, followers, weights, types, machine)
    ranges = activation_ranges(model, names - wide, batches, method=method)
    ranges |= _with_headroom(activation_ranges(model, wide, batches, method=method, steps=127))
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "static.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            # All ranges are given, but the quantiser wants to see some data.
            Calibration([{name: array[:1] for name, array in batches[0].items()}]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", *FOLLOWERS],
            per_channel=True,
            activation_type=KINDS[types[0]],
            weight_type=KINDS[types[2]],
            nodes_to_quantize=[node.name for node in (*convolutions, *followers)],
            extra_options={"TensorQuantOverrides": scales | _as_overrides(ranges)},
        )
        return onnx.load(target)


def _followers(model: onnx.ModelProto, convolutions: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the nodes all of whose activations come from nodes that are quantised."""
    integers = {node.output[0] for node in convolutions}
    integers |= {tensor.name for tensor in model.graph.initializer}
    followers = []
    for node in model.graph.node:
        if node.op_type in FOLLOWERS and integers.issuperset(node.input):
            integers.add(node.output[0])
            followers.append(node)
    return followers


def _inputs_of_wide(
    convolutions: list[onnx.NodeProto],
    followers: list[onnx.NodeProto],
    weights: Mapping[str, IntegerWeight],
    types: Types,
    machine: IntegerTypes,
) -> set[str]:
    """Return the activations that meet weights with which they would saturate."""
    wide = {
        node.input[0]
        for node in convolutions
        if machine.needs_headroom(types, narrow=weights[node.input[1]].narrow)
    }
    for node in reversed(followers):
        if node.op_type in SAME_RANGE and node.output[0] in wide:
            wide.add(node.input[0])
    return wide


def _with_headroom(ranges: Ranges) -> Ranges:
    return {name: (low, low + HEADROOM * (high - low)) for name, (low, high) in ranges.items()}


def _as_overrides(ranges: Ranges) -> Overrides:
    return {
        name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
        for name, (low, high) in ranges.items()
    }


def _channel_scales(weight: IntegerWeight, types: Types) -> list[dict[str, Any]]:
    """Return the scale of each output channel in the form of ONNX Runtime's quantiser.

    Its rounding of `integer * scale / |scale|` gives the integers back, with their signs turned
    where folding a batch-normalisation has made a scale negative.
    """
    scale = np.where(weight.scale == 0, 1, np.abs(weight.scale)).astype(np.float32)[:, 0]
    zero = np.int8(0) if types[2] == "S" else np.uint8(128)
    return [
        {"quant_type": KINDS[types[2]], "axis": 0, "scale": value, "zero_point": zero}
        for value in scale
    ]
