"""A user's model made plain: no wrappers, no computed weights, float32; the original is kept."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compressors.base import Inputs, output_tensors, run
from compressors.errors import UnfitModelError
from compressors.models.computed_weights import bake_hooks, bake_parametrisations
from compressors.models.plain_layers import (
    dense_gradients,
    in_float32,
    ordinary_batch_norm,
    to_float32,
)
from compressors.models.repeatability import check_repeatable, relative_difference, tolerance
from compressors.models.trainable import mark_frozen
from compressors.models.unwrapping import detached_copy, wrappers


@dataclass(frozen=True, kw_only=True)
class PlainModel:
    """A model that every compressor can act on, and what was changed for that."""

    model: nn.Module
    """In eval mode and frozen; it shares nothing with the user's model."""
    notes: tuple[str, ...]
    """What was changed, one clause each; empty if the model was plain."""


def plain_model(model: nn.Module, example: Inputs) -> PlainModel:
    """Return a plain copy of a model that computes the same.

    Wrappers (`DataParallel`, `torch.compile`, averaged models) are taken off, weights that hooks or
    parametrisations compute are baked in, synchronised batch-norm becomes ordinary batch-norm,
    embeddings get dense gradients, and halves and doubles become float32. Parametrisations of this
    package stay. Frozen parameters are marked, unless all are frozen.

    Args:
        model: The user's model; it is not changed.
        example: One batch of inputs `[B, ...]` as the user's model takes it, on its device.

    Raises:
        UnfitModelError: The layers of the model cannot be changed, it cannot be copied, its outputs
            differ from call to call, or the plain copy computes something else.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        copy = detached_copy(model).eval()
        expected = output_tensors(run(copy, example))
        check_repeatable(copy, example, expected)
        notes = [f"the wrapper {what} is taken off the model" for what in wrappers(model)]
        notes += [*bake_hooks(copy), *bake_parametrisations(copy)]
        notes += [*ordinary_batch_norm(copy, example), *dense_gradients(copy)]
        error = tolerance([*copy.parameters(), *expected])
        notes += to_float32(copy)
        if notes:
            _verify(copy, in_float32(example), expected, error)
    return PlainModel(model=copy, notes=(*notes, *_freeze(copy)))


def _freeze(model: nn.Module) -> list[str]:
    """Freeze a model and mark what its user has frozen; return what was done."""
    floating = [p for p in model.parameters() if p.is_floating_point()]
    frozen = [parameter for parameter in floating if not parameter.requires_grad]
    model.requires_grad_(False)
    if not frozen or len(frozen) == len(floating):
        return []
    mark_frozen(model, frozen)
    return [f"{len(frozen)} frozen parameters are left out of training"]


def _verify(model: nn.Module, example: Inputs, expected: list[Tensor], error: float) -> None:
    """Check that a model computes the expected outputs, each `[B, ...]`.

    Raises:
        UnfitModelError: It fails, or an output differs by more than the relative error allowed.
    """
    try:
        outputs = output_tensors(run(model, example))
    except (RuntimeError, AttributeError, TypeError) as reason:
        raise UnfitModelError(
            "the model fails without its wrappers and computed weights and in float32: "
            f"{str(reason).strip().splitlines()[0]}; give a plain float32 model"
        ) from reason
    for position, (output, known) in enumerate(zip(outputs, expected, strict=True)):
        found = relative_difference(output, known)
        if found > error:
            raise UnfitModelError(
                f"output {position} of the model differs by {found:.1e} of its size, more than "
                f"{error:.1e}, without its wrappers and computed weights and in float32; give a "
                "plain float32 model"
            )
