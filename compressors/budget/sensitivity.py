"""How far a change of some weights moves the outputs of a model."""

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
    """Return for each change the mean divergence it causes, on calibration data without targets.

    Each change is made to the model as it is, in a copy.

    Args:
        model: What is changed.
        task: Gives the data.
        changes: Any number of them.
        name: Says what the changes are, to the last value; the result is then remembered for
            this model's weights, and probed once.
        samples: Of the calibration data.

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
    """Return how far outputs have moved, a scalar: 0 where they are equal.

    For one tensor of logits `[B, ..., C]` with C > 1 it is KL(before || after) of their softmax in
    nats, a mean over all axes but the last; for any others the squared distance relative to the
    outputs' own squared size.
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
