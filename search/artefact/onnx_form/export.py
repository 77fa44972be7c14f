"""Write a trained model as an ONNX graph, with a free batch axis."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from compressors.base import Inputs
from compressors.models.fused_attention import plain_attention
from search.artefact.onnx_form.named_outputs import flat_outputs, output_axes

Feeds = Mapping[str, NDArray[np.generic]]
"""One batch by the names of the graph's inputs, each `[B, ...]`."""

OPSET = 17
WEIGHT_CHANGING = ["ConvBNFusion", "ConvMulFusion", "MatMulBNFusion"]
"""Optimisations that only the loading of the file does: changed weights have no codes any more."""


def input_names(example: Inputs) -> list[str]:
    """Return the names of a graph's inputs for a batch of inputs `[B, ...]`.

    They are `input` for a tensor, `input_0`, `input_1` ... for a tuple, the keys for a mapping.
    """
    if isinstance(example, Tensor):
        return ["input"]
    if isinstance(example, Mapping):
        return list(example)
    return [f"input_{position}" for position in range(len(example))]


def feeds(inputs: Inputs) -> dict[str, NDArray[np.generic]]:
    """Return one batch of inputs as arrays `[B, ...]`, by the names of the graph's inputs."""
    tensors = [inputs] if isinstance(inputs, Tensor) else list(_values(inputs))
    arrays = (np.ascontiguousarray(tensor.detach().cpu().numpy()) for tensor in tensors)
    return dict(zip(input_names(inputs), arrays, strict=True))


def _values(inputs: Mapping[str, Tensor] | tuple[Tensor, ...]) -> Iterator[Tensor]:
    yield from inputs.values() if isinstance(inputs, Mapping) else inputs


def export_onnx(model: nn.Module, example: Inputs) -> onnx.ModelProto:
    """Return the ONNX graph of a model in eval mode, its weights under their own names.

    The first axis of every input and the samples' axis of every output are free. Every tensor of
    the outputs is an output of the graph. Branches of the model on its data are fixed to those that
    the example takes.

    Args:
        model: A model with plain weights, in eval mode.
        example: One batch of inputs `[B, ...]`.

    Raises:
        torch.onnx.OnnxExporterError: The model uses an operation that ONNX does not have.
    """
    names = _in_order_of_call(model, example)
    arguments = (dict(example),) if isinstance(example, Mapping) else example
    outputs = output_axes(model, example, names)
    with _quiet(), plain_attention(), flat_outputs(model), TemporaryDirectory() as folder:
        path = Path(folder) / "exported.onnx"
        torch.onnx.export(
            model,
            (arguments,) if isinstance(arguments, Tensor) else tuple(arguments),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=names,
            output_names=list(outputs),
            dynamic_axes={**{name: {0: "batch"} for name in names}, **outputs},
            training=torch.onnx.TrainingMode.PRESERVE,
        )
        proto = onnx.load(path)
    _drop_aliases(proto.graph)
    return proto


def _in_order_of_call(model: nn.Module, example: Inputs) -> list[str]:
    """Return the names of the inputs in the order in which the exporter meets them."""
    names = input_names(example)
    if not isinstance(example, Mapping):
        return names
    taken = [name for name in signature(model.forward).parameters if name in example]
    return taken + [name for name in names if name not in taken]


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with constant parts computed and redundant nodes removed.

    This is ONNX Runtime's basic level of optimisation, which uses only operators of ONNX.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    with TemporaryDirectory() as folder:
        path = Path(folder) / "simple.onnx"
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=WEIGHT_CHANGING,
        )
        return onnx.load(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's warnings about itself; the written file is verified in any case."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=TracerWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.onnx")
        for message in (
            "The feature will be removed",
            "You are using the legacy TorchScript-based ONNX export",
        ):
            warnings.filterwarnings("ignore", message, DeprecationWarning)
        for message in (
            "It is recommended that constant folding be turned off",
            "Exporting a model to ONNX with a batch_size other than 1",
        ):
            warnings.filterwarnings("ignore", message, UserWarning)
        yield


def _drop_aliases(graph: onnx.GraphProto) -> None:
    """Connect consumers with an initialiser where the exporter puts an `Identity` between them."""
    constants = {tensor.name for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    source: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = source.get(name, name)
        alias = node.op_type == "Identity" and node.input[0] in constants
        if alias and node.output[0] not in outputs:
            source[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
