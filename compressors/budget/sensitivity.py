"""Sensitivity: how far a change of some weights moves the outputs of a model."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.base import Inputs, Task, output_tensors, run
from compressors.models.calibration import calibration_batches, device_of
from compressors.models.copying import copy_model, restorer
from compressors.models.fingerprint import output_digest

Change = Callable[[nn.Module], None]
"""Changes a model in place."""


def sensitivity(
    model: nn.Module,
    task: Task,
    changes: Sequence[Change],
    *,
    name: str | None = None,
    samples: int = 128,
) -> list[float]:
    """Measure the mean divergence that each change causes on calibration data, without targets.

    Each change is made alone, to a fresh copy of the model.

    Args:
        model: The model; it is not changed.
        task: The source of the calibration data.
        changes: The changes to measure.
        name: A description that identifies the changes and all their values. With it the result
            is remembered for this model's weights; None measures every time.
        samples: Calibration samples.

    Returns:
        The mean divergence of each change, at least 0.

    Raises:
        FloatingPointError: a changed model gives an output that is not finite.
    """

    def measure() -> dict[str, NDArray[np.float64]]:
        return {"divergence": np.array(_probe(model, task, changes, samples))}

    if name is None:
        return list(measure()["divergence"])
    inputs = next(calibration_batches(task, device_of(model), samples))
    key = f"sensitivity {name} {samples} {output_digest(model, inputs)}"
    return [float(value) for value in task.measured(key, measure)["divergence"]]


def _probe(model: nn.Module, task: Task, changes: Sequence[Change], samples: int) -> list[float]:
    batches = list(calibration_batches(task, device_of(model), samples))
    before = [_outputs(model, inputs) for inputs in batches]
    changed = copy_model(model)
    restore = restorer(changed, model)
    found = []
    for change in changes:
        restore()
        change(changed)
        after = [_outputs(changed, inputs) for inputs in batches]
        value = float(
            torch.stack([divergence(*pair) for pair in zip(before, after, strict=True)]).mean()
        )
        if not torch.isfinite(torch.tensor(value)):
            raise FloatingPointError("a probe of the sensitivity gives outputs that are not finite")
        found.append(value)
    return found


def divergence(before: list[Tensor], after: list[Tensor]) -> Tensor:
    """Return how far outputs have moved, a scalar that is 0 for equal outputs.

    For one tensor of logits `[B, ..., C]` with C > 1 it is KL(before || after) of their softmax in
    nats, averaged over all axes but the last. For all other outputs it is the squared distance
    divided by the squared norm of `before`.

    Args:
        before: Output tensors `[B, ...]`.
        after: Output tensors of the same shapes.
    """
    if len(before) == 1 and before[0].dim() > 1 and before[0].shape[-1] > 1:
        old = F.log_softmax(before[0].float(), dim=-1).flatten(0, -2)
        new = F.log_softmax(after[0].float(), dim=-1).flatten(0, -2)
        return F.kl_div(new, old, reduction="batchmean", log_target=True)
    moved = torch.stack([(a - b).square().sum() for a, b in zip(after, before, strict=True)]).sum()
    size = torch.stack([b.square().sum() for b in before]).sum()
    return moved / size.clamp(min=torch.finfo(size.dtype).tiny)


def _outputs(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    with torch.no_grad():
        return [t for t in output_tensors(run(model, inputs)) if t.is_floating_point()]
