"""Store a graph as the run form's file."""

from pathlib import Path

import onnx

from search.artefact.onnx_form.canonical import canonical

MAX_FILE_BYTES = (1 << 31) - 1
"""Largest file that protobuf, the format of ONNX files, can hold."""


def write_graph(graph: onnx.ModelProto, path: Path) -> None:
    """Write the canonical form of a graph."""
    path.write_bytes(canonical(graph).SerializeToString(deterministic=True))
