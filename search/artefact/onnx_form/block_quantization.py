"""Matrix products with weights of 2, 4 or 8 bits in blocks: ONNX Runtime's MatMulNBits."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from search.artefact.onnx_form.integer_weights import IntegerLayers, IntegerWeight
from search.artefact.onnx_form.packed_operators import DOMAIN, add_constants, finish
from search.artefact.onnx_form.rewriting.graph_parts import attributes_of, has_unit_factors

BLOCKS = {2: (64, 128), 4: (16, 32, 64, 128, 256), 8: (16, 32, 64, 128, 256)}
"""Blocks by bit-width; the operator computes other blocks of 2 bits in floats, or slowly."""
ACCURACY_LEVEL = 4
"""Rounds activations to 8 bits, block by block, at run time; lower levels unpack the weights to
floats, which is slower than a product of floats."""


def runs_in_blocks(node: onnx.NodeProto, weight: IntegerWeight) -> bool:
    """Return whether this product of activations and a weight can run with packed blocks."""
    if weight.scale.shape[1] == 1 or _width(weight) is None:
        return False
    if node.op_type == "MatMul":
        return weight.transposed
    attributes = attributes_of(node)
    straight = not attributes.get("transA", 0)
    matches = bool(attributes.get("transB", 0)) != weight.transposed
    return node.op_type == "Gemm" and has_unit_factors(node) and straight and matches


def _width(weight: IntegerWeight) -> int | None:
    """Return the least bit-width that holds the integers and whose operator has the block."""
    fitting = (w for w, blocks in BLOCKS.items() if w >= weight.bits and weight.group in blocks)
    return next(fitting, None)


def quantise_blocks(model: onnx.ModelProto, layers: IntegerLayers) -> onnx.ModelProto:
    """Return the graph with these products on packed weights; their values do not change.

    Args:
        model: The graph.
        layers: Products for which `runs_in_blocks` holds, identified by their names.
    """
    packed = onnx.ModelProto()
    packed.CopyFrom(model)
    graph = packed.graph
    chosen = {node.name for node in layers.nodes}
    del graph.node[:]
    for node in model.graph.node:
        if node.name in chosen:
            graph.node.extend(_packed(graph, node, layers.weights[node.input[1]]))
        else:
            graph.node.append(node)
    finish(packed, {node.input[1] for node in layers.nodes})
    return packed


def _packed(
    graph: onnx.GraphProto, node: onnx.NodeProto, weight: IntegerWeight
) -> list[onnx.NodeProto]:
    """Add the packed weight of a product to the graph and return the nodes that replace it."""
    width = _width(weight)
    assert width is not None
    parts = {f"{node.input[1]}.{part}": v for part, v in _stored(weight, width).items()}
    add_constants(graph, parts)
    bias = list(node.input[2:])
    output = f"{node.output[0]}.product" if bias else node.output[0]
    rows, columns = weight.integers.shape
    product = helper.make_node(
        "MatMulNBits",
        [node.input[0], *parts],
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


def _stored(weight: IntegerWeight, width: int) -> dict[str, NDArray[Any]]:
    """Return the constants of the operator: packed integers, scales and, if needed, zero points."""
    integers, zeros = unsigned(weight, width)
    parts: dict[str, NDArray[Any]] = {
        "packed": pack_blocks(integers, weight.group, width),
        "scales": weight.scale.reshape(-1),
    }
    if zeros is not None:
        parts["zeros"] = pack_bits(zeros, width).reshape(-1)
    return parts


def unsigned(
    weight: IntegerWeight, width: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Return a weight as integers of `width` bits `[R, N]`, with zero points `[R, G]`.

    The zero points are None where all are the operators' default, the middle.
    """
    middle = 1 << (width - 1)
    shift = middle if weight.integers.min() < 0 else 0
    zeros = (weight.zero + shift).astype(np.uint8)
    integers = (weight.integers + shift).astype(np.uint8)
    return integers, zeros if (zeros != middle).any() else None


def pack_blocks(integers: NDArray[np.uint8], block: int, width: int) -> NDArray[np.uint8]:
    """Return integers `[N, K]` as bytes `[N, blocks, block * width / 8]`."""
    rows, columns = integers.shape
    filled = np.pad(integers, ((0, 0), (0, -columns % block)))
    return pack_bits(filled.reshape(rows, -1, block), width)


def pack_bits(values: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Return values `[..., K]` as bytes `[..., K * width / 8]`, the first in the lowest bits."""
    each = 8 // width
    filled = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % each)])
    parts = filled.reshape(*filled.shape[:-1], -1, each) << (
        width * np.arange(each, dtype=np.uint8)
    )
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(parts.astype(np.uint8), axis=-1)
    return packed
