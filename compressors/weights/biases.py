"""Biases of a model: which can be rounded, and their rounding to 8 bits."""

from torch import nn

from compressors.weights.compressible import NORMS, Weight
from compressors.weights.uniform_quantizer import QuantizerSettings, quantizer_for

BITS = 8
"""Bits of a rounded bias."""


def biases(model: nn.Module) -> list[Weight]:
    """Return the biases `[N]` outside normalisation layers, each once.

    A bias is a parameter of one axis with "bias" in its name: in linear, convolution, attention and
    recurrent layers, and in modules of the user's own.
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
    settings = QuantizerSettings(bits=BITS, granularity="tensor")
    for bias in biases(model):
        bias.add(quantizer_for(bias.value(), settings))
