"""Layers whose weights are not their parameters but are computed from others in every pass."""

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized


def computes_weights(module: nn.Module) -> bool:
    """Tell whether a module's weights come from a parametrisation or from a hook of its own.

    Hooks of `torch.nn.utils` (old weight norm and spectral norm, masks of `prune`) leave the
    computed weight in the module as a plain tensor.
    """
    return is_parametrized(module) or any(isinstance(v, Tensor) for v in vars(module).values())
