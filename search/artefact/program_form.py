"""model.pt2: a compressed model as a program of torch.export, which needs none of its code."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compressors.base import Inputs, Task, run
from compressors.models.fused_attention import plain_attention
from compressors.outputs.structure import floating_tensors
from search.artefact.baking import bake
from search.artefact.checked_batches import checked_batches
from search.artefact.fidelity import MIN_FIDELITY_DB, fidelity_db
from search.errors import ArtefactError
from search.tasks.free_axes import FreeAxes, named_tensors

EXPORT_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)
"""What torch.export raises on a model that runs in torch."""


def write_program(model: nn.Module, task: Task, path: Path, free_axes: FreeAxes) -> None:
    """Write a model as a program, read it back and compare its outputs with the model's.

    Masked, shared and quantised weights are plain weights in it; activations stay floats. It is the
    model in eval mode: `torch.export.load(path).module()` runs and has gradients, but dropout and
    batch-norm of training mode are gone. It holds no sample of the data.

    Args:
        model: The compressed model; it is not changed.
        task: Gives the inputs.
        path: Where the program is written.
        free_axes: The axes of the inputs that stay free in it.

    Raises:
        ArtefactError: torch.export does not take the model, or the program gives other outputs.
    """
    plain, _ = bake(model)
    batches = checked_batches(task, free_axes)
    try:
        with warnings.catch_warnings(), plain_attention():
            warnings.simplefilter("ignore")  # of torch's own parts
            arguments, keywords = _call(batches[0])
            program = torch.export.export(
                plain, arguments, keywords, dynamic_shapes=_dynamic(batches[0], free_axes)
            )
            program._example_inputs = None
            torch.export.save(program, path)
            loaded = torch.export.load(path).module()
            _check(plain, loaded, batches)
    except EXPORT_ERRORS as error:
        path.unlink(missing_ok=True)
        raise ArtefactError(
            f"torch.export does not take the model: {str(error).strip().splitlines()[0]}"
        ) from error


def _check(model: nn.Module, program: nn.Module, batches: Sequence[Inputs]) -> None:
    for inputs in batches:
        with torch.no_grad():
            pairs = [floating_tensors(run(one, inputs)) for one in (model, program)]
        for name in pairs[0]:
            one, other = (found[name].double().numpy() for found in pairs)
            found = fidelity_db(one, other)
            if found < MIN_FIDELITY_DB:
                raise ArtefactError(f"the program's {name} reaches {found:.1f} dB")


def _call(inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)), {}


def _dynamic(inputs: Inputs, free_axes: FreeAxes) -> Any:
    """Return torch.export's dynamic shapes, in the structure of the inputs."""
    shapes = {
        name: dict.fromkeys(free_axes.get(name, {}), torch.export.Dim.AUTO)
        for name in named_tensors(inputs)
    }
    return shapes if isinstance(inputs, Mapping) else tuple(shapes.values())
