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
from onnxruntime.quantization.calibrate import create_calibrator

from search.packed_form.coded_rows import CodedTensor

FOLLOWERS = ("Relu", "Clip", "Add", "MaxPool", "GlobalAveragePool")
"""Operators between quantised convolutions that stay in integers."""
HEADROOM = 2.0
"""Activations use half of their 256 steps: two products of 128 and 127 fit into 16 bits, which is
where a CPU without VNNI adds them up and would otherwise saturate."""

Feeds = Mapping[str, NDArray[np.generic]]


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
    coded: Mapping[str, CodedTensor],
    calibration: Iterable[Feeds],
) -> onnx.ModelProto:
    """Return the graph with these convolutions, and what lies between them, in integers.

    Activations are unsigned and weights signed, one scale a channel, which is what the fast
    kernels take.

    Arguments:
        model: the graph in floats.
        convolutions: the nodes to quantise.
        coded: the code of each of their weights, by the initialiser's name.
        calibration: batches of inputs.
    """
    followers = _followers(model, convolutions)
    overrides: dict[str, list[dict[str, Any]]] = {
        name: _channel_scales(coded[name])
        for name in {node.input[1] for node in convolutions}
        if coded[name].is_signed and not coded[name].transposed
    }
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "static.onnx"
        onnx.save(model, source)
        batches = list(calibration)
        overrides |= _ranges(source, [*convolutions, *followers], batches)
        quantize_static(
            source,
            target,
            Calibration(batches[:1]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", *FOLLOWERS],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=[node.name for node in (*convolutions, *followers)],
            extra_options={"TensorQuantOverrides": overrides},
        )
        return onnx.load(target)


def _ranges(
    path: Path, nodes: list[onnx.NodeProto], batches: list[Feeds]
) -> dict[str, list[dict[str, Any]]]:
    """Return the range of each activation of the nodes, zero in it, with the headroom above."""
    calibrator = create_calibrator(
        path,
        ["Conv", *FOLLOWERS],
        augmented_model_path=str(path.with_name("augmented.onnx")),
    )
    calibrator.collect_data(Calibration(batches))
    found = calibrator.compute_data()
    wanted = {name for node in nodes for name in (node.input[0], node.output[0])}
    ranges = {}
    for name, data in found.items():
        if name in wanted:
            lowest, highest = data.range_value
            low, high = min(float(np.min(lowest)), 0.0), max(float(np.max(highest)), 0.0)
            top = low + HEADROOM * (high - low)
            ranges[name] = [{"rmin": np.float32(low), "rmax": np.float32(top)}]
    return ranges


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


def _channel_scales(coded: CodedTensor) -> list[dict[str, Any]]:
    """Return the scale of each output channel in the form of ONNX Runtime's quantiser.

    Its rounding of `integer * scale / |scale|` gives the integers back, with their signs turned
    where folding a batch-normalisation has made a scale negative.
    """
    scale = np.where(coded.factor == 0, 1, np.abs(coded.factor)).astype(np.float32)
    return [
        {"quant_type": QuantType.QInt8, "axis": 0, "scale": value, "zero_point": np.int8(0)}
        for value in scale
    ]
