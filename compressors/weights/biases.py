"""Which biases of a model can be rounded, and how they are reached."""

from torch import nn

from compressors.weights.compressible import NORMS, Weight
from compressors.weights.uniform_quantizer import quantizer_for

BITS = 8


def biases(model: nn.Module) -> list[Weight]:
    """Return the biases outside normalisation layers, `[N]` each, every one once.

    These are the parameters of one axis that their module names so: of linear, convolution,
    attention and recurrent layers, and of modules of the user's own.
    """
    places: dict[int, list[tuple[str, nn.Module, str]]] = {}
    for path, module in model.named_modules():
        if isinstance(module, NORMS):
            continue
        for name, parameter in module.named_parameters(recurse=False):
            if "bias" in name and parameter.dim() == 1:
                found = (f"{path}.{name}".lstrip("."), module, name)
                places.setdefault(id(parameter), []).append(found)
    return [
        Weight(name=uses[0][0], places=tuple((module, name) for _, module, name in uses))
        for uses in places.values()
    ]


def round_biases(model: nn.Module) -> None:
    """Round every bias of a model to 8-bit integers around zero with one scale, in place."""
    for bias in biases(model):
        value = bias.value()
        bias.add(
            quantizer_for(
                value, bits=BITS, symmetric=True, granularity="tensor", group_size=value.numel()
            )
        )
