"""The layers that make a model's outputs."""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from compressors.base import Inputs, output_tensors, run
from compressors.channels.layer_axes import RECURRENT
from compressors.models.hooks import forward_hooks

LAYER_FUNCTIONS = ("Addmm", "Mm", "Convolution")
"""What autograd calls a linear layer or convolution, also where the model's code calls it."""


def output_layers(
    model: nn.Module, example: Inputs, forward: Callable[[nn.Module, Inputs], Any] = run
) -> list[nn.Module]:
    """Return the layers whose channels are the channels of the model's outputs.

    These are the convolution, linear and recurrent layers that are met first on the way back from
    the outputs through autograd's graph, where no function with a weight of its own comes first.

    Args:
        model: A model whose parameters require a gradient.
        example: One batch of inputs `[B, ...]`, on the model's device.
        forward: Returns the outputs of the model for the inputs.
    """
    made_by: dict[Any, nn.Module] = {}

    def record(module: nn.Module, _args: Any, output: Any) -> None:
        for tensor in output_tensors(output):
            made_by[tensor.grad_fn] = module

    layers = [m for m in model.modules() if isinstance(m, (_ConvNd, nn.Linear, *RECURRENT))]
    with forward_hooks(layers, record):
        outputs = forward(model, example)
    found: list[nn.Module] = []
    waiting = [tensor.grad_fn for tensor in output_tensors(outputs)]
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in made_by:
            found.append(made_by[node])
        elif node.name().removesuffix("Backward0") not in LAYER_FUNCTIONS:
            waiting.extend(before for before, _ in node.next_functions)
    return list(dict.fromkeys(found))
