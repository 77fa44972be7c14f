"""What the outputs of a task's model are, as far as the user does not say it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from compressors.base import Inputs, run
from compressors.models.calibration import device_of, first_samples, to_device
from compressors.models.copying import copy_model
from compressors.outputs.guess import LabelledOutputs, guess_outputs
from compressors.outputs.spec import OutputSpec, StatedOutputs
from compressors.outputs.structure import batch_axis, mapped, matching, named_tensors
from search.errors import ConfigError
from search.tasks.batches import Batch

COMPARED_SAMPLES = 8
"""Samples on which outputs in training mode are compared with those in eval mode."""


def outputs_on_cpu(model: nn.Module, inputs: Inputs) -> Any:
    """Return the outputs of a model in eval mode, of any structure, for inputs `[B, ...]`."""
    with torch.no_grad():
        outputs = run(model, to_device(inputs, device_of(model)))
    return mapped(outputs, lambda tensor: tensor.cpu())


def output_spec(
    model: nn.Module, batch: Batch, loss: Callable[[Any, Any], Tensor], stated: StatedOutputs
) -> OutputSpec:
    """Return what the outputs of a model are.

    Args:
        model: The baseline, in eval mode.
        batch: The first training batch.
        loss: The user's loss.
        stated: What the user says.

    Raises:
        ConfigError: the loss cannot take the outputs, or what the user says does not fit them.
    """
    inputs, targets = batch
    labelled = LabelledOutputs(
        outputs=outputs_on_cpu(model, inputs),
        targets=to_device(targets, torch.device("cpu")),
        loss=loss,
        sample_axes=sample_axes(model, inputs),
    )
    _check_loss(labelled)
    try:
        spec = guess_outputs(labelled, stated)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    training = training_names(model, inputs)
    return replace(spec, training_name=training.get(spec.name, spec.name))


def sample_axes(model: nn.Module, inputs: Inputs) -> Mapping[str, int | None]:
    """Return by output tensor the axis that holds the samples of inputs `[B, ...]`, if any."""
    two, one = (named_tensors(outputs_on_cpu(model, first_samples(inputs, n))) for n in (2, 1))
    return {
        name: batch_axis(tensor, 2, one[name], 1) if name in one else None
        for name, tensor in two.items()
    }


def training_names(model: nn.Module, inputs: Inputs) -> dict[str, str]:
    """Return by output tensor in eval mode its name in training mode.

    Args:
        model: The baseline, unchanged afterwards.
        inputs: A batch `[B, ...]`.
    """
    few = first_samples(inputs, COMPARED_SAMPLES)
    device = device_of(model)
    probe = copy_model(model).train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        try:
            trained = outputs_on_cpu(probe, few)
        except (RuntimeError, ValueError, TypeError, AssertionError):
            return {}  # a model that cannot run so is reported when it is to be trained
    return matching(outputs_on_cpu(model, few), trained)


def _check_loss(batch: LabelledOutputs) -> None:
    """Compute the loss once as the evaluation does.

    Raises:
        ConfigError: it fails, or is no scalar.
    """
    try:
        loss = batch.loss(batch.outputs, batch.targets)
        float(loss)
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        names = ", ".join(f"{n} {list(t.shape)}" for n, t in named_tensors(batch.outputs).items())
        raise ConfigError(
            f"the task's loss cannot be computed from what the model returns in eval mode "
            f"({names}): {type(error).__name__}: {error}"
        ) from error
