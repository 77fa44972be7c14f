"""Models whose weights are nearly of low rank."""

import torch
from torch import Tensor, nn

from compressors.layers.factors import factors_of


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def decaying(model: nn.Module) -> nn.Module:
    """Give every weight matrix singular values that halve from one to the next."""
    for module in model.modules():
        if type(module) in (nn.Linear, nn.Conv2d):
            found = factors_of(module)
            values = 0.5 ** torch.arange(len(found.values))
            with torch.no_grad():
                matrix = (found.left * values) @ found.right
                module.weight.copy_(matrix.view(module.weight.shape))
    return model
