"""Embeddings with weights of 2, 4 or 8 bits: ONNX Runtime's GatherBlockQuantized."""

from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper

from search.artefact.onnx_form.block_quantization import BLOCKS, pack_bits, unsigned
from search.artefact.onnx_form.integer_weights import IntegerLayers, IntegerWeight
from search.artefact.onnx_form.packed_operators import DOMAIN, add_constants, finish
from search.artefact.onnx_form.rewriting.graph_parts import attributes_of

SMALLEST_BLOCK = 16
"""Columns of the smallest block that the operator takes."""


def is_quantised_table(node: onnx.NodeProto, weight: IntegerWeight) -> bool:
    """Return whether this node gathers rows of a weight `[R, N]` whose blocks the operator has.

    Blocks are powers of two; a row that is one group is one block.
    """
    rows = node.op_type == "Gather" and attributes_of(node).get("axis", 0) == 0
    return rows and not weight.transposed and (_one_group(weight) or weight.group in BLOCKS[8])


def quantise_embeddings(model: onnx.ModelProto, layers: IntegerLayers) -> onnx.ModelProto:
    """Return the graph with these embeddings on packed weights; their values do not change.

    Args:
        model: The graph.
        layers: Nodes for which `is_quantised_table` holds, identified by their names.
    """
    packed = onnx.ModelProto()
    packed.CopyFrom(model)
    graph = packed.graph
    chosen = {node.name for node in layers.nodes}
    for node in graph.node:
        if node.name in chosen:
            _pack(graph, node, layers.weights[node.input[0]])
    finish(packed, {node.input[0] for node in layers.nodes})
    return packed


def _pack(graph: onnx.GraphProto, node: onnx.NodeProto, weight: IntegerWeight) -> None:
    """Add the packed weight of an embedding to the graph and make its node gather from it."""
    columns = weight.integers.shape[1]
    width = next(w for w in BLOCKS if w >= weight.bits and columns * w % 8 == 0)
    parts = {f"{node.input[0]}.{part}": v for part, v in _stored(weight, width).items()}
    add_constants(graph, parts)
    packed, scales, *zeros = parts
    block = max(SMALLEST_BLOCK, 1 << (columns - 1).bit_length())
    node.CopyFrom(
        helper.make_node(
            "GatherBlockQuantized",
            [packed, node.input[1], scales, *zeros],
            list(node.output),
            name=node.name,
            domain=DOMAIN,
            bits=width,
            block_size=block if _one_group(weight) else weight.group,
            gather_axis=0,
            quantize_axis=1,
        )
    )


def _one_group(weight: IntegerWeight) -> bool:
    return bool(weight.scale.shape[1] == 1)


def _stored(weight: IntegerWeight, width: int) -> dict[str, NDArray[Any]]:
    """Return the constants of the operator: packed integers, scales and, if needed, zero points."""
    integers, zeros = unsigned(weight, width)
    parts: dict[str, NDArray[Any]] = {
        "rows": pack_bits(integers, width),
        "row_scales": weight.scale,
    }
    return parts if zeros is None else parts | {"row_zeros": pack_bits(zeros, width)}
