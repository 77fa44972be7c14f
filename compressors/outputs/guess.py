"""What a model's outputs are, found from the task's loss, the shapes and the targets.

The loss says most: what it computes from changed outputs shows what it takes them for, also where
it is a function of the user's own. Cross-entropy, for instance, does not change when all classes of
a position get the same added.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compressors.outputs.spec import KINDS, Kind, OutputSpec, StatedOutputs
from compressors.outputs.structure import floating_tensors, named_tensors, rebuild

INVARIANT = 1e-3
"""Share of the change by unequal noise that a change without effect stays below."""
ROUNDING = 1e-5
"""Relative error of a loss by rounding."""
CERTAIN = 30.0
"""A logit at which a label is certain."""


@dataclass(frozen=True, kw_only=True)
class LabelledOutputs:
    """The outputs of a model for one batch, in eval mode, and the loss of such outputs."""

    outputs: Any
    """Outputs of any structure, on the CPU."""
    targets: Any
    loss: Callable[[Any, Any], Tensor]
    """From outputs and targets to a scalar."""
    sample_axes: Mapping[str, int | None]
    """By output tensor, the axis that holds the samples; None if there is none."""

    def with_loss(self, name: str, tensor: Tensor) -> Tensor:
        """Return the loss, a scalar, with another tensor of the same shape as one output."""
        # Copies, since a loss may change its arguments in place.
        tensors = {n: t.clone() for n, t in {**named_tensors(self.outputs), name: tensor}.items()}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.loss(rebuild(self.outputs, tensors), self.targets)

    def loss_at(self, name: str, tensor: Tensor) -> float:
        """Return the loss with a made-up output of the same shape; infinite where it has none."""
        try:
            with torch.no_grad():
                value = float(self.with_loss(name, tensor))
        except (RuntimeError, ValueError, AssertionError):
            return torch.inf  # such as a probability outside of [0, 1]
        return value if value == value else torch.inf

    def gradient(self, name: str, tensor: Tensor) -> Tensor | None:
        """Return the gradient of the loss in one output, in its shape; None if it has none."""
        leaf = tensor.detach().clone().requires_grad_(True)
        with torch.enable_grad():
            loss = self.with_loss(name, leaf)
        if not loss.requires_grad:
            return None
        return torch.autograd.grad(loss, leaf, allow_unused=True)[0]


def guess_outputs(batch: LabelledOutputs, stated: StatedOutputs) -> OutputSpec:
    """Return which tensor is distilled and what it is; what the task states is taken as it is.

    Of several tensors it is one that the loss depends on, classes before labels before values
    before embeddings.

    Raises:
        ValueError: the task states a tensor or an axis that does not exist, or classes on an axis
            that cannot be found.
    """
    found = [_spec(batch, name, stated) for name in _candidates(batch, stated)]
    return min(found, key=lambda spec: KINDS.index(spec.kind))


def _candidates(batch: LabelledOutputs, stated: StatedOutputs) -> list[str]:
    tensors = floating_tensors(batch.outputs)
    if stated.name is not None:
        if stated.name not in tensors:
            raise ValueError(
                f"outputs: the model returns no floating-point tensor {stated.name!r}; "
                f"name one of {', '.join(tensors)}"
            )
        return [stated.name]
    by_sample = [name for name in tensors if batch.sample_axes.get(name) is not None]
    trained = [name for name in by_sample if _is_trained(batch, name, tensors[name])]
    return trained or by_sample or list(tensors)


def _is_trained(batch: LabelledOutputs, name: str, tensor: Tensor) -> bool:
    gradient = batch.gradient(name, tensor)
    return gradient is not None and bool(gradient.any())


def _spec(batch: LabelledOutputs, name: str, stated: StatedOutputs) -> OutputSpec:
    tensor = floating_tensors(batch.outputs)[name].detach()
    kind, axis = stated.kind, stated.axis
    if kind is None:
        kind, guessed = _kind(batch, name, tensor)
        axis = guessed if axis is None else axis
    elif kind == "classes" and axis is None:
        axes = [*_softmax_axes(batch, name, tensor), *_axes_of_targets(batch, name, tensor)]
        if not axes and tensor.dim() != 2:
            raise ValueError(
                f"outputs: the axis of the classes of {name} {list(tensor.shape)} cannot be "
                f"found; say it, as in 'classes on axis 1'"
            )
        axis = axes[0] if axes else 1
    axis = _embedding_axis(tensor) if axis is None else axis
    if kind in ("classes", "embedding") and (
        tensor.dim() < 2 or not -tensor.dim() <= axis < tensor.dim()
    ):
        raise ValueError(
            f"outputs: {name} {list(tensor.shape)} has no axis {axis} beside that of the samples"
        )
    return OutputSpec(
        name=name,
        training_name=name,
        kind=kind,
        axis=axis,
        scale=_scale(tensor, batch.sample_axes.get(name)) if kind == "values" else 1.0,
        by_sample=batch.sample_axes.get(name) == 0,
    )


def _kind(batch: LabelledOutputs, name: str, tensor: Tensor) -> tuple[Kind, int | None]:
    """Return the kind of an output of any shape, and the axis of its classes if it has some."""
    softmax_axes = _softmax_axes(batch, name, tensor)
    alike = _alike_targets(batch.targets, tensor)
    if alike is not None:
        for axis in softmax_axes:
            if _are_distributions(alike, axis):
                return "classes", axis
        return ("labels" if _are_labels(batch, name, alike) else "values"), None
    if softmax_axes:
        return "classes", softmax_axes[0]
    if _is_coupled(batch, name, tensor):
        return "embedding", None
    for axis in _axes_of_targets(batch, name, tensor):
        one_hot = _one_hot(batch.targets, tensor, axis)
        return ("labels", None) if _are_labels(batch, name, one_hot) else ("classes", axis)
    floating = any(t.is_floating_point() for t in named_tensors(batch.targets).values())
    return ("values" if floating or tensor.dim() < 2 else "embedding"), None


def _softmax_axes(batch: LabelledOutputs, name: str, tensor: Tensor) -> list[int]:
    """Return the axes on which the loss takes a softmax, or the outputs hold log-probabilities.

    Axes that fit the targets come first.
    """
    ignores_shift = _shift_test(batch, name, tensor)
    axes = [
        axis
        for axis in range(tensor.dim())
        if axis != batch.sample_axes.get(name) and tensor.shape[axis] > 1
        if ignores_shift(axis) or _are_log_probabilities(tensor, axis)
    ]
    fitting = _axes_of_targets(batch, name, tensor)
    return sorted(axes, key=lambda axis: axis not in fitting)


def _shift_test(batch: LabelledOutputs, name: str, tensor: Tensor) -> Callable[[int], bool]:
    """Return whether the loss stays when all outputs on an axis get the same added.

    What is added differs between the positions of the other axes.
    """
    spread = float(tensor.float().std()) if tensor.numel() > 1 else 1.0
    noise = spread * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0))
    noise = noise.to(tensor.dtype)
    before = batch.loss_at(name, tensor)
    changed = abs(batch.loss_at(name, tensor + noise) - before)

    def ignores_shift(axis: int) -> bool:
        moved = abs(batch.loss_at(name, tensor + noise.narrow(axis, 0, 1)) - before)
        return 0 < changed < torch.inf and moved <= INVARIANT * changed + ROUNDING * abs(before)

    return ignores_shift


def _are_log_probabilities(tensor: Tensor, axis: int) -> bool:
    return bool((tensor.float().logsumexp(axis).abs() < INVARIANT).all())


def _axes_of_targets(batch: LabelledOutputs, name: str, tensor: Tensor) -> list[int]:
    """Return the axes without which the outputs have the shape of the class numbers."""
    numbers = _class_numbers(batch.targets)
    if numbers is None:
        return []
    return [
        axis
        for axis in range(tensor.dim())
        if axis != batch.sample_axes.get(name)
        and (*tensor.shape[:axis], *tensor.shape[axis + 1 :]) == numbers.shape
        and tensor.shape[axis] > int(numbers.max())
    ]


def _class_numbers(targets: Any) -> Tensor | None:
    tensors = named_tensors(targets).values()
    return next((t for t in tensors if not t.is_floating_point() and t.numel()), None)


def _one_hot(targets: Any, tensor: Tensor, axis: int) -> Tensor:
    numbers = _class_numbers(targets)
    assert numbers is not None
    index = numbers.long().clamp(min=0).unsqueeze(axis)
    return torch.zeros_like(tensor).scatter_(axis, index, 1.0)


def _alike_targets(targets: Any, tensor: Tensor) -> Tensor | None:
    """Return the targets of the shape of an output, axes of length 1 aside, in that shape."""
    wanted = [size for size in tensor.shape if size > 1]
    for target in named_tensors(targets).values():
        if [size for size in target.shape if size > 1] == wanted:
            return target.reshape(tensor.shape).to(tensor.dtype)
    return None


def _are_distributions(targets: Tensor, axis: int) -> bool:
    sums = targets.sum(axis)
    return bool((targets >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-3)


def _are_labels(batch: LabelledOutputs, name: str, targets: Tensor) -> bool:
    """Whether the loss of certain logits is less than that of the targets themselves.

    Args:
        batch: Gives the loss.
        name: Name of the output.
        targets: Zeros and ones in the shape of the output; other values are no labels.
    """
    if not bool(((targets == 0) | (targets == 1)).all()):
        return False
    certain = batch.loss_at(name, CERTAIN * (2 * targets - 1))
    return certain < 0.5 * batch.loss_at(name, targets)


def _is_coupled(batch: LabelledOutputs, name: str, tensor: Tensor) -> bool:
    """Whether the loss compares samples: what one is wanted to be depends on the others."""
    axis = batch.sample_axes.get(name)
    if axis is None or tensor.shape[axis] < 2:
        return False
    half = tensor.shape[axis] // 2
    kept = tensor.narrow(axis, 0, half)
    others = tensor.narrow(axis, half, tensor.shape[axis] - half)
    before = batch.gradient(name, tensor)
    after = batch.gradient(name, torch.cat([kept, others.flip(axis) * 0.5], axis))
    if before is None or after is None:
        return False
    before, after = before.narrow(axis, 0, half), after.narrow(axis, 0, half)
    return float((after - before).abs().max()) > INVARIANT * float(before.abs().max())


def _embedding_axis(tensor: Tensor) -> int:
    return 1 if tensor.dim() > 3 else -1


def _scale(tensor: Tensor, axis: int | None) -> float:
    """Return the variance of an output of any shape over the samples, 1 if it has none."""
    several = axis is not None and tensor.shape[axis] > 1
    variance = tensor.float().var(axis if several else None, correction=0).mean()
    return float(variance) if 0 < float(variance) < torch.inf else 1.0
