"""Linear layers that hold their weight transposed, as GPT-2's `Conv1D`, made plain ones."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from compressors.models.replacing import replace_module

TOLERANCE = 1e-4
"""Difference between outputs that another order of summation explains, as a share of the greatest
absolute output."""
SAMPLES = 4


def make_transposed_linear_plain(model: nn.Module) -> list[str]:
    """Put an `nn.Linear` in the place of each layer that multiplies by `weight [I, O]`, in place.

    The name of the weight stays; its axes change places. A layer is known by its class name
    `Conv1D`, its two axes and the attribute `nf`, the number of outputs, and is run beside its
    replacement. It stays where it has hooks, parametrisations or a weight that others share.

    Args:
        model: A model whose transposed layers are called with one tensor `[..., I]`.

    Returns:
        The names of the layers that were replaced.
    """
    uses: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    replaced = []
    for name, module in list(model.named_modules()):
        if name and _looks_transposed(module) and uses[id(module.weight)] == 1:
            plain = _plain(module)
            if _agree(module, plain):
                replace_module(model, module, plain)
                replaced.append(name)
    return replaced


def _looks_transposed(module: nn.Module) -> bool:
    if type(module).__name__ != "Conv1D" or is_parametrized(module):
        return False
    names = {name for name, _ in module.named_parameters()}
    if not {"weight"} <= names <= {"weight", "bias"} or module._forward_hooks:
        return False
    weight = module.weight
    return (
        isinstance(weight, Tensor)
        and weight.dim() == 2
        and getattr(module, "nf", None) == weight.shape[1]
        and not module._forward_pre_hooks
    )


def _plain(module: nn.Module) -> nn.Linear:
    weight, bias = module.weight, getattr(module, "bias", None)
    assert isinstance(weight, Tensor)
    inputs, outputs = weight.shape
    plain = nn.Linear(inputs, outputs, bias=isinstance(bias, Tensor), device="meta")
    plain.weight = nn.Parameter(weight.detach().t().contiguous(), weight.requires_grad)
    if isinstance(bias, nn.Parameter):
        plain.bias = bias
    return plain.train(module.training)


def _agree(module: nn.Module, plain: nn.Linear) -> bool:
    """Tell whether two layers return the same for random inputs `[SAMPLES, 1, I]`."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES, 1, plain.in_features, generator=generator)
    x = x.to(plain.weight.device, plain.weight.dtype)
    with torch.no_grad():
        expected, actual = module(x), plain(x)
    allowed = TOLERANCE * float(expected.abs().max())
    return expected.shape == actual.shape and torch.allclose(expected, actual, 0, allowed)
