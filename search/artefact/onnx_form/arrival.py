"""Whether the encoded weights of a model are in its graph."""

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from compressors.base import Inputs, output_tensors, run
from compressors.models.copying import copy_model
from compressors.weights.encoded import CodedWeight
from search.artefact.onnx_form.batch_norm_folding import FOLDED
from search.artefact.onnx_form.graph_names import OWN
from search.errors import ArtefactError


def missing_weights(graph: onnx.GraphProto, codes: Mapping[str, CodedWeight]) -> list[str]:
    """Return the names of encoded weights that no initialiser of a graph holds.

    An exporter transposes weights, reorders the gates of recurrent layers and stacks directions,
    but it does not change rows. A weight without an initialiser of its name and value is therefore
    in the graph if each of its rows is a row or a column of some initialiser. Biases, which an
    exporter may cut and add, are not looked for.
    """
    codes = {name: code for name, code in codes.items() if len(code.shape) > 1}
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    moved = [name for name, code in codes.items() if not _same(arrays.get(name), code.decode())]
    if not moved:
        return []
    lengths = {codes[name].indices.shape[1] for name in moved}
    rows = set(_rows(arrays.values(), lengths))
    return [
        name
        for name in moved
        if not rows.issuperset(
            row.tobytes() for row in codes[name].decode().reshape(codes[name].indices.shape)
        )
    ]


def check_arrival(
    graph: onnx.GraphProto, codes: Mapping[str, CodedWeight], model: nn.Module, inputs: Inputs
) -> None:
    """Raise `ArtefactError` if the outputs depend on an encoded weight that is not in a graph.

    Args:
        graph: The graph, after folding and simplification.
        codes: The codes of its weights, those of folded weights beside the original ones.
        model: The model with plain weights; it is not changed.
        inputs: A batch of inputs `[B, ...]`.
    """
    missing = set(missing_weights(graph, codes))
    arrived = {_parameter(name) for name in codes if name not in missing}
    lost = sorted({_parameter(name) for name in missing} - arrived)
    used = [name for name in lost if _affects_outputs(model, name, inputs)]
    if used:
        raise ArtefactError(
            f"the file does not hold the encoded weight {', '.join(used)} as it is; does a hook or "
            "the model's code compute another weight from it? Put the result into the parameter"
        )


def _parameter(name: str) -> str:
    """Return the name of the parameter that an initialiser was made from."""
    return name.partition(FOLDED)[0].removesuffix(OWN)


def _affects_outputs(model: nn.Module, name: str, inputs: Inputs) -> bool:
    """Return whether the outputs for a batch of inputs `[B, ...]` depend on a parameter."""
    spoilt = copy_model(model)
    with torch.no_grad():
        spoilt.get_parameter(name).fill_(torch.nan)
        return any(bool(t.isnan().any()) for t in output_tensors(run(spoilt, inputs)))


def _same(found: NDArray[np.generic] | None, wanted: NDArray[np.float32]) -> bool:
    return found is not None and found.shape == wanted.shape and bool((found == wanted).all())


def _rows(arrays: Iterable[NDArray[np.generic]], lengths: set[int]) -> Iterable[bytes]:
    """Yield the bytes of all rows and columns of arrays that have one of these lengths."""
    for array in arrays:
        if array.dtype != np.float32 or not array.size or not array.ndim:
            continue
        for view in (array.reshape(len(array), -1), array.reshape(-1, array.shape[-1])):
            for rows in (view, np.ascontiguousarray(view.T)):
                if rows.shape[1] in lengths:
                    yield from (row.tobytes() for row in rows)
