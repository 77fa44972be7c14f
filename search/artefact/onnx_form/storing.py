"""Store a graph as the run form's file."""

from pathlib import Path

import onnx
from torch import nn

from search.artefact.onnx_form.rewriting.canonical import canonical
from search.artefact.onnx_form.rewriting.shared_tensors import share_tensors
from search.artefact.packed_form.unpack import LIMIT_BYTES
from search.errors import ArtefactError

MAX_FILE_BYTES = LIMIT_BYTES
"""Largest file that `unpack` restores by default, a quarter of what protobuf can hold."""


def write_graph(graph: onnx.ModelProto, path: Path) -> None:
    """Write the canonical form of a graph, each tensor once."""
    path.write_bytes(canonical(share_tensors(graph)).SerializeToString(deterministic=True))


def check_size(model: nn.Module, limit: int = MAX_FILE_BYTES) -> None:
    """Raise `ArtefactError` if the weights and buffers of a model do not fit into one file.

    Args:
        model: A model with plain weights.
        limit: Largest size in bytes.
    """
    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size > limit:
        raise ArtefactError(
            f"the model's weights take {size:,} bytes, and an ONNX file and its packed form hold "
            f"at most {limit:,}; take a smaller model, or one part of it"
        )
