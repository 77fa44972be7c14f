"""Check that the code of every encoded weight reaches the ONNX file."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from compressors.base import Inputs, output_tensors, run
from compressors.models.copying import copy_model
from compressors.models.fused_attention import plain_attention
from compressors.models.trainable import require_gradients
from compressors.weights.encoded import CodedWeight
from search.artefact.onnx_form.outside import array_of
from search.artefact.onnx_form.rewriting.graph_parts import attributes_of
from search.errors import ArtefactError

Array = NDArray[Any]


def check_codes_arrive(
    graph: onnx.ModelProto, codes: Mapping[str, CodedWeight], model: nn.Module, example: Inputs
) -> None:
    """Check that each encoded weight is in the graph by value, in rows or transposed.

    A weight that no output depends on is not exported.

    Args:
        graph: The graph as exported, before anything is folded into its weights.
        codes: By name, the codes of the encoded weights.
        model: The exported model, with plain weights.
        example: One batch of its inputs `[B, ...]`.

    Raises:
        ArtefactError: A weight in use is missing: its code would be lost, and no byte saved by it.
    """
    lost = _lost(graph, codes)
    if not lost:
        return
    used = _used(model, example, lost)
    if used:
        raise ArtefactError(
            f"the code of {', '.join(used)} reaches no weight of the ONNX file; the model computes "
            "another tensor from it in every call: keep that layer out of the step that encodes it"
        )


def _lost(graph: onnx.ModelProto, codes: Mapping[str, CodedWeight]) -> list[str]:
    """Return the names of the encoded weights that are in no constant of a graph.

    Biases are left out: an exporter joins those of a recurrent layer to one row.
    """
    named = {tensor.name: tensor for tensor in graph.graph.initializer}
    weights = {name: code for name, code in codes.items() if len(code.shape) > 1}
    left = {name: code for name, code in weights.items() if not _same(named.get(name), code)}
    known = {row for array in _constants(graph) for row in _rows(array)} if left else set()
    return [name for name, code in left.items() if not known.issuperset(_own_rows(code))]


def _same(tensor: onnx.TensorProto | None, code: CodedWeight) -> bool:
    return tensor is not None and np.array_equal(array_of(tensor), code.decode())


def _constants(graph: onnx.ModelProto) -> Iterator[Array]:
    for tensor in graph.graph.initializer:
        yield array_of(tensor)
    for node in graph.graph.node:
        value = attributes_of(node).get("value") if node.op_type == "Constant" else None
        if isinstance(value, onnx.TensorProto):
            yield array_of(value)


def _rows(array: Array) -> Iterator[bytes]:
    """Yield the bytes of the rows of a constant `[R, ...]` and of its transpose."""
    if array.ndim < 2 or array.dtype != np.float32 or not array.size:
        return
    for view in (array.reshape(len(array), -1), array.reshape(-1, array.shape[-1])):
        yield from (row.tobytes() for row in view)
        yield from (row.tobytes() for row in view.T)


def _own_rows(code: CodedWeight) -> Iterator[bytes]:
    return (row.tobytes() for row in code.decode().reshape(code.indices.shape))


def _used(model: nn.Module, example: Inputs, names: list[str]) -> list[str]:
    """Return those of some parameters that an output `[B, ...]` of a model depends on."""
    probe = require_gradients(copy_model(model))
    weights = [probe.get_parameter(name) for name in names]
    with plain_attention(), torch.enable_grad():
        outputs = [o for o in output_tensors(run(probe, example)) if o.requires_grad]
        gradients = torch.autograd.grad(
            sum((output.sum() for output in outputs), torch.zeros(())), weights, allow_unused=True
        )
    return [name for name, found in zip(names, gradients, strict=True) if found is not None]
