"""Which parameters of a model are trained: floating ones that the user has not frozen."""

from collections.abc import Iterable, Iterator

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

FROZEN = "frozen_parameters"
"""Attribute of a module that names its frozen parameters; absent where none is frozen."""


def mark_frozen(model: nn.Module, frozen: Iterable[Tensor]) -> None:
    """Note on the modules of a model which parameters no training may change, in place.

    The mark is a plain attribute of the module that owns the parameter, so that it is copied and
    saved with the module, and counts as structure in digests.

    Args:
        model: The model, which has no parametrisations yet.
        frozen: Parameters of the model, of any shapes.
    """
    chosen = {id(parameter) for parameter in frozen}
    for module in model.modules():
        own = module.named_parameters(recurse=False)
        names = tuple(sorted(name for name, parameter in own if id(parameter) in chosen))
        if names:
            setattr(module, FROZEN, names)


def carry_frozen(old: nn.Module, new: nn.Module) -> None:
    """Freeze the weights of the layers that replace a layer whose weight is frozen, in place."""
    names = getattr(old, FROZEN, ())
    if "weight" in names:
        kept = [p for name, p in new.named_parameters() if name.split(".")[-1] in names]
        mark_frozen(new, kept)


def trainable_parameters(model: nn.Module) -> list[Tensor]:
    """Return the parameters that training may change, of any shapes, each once.

    They are the floating ones outside the user's frozen ones. What parametrises a frozen parameter,
    such as the centroids of a codebook, is frozen too.
    """
    frozen = {id(parameter) for parameter in _frozen(model)}
    return [p for p in model.parameters() if _differentiable(p) and id(p) not in frozen]


def require_gradients(model: nn.Module) -> nn.Module:
    """Make every floating parameter require a gradient, in place; return the model.

    For probes, which measure frozen parameters too.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(_differentiable(parameter))
    return model


def require_training_gradients(model: nn.Module) -> nn.Module:
    """Make the trainable parameters alone require a gradient, in place; return the model."""
    model.requires_grad_(False)
    for parameter in trainable_parameters(model):
        parameter.requires_grad_(True)
    return model


def _frozen(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        for name in getattr(module, FROZEN, ()):
            if is_parametrized(module, name):
                yield from module.parametrizations[name].parameters()  # type: ignore[union-attr,index]
            elif isinstance(own := module._parameters.get(name), Tensor):
                yield own


def _differentiable(parameter: Tensor) -> bool:
    return parameter.is_floating_point() or parameter.is_complex()
