"""Quantise matrix products and recurrent layers, with activations rounded at run time."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from search.artefact.onnx_form.integer_types import IntegerTypes
from search.artefact.onnx_form.integer_weights import IntegerLayers, IntegerWeight
from search.artefact.onnx_form.outside import (
    array_of,
    folder_of,
    fresh,
    load_graph,
    save_graph,
)

WEIGHT_INPUTS = {"MatMul": (1,), "Gemm": (1,), "LSTM": (1, 2), "Gather": (0,)}
"""Operators that can be quantised, and the numbers of their inputs that are weights."""
ZERO_POINT_INPUTS = {"MatMulInteger": (3,), "DynamicQuantizeLSTM": (9, 11)}
"""Integer operators and the numbers of their inputs that are zero points of weights."""


def quantise_dynamic(
    model: onnx.ModelProto, layers: IntegerLayers, machine: IntegerTypes
) -> onnx.ModelProto:
    """Return the graph with these nodes in integers.

    Activations use all 8 bits. Weights are signed or unsigned, depending on the machine and on
    their width: a CPU without VNNI saturates sums of unsigned times signed products.

    Args:
        model: The graph, in floats apart from convolutions.
        layers: The nodes to quantise.
        machine: Speed and exactness of the types on this machine.
    """
    nodes = layers.nodes
    # The quantiser splits a Gemm into an addition and a matrix product of this name.
    names = [node.name for node in nodes] + [f"{node.name}_MatMul" for node in nodes]
    outside = folder_of(model)
    with TemporaryDirectory() as temporary:
        source, target = (fresh(outside or Path(temporary), ".onnx") for _ in range(2))
        save_graph(model, source)
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=sorted({node.op_type for node in nodes} | {"MatMul"}),
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=names,
            use_external_data_format=outside is not None,
            # The types behind an operator of ONNX Runtime's own are not inferred.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        quantised = load_graph(target)
    _rewrite_integers(quantised, layers, machine)
    return quantised


def _rewrite_integers(model: onnx.ModelProto, layers: IntegerLayers, machine: IntegerTypes) -> None:
    """Put in the integers and scales of the weights, then make them unsigned where that is faster.

    The quantiser scales each channel to the full range, which a weight may not fill.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    origins = {node.name: node for node in layers.nodes}
    for node in model.graph.node:
        origin = origins.get(node.name.removesuffix("_quant").removesuffix("_MatMul"))
        if origin is None or node.op_type not in ZERO_POINT_INPUTS:
            continue
        places = zip(WEIGHT_INPUTS[origin.op_type], ZERO_POINT_INPUTS[node.op_type], strict=True)
        found = [layers.weights[origin.input[place]] for place in WEIGHT_INPUTS[origin.op_type]]
        taken = [w.fits_int8 and rows_are_channels(origin, w) for w in found]
        # All weights of a layer have one type.
        narrow = all(weight.narrow and kept for weight, kept in zip(found, taken, strict=True))
        types = machine.product(narrow=narrow)
        for (weight_input, zero_input), integers, kept in zip(places, found, taken, strict=True):
            weight, zero = tensors[node.input[weight_input]], tensors[node.input[zero_input]]
            scale = tensors[weight.name.removesuffix("_quantized") + "_scale"]
            if kept:
                _put_integers(weight, scale, integers)
            if types == "U8U8":
                _make_unsigned(weight)
                _make_unsigned(zero)


def rows_are_channels(node: onnx.NodeProto, weight: IntegerWeight) -> bool:
    """Tell whether one scale per row of the integers is one scale per channel of the operator.

    It is not where a layer uses the weight of another one transposed: that is rounded anew.
    """
    straight = node.op_type == "LSTM" or any(a.name == "transB" and a.i for a in node.attribute)
    return weight.transposed != straight


def _make_unsigned(tensor: onnx.TensorProto) -> None:
    """Add 128 to signed bytes; done to integers and zero points alike, this changes no value."""
    if tensor.data_type == onnx.TensorProto.INT8:
        shifted = array_of(tensor).astype(np.int16) + 128
        _replace(tensor, shifted.astype(np.uint8))


def _put_integers(weight: onnx.TensorProto, scale: onnx.TensorProto, source: IntegerWeight) -> None:
    """Write a weight `[..., N, R]` and its scales `[..., R]` from integers of rows `[R, N]`."""
    channels_first = (*weight.dims[:-2], weight.dims[-1], weight.dims[-2])
    integers = source.signed.astype(np.int8).reshape(channels_first)
    _replace(weight, np.swapaxes(integers, -1, -2))
    _replace(scale, source.scale.reshape(tuple(scale.dims)))


def _replace(tensor: onnx.TensorProto, values: NDArray[Any]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))
