"""Quantise matrix products, recurrent layers and embeddings: activations at run time."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from search.packed_form.coded_rows import CodedTensor

WEIGHT_INPUTS = {"MatMul": (1,), "Gemm": (1,), "LSTM": (1, 2), "Gather": (0,)}
"""Operators that can be quantised, and which of their inputs are weights."""
ZERO_POINT_INPUTS = {"MatMulInteger": (3,), "DynamicQuantizeLSTM": (9, 11)}
"""Which inputs of the integer operators are the zero points of their weights."""


def quantise_dynamic(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], coded: Mapping[str, CodedTensor]
) -> onnx.ModelProto:
    """Return the graph with these nodes in integers.

    The weights are unsigned, since a CPU without VNNI saturates sums of unsigned times signed
    products, and activations that span all 8 bits reach that.

    Arguments:
        model: the graph in floats, apart from convolutions.
        nodes: those to quantise.
        coded: the code of each of their weights, by the initialiser's name.
    """
    # The quantiser splits a Gemm into an addition and a matrix product of this name.
    names = [node.name for node in nodes] + [f"{node.name}_MatMul" for node in nodes]
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "dynamic.onnx"
        onnx.save(model, source)
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=sorted({node.op_type for node in nodes} | {"MatMul"}),
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=names,
        )
        quantised = onnx.load(target)
    _rewrite_integers(quantised, nodes, coded)
    return quantised


def _rewrite_integers(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], coded: Mapping[str, CodedTensor]
) -> None:
    """Put in the integers and scales of symmetric codes, then make all integers unsigned.

    The quantiser scales each channel to the full range, which a weight trained further may no
    longer fill. Moving integers and zero points up by 128 changes no value.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    origins = {node.name: node for node in nodes}
    for node in model.graph.node:
        origin = origins.get(node.name.removesuffix("_quant").removesuffix("_MatMul"))
        if origin is None or node.op_type not in ZERO_POINT_INPUTS:
            continue
        places = zip(WEIGHT_INPUTS[origin.op_type], ZERO_POINT_INPUTS[node.op_type], strict=True)
        for weight_input, zero_input in places:
            weight, zero = tensors[node.input[weight_input]], tensors[node.input[zero_input]]
            scale = tensors[weight.name.removesuffix("_quantized") + "_scale"]
            code = coded[origin.input[weight_input]]
            # A factor a row of the code is a scale a channel of the operator.
            if code.is_signed and code.transposed == (origin.op_type == "MatMul"):
                _put_integers(weight, scale, code)
            for tensor in (weight, zero):
                if tensor.data_type == onnx.TensorProto.INT8:
                    shifted = numpy_helper.to_array(tensor).astype(np.int16) + 128
                    _replace(tensor, shifted.astype(np.uint8))


def _put_integers(weight: onnx.TensorProto, scale: onnx.TensorProto, code: CodedTensor) -> None:
    """Write a weight `[..., N, R]` and its scales `[..., R]` from a code of rows `[R, N]`."""
    channels_first = (*weight.dims[:-2], weight.dims[-1], weight.dims[-2])
    integers = code.levels[code.indices].astype(np.int8).reshape(channels_first)
    _replace(weight, np.swapaxes(integers, -1, -2))
    _replace(scale, code.factor.reshape(tuple(scale.dims)))


def _replace(tensor: onnx.TensorProto, values: NDArray[Any]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))
