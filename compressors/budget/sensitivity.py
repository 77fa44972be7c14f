"""Sensitivity: how far a change of some weights moves the distilled output of a model."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.base import Inputs, Task, run
from compressors.models.calibration import calibration_batches, device_of
from compressors.models.copying import copy_model, restorer
from compressors.models.fingerprint import output_digest
from compressors.outputs.divergence import divergence
from compressors.outputs.spec import OutputSpec

MOST = 8192
"""Samples that all changes of a model are measured on together, in forward passes: the more changes
there are, the more of them say the same of a layer."""
LEAST = 16
"""Samples that one change is measured on at least."""
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
        samples: Calibration samples of each change, fewer where there are many changes.

    Returns:
        The mean divergence of each change, at least 0.

    Raises:
        FloatingPointError: a changed model gives an output that is not finite.
    """
    samples = min(samples, max(LEAST, MOST // max(1, len(changes))))

    def measure() -> dict[str, NDArray[np.float64]]:
        return {"divergence": np.array(_probe(model, task, changes, samples))}

    if name is None:
        return list(measure()["divergence"])
    inputs = next(calibration_batches(task, device_of(model), samples))
    key = f"sensitivity {name} {samples} {task.outputs} {output_digest(model, inputs)}"
    return [float(value) for value in task.measured(key, measure)["divergence"]]


def _probe(model: nn.Module, task: Task, changes: Sequence[Change], samples: int) -> list[float]:
    batches = list(calibration_batches(task, device_of(model), samples))
    spec = task.outputs
    before = [_output(model, inputs, spec) for inputs in batches]
    changed = copy_model(model)
    restore = restorer(changed, model)
    found = []
    for change in changes:
        restore()
        change(changed)
        after = [_output(changed, inputs, spec) for inputs in batches]
        pairs = zip(after, before, strict=True)
        value = float(torch.stack([divergence(spec, *pair) for pair in pairs]).mean())
        if not torch.isfinite(torch.tensor(value)):
            raise FloatingPointError("a probe of the sensitivity gives outputs that are not finite")
        # A mean of rounded logarithms may be below 0, which no divergence is.
        found.append(max(0.0, value))
    return found


def _output(model: nn.Module, inputs: Inputs, spec: OutputSpec) -> Tensor:
    with torch.no_grad():
        return spec.select(run(model, inputs)).float()
