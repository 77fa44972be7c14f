"""Matrix products with weights of 4 or 8 bits in blocks: ONNX Runtime's MatMulNBits."""

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from search.artefact.onnx_form.integer_weights import IntegerWeight

DOMAIN = "com.microsoft"
WIDTHS = (4, 8)
"""Of 2 bits the operator computes small blocks in floats, which is slow."""
BLOCKS = (16, 32, 64, 128, 256)
ACCURACY_LEVEL = 4
"""Activations are rounded to 8 bits, block by block, when the model runs; without it the weights
are unpacked to floats, which is slower than floats in the first place."""


def runs_in_blocks(node: onnx.NodeProto, weight: IntegerWeight) -> bool:
    """Return whether this product of activations and a weight can run with packed blocks."""
    if weight.scale.shape[1] == 1 or weight.group not in BLOCKS:
        return False
    if node.op_type == "MatMul":
        return weight.transposed
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    plain = attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0
    straight = not attributes.get("transA", 0)
    matches = bool(attributes.get("transB", 0)) != weight.transposed
    return node.op_type == "Gemm" and plain and straight and matches


def quantise_blocks(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], weights: Mapping[str, IntegerWeight]
) -> onnx.ModelProto:
    """Return the graph with these products on packed weights; their values do not change.

    Args:
        model: The graph.
        nodes: Products for which `runs_in_blocks` holds, known by their names.
        weights: The integers of each of their weights, by the initialiser's name.
    """
    packed = onnx.ModelProto()
    packed.CopyFrom(model)
    graph = packed.graph
    chosen = {node.name for node in nodes}
    del graph.node[:]
    for node in model.graph.node:
        fresh = _packed(graph, node, weights) if node.name in chosen else [node]
        graph.node.extend(fresh)
    # A graph inside a node may use any other constant.
    replaced = {node.input[1] for node in nodes} - {n for node in graph.node for n in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name not in replaced]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    if all(opset.domain != DOMAIN for opset in packed.opset_import):
        packed.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return packed


def _packed(
    graph: onnx.GraphProto, node: onnx.NodeProto, weights: Mapping[str, IntegerWeight]
) -> list[onnx.NodeProto]:
    """Add the packed weight of a product to the graph and return what the product becomes."""
    name, weight = node.input[1], weights[node.input[1]]
    width = next(width for width in WIDTHS if width >= weight.bits)
    # The operator's integers are unsigned, and its own zero point is the middle.
    middle = 1 << (width - 1)
    shift = middle if weight.integers.min() < 0 else 0
    parts = {
        "packed": pack_blocks(weight.integers + shift, weight.group, width),
        "scales": weight.scale.reshape(-1),
    }
    zeros = (weight.zero + shift).astype(np.uint8)
    if (zeros != middle).any():
        parts["zeros"] = pack_bits(zeros, width).reshape(-1)
    known = {tensor.name for tensor in graph.initializer}
    for part, values in parts.items():
        if f"{name}.{part}" not in known:
            graph.initializer.append(numpy_helper.from_array(values, f"{name}.{part}"))
    bias = list(node.input[2:])
    output = f"{node.output[0]}.product" if bias else node.output[0]
    rows, columns = weight.integers.shape
    product = helper.make_node(
        "MatMulNBits",
        [node.input[0], *(f"{name}.{part}" for part in parts)],
        [output],
        name=node.name,
        domain=DOMAIN,
        K=columns,
        N=rows,
        bits=width,
        block_size=weight.group,
        accuracy_level=ACCURACY_LEVEL,
    )
    if not bias:
        return [product]
    return [product, helper.make_node("Add", [output, *bias], list(node.output))]


def pack_blocks(integers: NDArray[np.int16], block: int, width: int) -> NDArray[np.uint8]:
    """Return integers `[N, K]`, from 0, as bytes `[N, blocks, block * width / 8]`."""
    rows, columns = integers.shape
    filled = np.pad(integers.astype(np.uint8), ((0, 0), (0, -columns % block)))
    return pack_bits(filled.reshape(rows, -1, block), width)


def pack_bits(values: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Return the last axis packed into bytes, the first value in the lowest bits."""
    each = 8 // width
    filled = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % each)])
    parts = filled.reshape(*filled.shape[:-1], -1, each) << (
        width * np.arange(each, dtype=np.uint8)
    )
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(parts.astype(np.uint8), axis=-1)
    return packed
