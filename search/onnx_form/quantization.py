"""Turn the layers with 8-bit weights of an ONNX graph into integer operators of ONNX Runtime."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import onnx
from onnx import numpy_helper

from compressors.coding import CodedWeight
from search.onnx_form import dynamic_quantization
from search.onnx_form.dynamic_quantization import quantise_dynamic
from search.onnx_form.static_quantization import Feeds, quantise_static
from search.packed_form.coded_rows import CodedRows, CodedTensor

WEIGHT_INPUTS = {**dynamic_quantization.WEIGHT_INPUTS, "Conv": (1,)}


def quantise_onnx(
    model: onnx.ModelProto, codes: Iterable[CodedWeight], calibration: Iterable[Feeds]
) -> onnx.ModelProto:
    """Return the graph with integer operators wherever the weight is an 8-bit code.

    Convolutions are quantised statically, with ranges taken from `calibration`; matrix products,
    recurrent layers and embeddings dynamically. The integers of a symmetric code are kept as they
    are; an asymmetric one, and that of an embedding, is rounded anew to what the operators take.
    """
    rows = CodedRows(code for code in codes if code.bits == 8)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    coded: dict[str, CodedTensor] = {}
    static: list[onnx.NodeProto] = []
    dynamic: list[onnx.NodeProto] = []
    for node in model.graph.node:
        names = [node.input[place] for place in WEIGHT_INPUTS.get(node.op_type, ())]
        for name in names:
            found = rows.find(weights[name]) if name in weights and name not in coded else None
            if found is not None:
                coded[name] = found
        if names and coded.keys() >= set(names):
            (static if node.op_type == "Conv" else dynamic).append(node)
    with _quiet():
        if static:
            model = quantise_static(model, static, coded, calibration)
        return quantise_dynamic(model, dynamic, coded) if dynamic else model


def integer_operators(model: onnx.ModelProto) -> int:
    """Return how many layers of a graph run in integers when ONNX Runtime has loaded it."""
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    count = 0
    for node in model.graph.node:
        inputs = [makers.get(name) for name in node.input[:2]]
        convolution = node.op_type == "Conv" and inputs == ["DequantizeLinear"] * 2
        count += convolution or node.op_type in ("MatMulInteger", "DynamicQuantizeLSTM")
    return count


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantiser's advice to pre-process, which the exporter's graph has no need of."""
    logger = logging.getLogger()
    disabled = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = disabled
