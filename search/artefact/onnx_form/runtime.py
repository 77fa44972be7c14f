"""Run an artefact's run form in ONNX Runtime."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as states

from compressors.base import Inputs
from compressors.outputs.structure import LONE, named_tensors, rebuild
from search.artefact.onnx_form.export import feeds
from search.utils.heap import return_free_memory

RUN_ERRORS = (
    states.Fail,
    states.InvalidArgument,
    states.InvalidGraph,
    states.NotImplemented,
    states.RuntimeException,
)
"""What ONNX Runtime raises where it cannot load a file or run it on a batch."""


def failed_part(error: Exception) -> str:
    """Return in a few words what one of `RUN_ERRORS` says."""
    node = re.search(r"while running (\w+) node", str(error))
    if node is not None:
        return f"its {node[1]} node has a size of the example in it"
    return str(error).splitlines()[0].removeprefix("[ONNXRuntimeError] : ")[:200]


def open_session(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """Return a session with all graph optimisations that runs one operator after the other.

    Args:
        path: The ONNX file.
        threads: Threads within an operator.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what fails is raised
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return_free_memory()  # such as the weights that are packed for the kernels now
    return session


def predictor(path: Path, like: Any = None, threads: int = 1) -> Callable[[Inputs], Any]:
    """Return a function from a batch of inputs `[B, ...]` to the outputs of a file.

    Args:
        path: The run form, model.onnx.
        like: Outputs of the structure that is returned; without it a lone output is a tensor, and
            several are a mapping by name.
        threads: Threads within an operator.
    """
    session = open_session(path, threads)
    files = [output.name for output in session.get_outputs()]
    lone = like is None and len(files) == 1
    names = [LONE] if lone else files if like is None else list(named_tensors(like))
    structure = dict.fromkeys(files, torch.empty(0)) if like is None else like

    def predict(inputs: Inputs) -> Any:
        tensors = map(torch.from_numpy, map(np.asarray, session.run(files, feeds(inputs))))
        found = dict(zip(names, tensors, strict=True))
        return found[LONE] if names == [LONE] else rebuild(structure, found)

    return predict
