"""Cuts compared with zeros: a model without channels must compute what zeroed channels give."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from compressors.base import Inputs, output_tensors
from compressors.channels.cutting import Cut, cut_channels, zero_channels
from compressors.channels.training_branches import (
    called_layers,
    called_only_in_training,
    training_runs,
)
from compressors.channels.width_attributes import following_norms
from compressors.models.copying import copy_model
from compressors.models.fused_attention import run_unfused
from compressors.models.hooks import running_modules

TOLERANCE = 1e-3
"""Difference between outputs that another order of summation explains, as a share of the greatest
absolute output."""


def is_sound(model: nn.Module, example: Inputs, cuts: Sequence[Cut]) -> bool:
    """Tell whether a model without some channels computes what it does with them at zero.

    Args:
        model: The model, unchanged afterwards.
        example: One batch of inputs `[B, ...]`, on the model's device.
        cuts: Groups with their chosen channels, `[parts, count]` each.
    """
    return unsoundness(model, example, cuts) is None


def unsoundness(model: nn.Module, example: Inputs, cuts: Sequence[Cut]) -> str | None:
    """Return why a model without some channels does not compute what it does with them at zero.

    It does not where a width is written into its code, as in a reshape, or where the channels are
    used in a way that was not seen, also by a layer that runs only in training. Normalisation over
    the channels, which has to change, is replaced for this by a function of each value alone.

    Args:
        model: The model, frozen, unchanged afterwards.
        example: One batch of inputs `[B, ...]`, on the model's device.
        cuts: Groups with their chosen channels, `[parts, count]` each.

    Returns:
        The reason, with the module that fails; None if the cuts are sound.
    """
    zeroed = copy_model(model, shared=_untouched(model, cuts))
    smaller = copy_model(model, shared=model.parameters())  # a cut makes tensors of its own
    zero_channels(zeroed, cuts)
    cut_channels(smaller, cuts)
    uneven = _uneven_group_norm(smaller)
    if uneven:
        return f"its channels are normalised in groups by {uneven}, which would not stay equal"
    with called_layers(zeroed) as called:
        expected = _outputs(zeroed, example)
    running: list[str] = []
    try:
        with running_modules(smaller, running):
            actual = _outputs(smaller, example)
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        # whatever the user's code raises on a width it does not expect
        return _failure(error, running[-1] if running else "")
    if [tensor.shape for tensor in expected] != [tensor.shape for tensor in actual]:
        return "without some of its channels the model's outputs have another shape"
    if not all(_close(one, other) for one, other in zip(expected, actual, strict=True)):
        return (
            "its channels are used together, as in a mean over channels or in an order of their "
            "own: the model without some of them does not compute what it does with them at zero"
        )
    trained = called_only_in_training(zeroed, example, called)
    if trained == set() or _trains_if(zeroed, smaller, example):
        return None
    return "its width is needed by a layer that runs only in training"


def _untouched(model: nn.Module, cuts: Sequence[Cut]) -> list[nn.Parameter]:
    """Return the parameters of any shape that go with no channel of the cuts under any name."""
    tensors = {part.tensor for group, _ in cuts for part in group.slices}
    named = model.named_parameters(remove_duplicate=False)
    touched = {id(parameter) for name, parameter in named if name in tensors}
    return [parameter for parameter in model.parameters() if id(parameter) not in touched]


def _uneven_group_norm(model: nn.Module) -> str | None:
    """Return the name of a group normalisation whose channels do not divide into its groups."""
    norms = {n: m for n, m in model.named_modules() if isinstance(m, nn.GroupNorm)}
    return next((n for n, norm in norms.items() if norm.num_channels % norm.num_groups), None)


def _trains_if(model: nn.Module, smaller: nn.Module, example: Inputs) -> bool:
    """Tell whether the smaller model runs as in training, if the other one does."""
    return training_runs(smaller, example) or not training_runs(model, example)


def _failure(error: Exception, module: str) -> str:
    message = " ".join(str(error).split())
    place = module or "the model"
    if "shape '" in message or "split_with_sizes" in message or "must match" in message:
        return f"its width is written into the model's code, in {place} ({message})"
    return f"without some of its channels {place} fails ({type(error).__name__}: {message})"


def sound_cuts(model: nn.Module, example: Inputs, cuts: Sequence[Cut]) -> list[Cut]:
    """Return the cuts that are sound together, in order: nearly always all of them.

    Args:
        model: The model, unchanged afterwards.
        example: One batch of inputs `[B, ...]`, on the model's device.
        cuts: Groups with their chosen channels, `[parts, count]` each.
    """
    if is_sound(model, example, cuts):
        return list(cuts)
    kept: list[Cut] = []
    for cut in cuts:
        if is_sound(model, example, [*kept, cut]):
            kept.append(cut)
    return kept


def _close(expected: Tensor, actual: Tensor) -> bool:
    allowed = TOLERANCE * float(expected.abs().max()) if expected.numel() else 0.0
    return torch.allclose(expected.float(), actual.float(), rtol=0, atol=allowed + 1e-12)


def _outputs(model: nn.Module, example: Inputs) -> list[Tensor]:
    with _norms_by_value(model), following_norms(model):
        return output_tensors(run_unfused(model, example))


@contextmanager
def _norms_by_value(model: nn.Module) -> Iterator[None]:
    """Make norms over channels work on each value alone, bounded as they are, inside the block."""
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
        channels_last = bounded.movedim(1, -1) if grouped else bounded
        channels_last = channels_last * norm.weight
        if getattr(norm, "bias", None) is not None:
            channels_last = channels_last + norm.bias
        return cast(Tensor, channels_last.movedim(-1, 1) if grouped else channels_last)

    return forward
