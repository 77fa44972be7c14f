"""Cutting chosen channels out of a model, or holding them at zero to see what they do."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from compressors.base import Inputs, output_tensors, run
from compressors.channels.group import ChannelGroup
from compressors.channels.recurrent import GATES
from compressors.models.copying import copy_model
from compressors.models.fused_attention import plain_attention

Cut = tuple[ChannelGroup, Tensor]
"""A group and its chosen channels `[parts, count]`, each in [0, size)."""

TOLERANCE = 1e-3
"""Of the outputs' greatest value: what summing in another order may move."""


def zero_channels(model: nn.Module, cuts: Sequence[Cut]) -> None:
    """Set all parameters that go with the chosen channels to zero, in place."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for (name, axis), indices in _gone(cuts).items():
            if name in parameters:
                parameters[name].index_fill_(axis, indices.to(parameters[name].device), 0)


def cut_channels(model: nn.Module, cuts: Sequence[Cut]) -> None:
    """Take the chosen channels out of every tensor they go with, in place.

    The indices are those of the model as it is given: all cuts are made at once. Shared parameters
    stay shared.
    """
    made: dict[Tensor, Tensor] = {}
    gone = _gone(cuts)
    for name in dict.fromkeys(name for name, _ in gone):
        path, _, attribute = name.rpartition(".")
        module = model.get_submodule(path)
        old = cast(Tensor, getattr(module, attribute))
        if old not in made:
            smaller = old.detach()
            for axis in range(old.dim()):
                smaller = _without(smaller, axis, gone.get((name, axis)))
            is_parameter = isinstance(old, nn.Parameter)
            made[old] = nn.Parameter(smaller, old.requires_grad) if is_parameter else smaller
        setattr(module, attribute, made[old])
    for path in dict.fromkeys(name.rpartition(".")[0] for name, _ in gone):
        _state_widths(model.get_submodule(path))
    for group, chosen in cuts:
        for stated in group.stated:
            owner = model.get_submodule(stated.module)
            left = getattr(owner, stated.attribute) - stated.amount * chosen.shape[1]
            setattr(owner, stated.attribute, left)


def _without(tensor: Tensor, axis: int, indices: Tensor | None) -> Tensor:
    if indices is None:
        return tensor
    keep = torch.ones(tensor.shape[axis], dtype=torch.bool)
    keep[indices] = False
    return tensor.index_select(axis, keep.nonzero()[:, 0].to(tensor.device))


def is_sound(model: nn.Module, example: Inputs, cuts: Sequence[Cut]) -> bool:
    """Tell whether a model without some channels computes what it does with them at zero.

    It does not where a width is written into its code, as in a reshape, or where the channels are
    used in a way that was not seen. Normalisation over the channels, which has to change, is
    replaced for this by a function of each value alone.
    """
    zeroed, smaller = copy_model(model), copy_model(model)
    zero_channels(zeroed, cuts)
    cut_channels(smaller, cuts)
    expected = _outputs(zeroed, example)
    try:
        found = _outputs(smaller, example)
    except (RuntimeError, ValueError, IndexError, AssertionError):
        return False  # whatever the user's code raises on a width it does not expect
    return len(expected) == len(found) and all(
        one.shape == other.shape and _close(one, other)
        for one, other in zip(expected, found, strict=True)
    )


def _close(one: Tensor, other: Tensor) -> bool:
    allowed = TOLERANCE * float(one.abs().max()) if one.numel() else 0.0
    return torch.allclose(one.float(), other.float(), rtol=0, atol=allowed + 1e-12)


def _outputs(model: nn.Module, example: Inputs) -> list[Tensor]:
    with plain_attention(), _norms_by_value(model), torch.no_grad():
        return output_tensors(run(model, example))


@contextmanager
def _norms_by_value(model: nn.Module) -> Iterator[None]:
    """Let norms over channels work on each value alone, bounded as they are."""
    norms = [m for m in model.modules() if isinstance(m, nn.LayerNorm | nn.RMSNorm | nn.GroupNorm)]
    for norm in norms:
        vars(norm)["forward"] = _by_value(norm)
    try:
        yield
    finally:
        for norm in norms:
            del vars(norm)["forward"]


def _by_value(norm: Any) -> Callable[[Tensor], Tensor]:
    grouped = isinstance(norm, nn.GroupNorm)

    def forward(x: Tensor) -> Tensor:
        bounded = 2 * x / (1 + x.abs())
        if norm.weight is None:
            return bounded
        channelled = bounded.movedim(1, -1) if grouped else bounded
        channelled = channelled * norm.weight
        if getattr(norm, "bias", None) is not None:
            channelled = channelled + norm.bias
        return cast(Tensor, channelled.movedim(-1, 1) if grouped else channelled)

    return forward


def _gone(cuts: Sequence[Cut]) -> dict[tuple[str, int], Tensor]:
    """Return for each axis of each tensor the positions that go, each once."""
    found: dict[tuple[str, int], list[Tensor]] = {}
    for group, chosen in cuts:
        channels = (torch.arange(group.parts)[:, None] * group.size + chosen).flatten()
        for part in group.slices:
            goes = part.indices[torch.isin(part.channels, channels)]
            found.setdefault((part.tensor, part.axis), []).append(goes)
    return {key: torch.unique(torch.cat(parts)) for key, parts in found.items()}


def _state_widths(module: nn.Module) -> None:
    """Bring the widths that a module states in line with its tensors."""
    stated = cast(Any, module)
    if isinstance(module, nn.Linear):
        stated.out_features, stated.in_features = module.weight.shape
    elif isinstance(module, _ConvNd):
        _state_convolution(module)
    elif isinstance(module, _NormBase):
        held = module.weight if module.weight is not None else module.running_mean
        stated.num_features = len(cast(Tensor, held))
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
        stated.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, nn.GroupNorm):
        stated.num_channels = len(module.weight)
    elif isinstance(module, nn.Embedding):
        stated.embedding_dim = module.weight.shape[1]
    elif isinstance(module, nn.PReLU):
        stated.num_parameters = len(module.weight)
    elif isinstance(module, nn.RNNBase):
        stated.hidden_size = len(stated.weight_hh_l0) // GATES[module.mode]
        stated.input_size = stated.weight_ih_l0.shape[1]


def _state_convolution(module: _ConvNd) -> None:
    if module.transposed:
        module.in_channels, module.out_channels = module.weight.shape[:2]
        module.out_channels *= module.groups
    elif module.groups == module.out_channels > 1:
        module.groups = module.in_channels = module.out_channels = module.weight.shape[0]
    else:
        module.out_channels = module.weight.shape[0]
        module.in_channels = module.weight.shape[1] * module.groups
