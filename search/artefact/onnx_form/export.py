"""What an exported ONNX graph is called with, and how it is simplified."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from compressors.base import Inputs
from search.artefact.onnx_form.outside import (
    MIN_OUTSIDE_BYTES,
    folder_of,
    fresh,
    load_graph,
    session_source,
)
from search.tasks.free_axes import named_tensors

Feeds = Mapping[str, NDArray[np.generic]]
"""One batch by the names of the graph's inputs, each `[B, ...]`."""

OPSET = 17
WEIGHT_CHANGING = ["ConvBNFusion", "ConvMulFusion", "MatMulBNFusion"]
"""Optimisations that only the loading of the file does: changed weights have no codes any more."""

OUTSIDE = "session.optimized_model_external_initializers_file_name"
OUTSIDE_FROM = "session.optimized_model_external_initializers_min_size_in_bytes"
"""Settings of ONNX Runtime for a graph whose weights are outside."""


def feeds(inputs: Inputs) -> dict[str, NDArray[np.generic]]:
    """Return one batch of inputs as arrays `[B, ...]`, by the names of the graph's inputs."""
    return {
        name: np.ascontiguousarray(tensor.detach().cpu().numpy())
        for name, tensor in named_tensors(inputs).items()
    }


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with constant parts computed and redundant nodes removed.

    This is ONNX Runtime's basic level of optimisation, which uses only operators of ONNX.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_prepacking", "1")
    with TemporaryDirectory() as temporary:
        path = fresh(folder_of(model) or Path(temporary), ".onnx")
        options.optimized_model_filepath = str(path)
        if path.parent != Path(temporary):
            options.add_session_config_entry(OUTSIDE, f"{path.name}.weights")
            options.add_session_config_entry(OUTSIDE_FROM, str(MIN_OUTSIDE_BYTES))
        onnxruntime.InferenceSession(
            session_source(model),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=WEIGHT_CHANGING,
        )
        return load_graph(path)
