"""Batch-norm statistics of a model that has changed since they were measured."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from compressors.base import Inputs, Task, run
from compressors.models.calibration import calibration_batches, device_of, to_device
from compressors.models.copying import copy_model
from compressors.models.hooks import forward_pre_hooks
from compressors.models.small_batches import SmallBatches
from compressors.models.trainable import FROZEN

STATISTICS_SAMPLES = 4096
"""Number of training samples on which statistics are measured."""
TOLERANCE = 1e-4
"""Largest change of a channel's mean and deviation that counts as none, in deviations."""


def renew_batch_norm(model: nn.Module, task: Task, before: nn.Module) -> None:
    """Bring the statistics of batch-norm layers up to date where their inputs have changed.

    Without this a model that has lost structure is useless, even for comparisons. Inputs are
    unchanged where each of their channels has, on one batch, the mean and the deviation of a
    channel before the change: the layer then has the statistics that it had before, to the bit.
    Where the channels of a layer are known among those before the change, its statistics are
    shifted by what the change does to those of the training data; else they are those of the
    training data. A shift is the same on data that differ a little from what the model was
    trained on, such as augmented images. Layers that are not trained on batches stay as they are.

    Args:
        model: The changed model, renewed in place; it is in eval mode afterwards.
        task: The source of training data.
        before: The model without the change, in eval mode.
    """
    trained = training_norms(model)
    if not trained:
        return
    device = device_of(model)
    inputs = next(calibration_batches(task, device, 1))
    known = {name: (norm, moments) for name, norm, moments in _moments(before, inputs)}
    changed: dict[str, _BatchNorm] = {}
    for name, norm, moments in _moments(model, inputs):
        places = _places(moments, known[name][1]) if name in known else None
        if places is not None:
            _take_statistics(norm, known[name][0], places)
        elif norm in trained:
            changed[name] = norm
    if changed:
        _shift(model, task, before, changed)


def _shift(
    model: nn.Module, task: Task, before: nn.Module, changed: Mapping[str, _BatchNorm]
) -> None:
    """Measure the changed layers anew, and shift the statistics of those whose channels are known.

    Both models are measured on the same batches, with the same layers in training mode.
    """
    there = _norms(before)
    rows = {
        name: found
        for name, norm in changed.items()
        if name in there and (found := _same_channels(norm, there[name])) is not None
    }
    batches = list(calibration_batches(task, device_of(model), STATISTICS_SAMPLES))
    reestimate_batch_norm(model, batches, changed.values())
    if not rows:
        return
    twin = copy_model(before)
    measured = {name: norm for name, norm in _norms(twin).items() if name in rows}
    reestimate_batch_norm(twin, [to_device(b, device_of(twin)) for b in batches], measured.values())
    for name, places in rows.items():
        _shift_statistics(changed[name], measured[name], there[name], places)


def reestimate_batch_norm(
    model: nn.Module, batches: Iterable[Inputs], norms: Collection[_BatchNorm]
) -> None:
    """Measure the running mean and variance of some batch-norm layers anew, in place.

    Each becomes the plain average of the means and variances of the batches, with the rest of the
    model in eval mode. A batch with one value per channel has no variance and is left out.

    Args:
        model: The model, in eval mode afterwards.
        batches: Batches of inputs `[B, ...]`, on the model's device.
        norms: Layers of the model, which have running statistics.

    Raises:
        ValueError: there are no batches.
    """
    small = SmallBatches(model)
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    seen = False
    with torch.no_grad():
        for inputs in batches:
            if not small.refused(inputs):
                run(model, inputs)
                seen = True
    if not seen:
        raise ValueError("there is no batch to measure batch-norm statistics on")
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def train_mode(model: nn.Module) -> None:
    """Put a model into training mode, but for batch-norm layers of frozen scale and shift.

    Whoever freezes those trains with the statistics that the layer has.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.train(module.training and not _is_fixed(module))


def training_norms(model: nn.Module) -> list[_BatchNorm]:
    """Return the batch-norm layers that measure batches in training mode.

    The model, which may keep further layers in eval mode itself, is in eval mode afterwards.
    """
    train_mode(model)
    found = [norm for norm in _norms(model).values() if norm.training]
    model.eval()
    return found


def _is_fixed(norm: nn.Module) -> bool:
    return {"weight", "bias"}.issubset(getattr(norm, FROZEN, ()))


def _norms(model: nn.Module) -> dict[str, _BatchNorm]:
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats
    }


def _moments(model: nn.Module, inputs: Inputs) -> list[tuple[str, _BatchNorm, Tensor]]:
    """Return names, layers and moments `[C, 2 * calls]` of the batch-norm layers that run.

    The moments are the mean and the deviation of each channel, call by call.
    """
    calls: dict[nn.Module, list[Tensor]] = {}

    def note(norm: nn.Module, args: tuple[Any, ...]) -> None:
        assert isinstance(norm, _BatchNorm)
        values = args[0].transpose(0, 1).flatten(1)
        deviation = (values.var(1, correction=0) + norm.eps).sqrt()
        calls.setdefault(norm, []).extend([values.mean(1), deviation])

    norms = _norms(model)
    with forward_pre_hooks(norms.values(), note), torch.no_grad():
        run(model, to_device(inputs, device_of(model)))
    return [(n, norm, torch.stack(calls[norm], 1)) for n, norm in norms.items() if norm in calls]


def _places(moments: Tensor, known: Tensor) -> Tensor | None:
    """Return for each channel its place before the change `[C]`, in order; None if one is new.

    Args:
        moments: As `_moments` returns them, `[C, 2 * calls]`.
        known: Those before the change, `[C', 2 * calls]`.
    """
    if moments.shape[1] != known.shape[1] or len(moments) > len(known):
        return None
    allowed = TOLERANCE * known[:, 1::2].repeat_interleave(2, dim=1)
    same = ((moments[:, None] - known).abs() <= allowed).all(2).cpu()
    places: list[int] = []
    for row in same:
        row[: places[-1] + 1 if places else 0] = False
        if not row.any():
            return None
        places.append(int(row.int().argmax()))
    return torch.tensor(places)


def _same_channels(norm: _BatchNorm, before: _BatchNorm) -> Tensor | None:
    """Return for each channel its place before the change `[C]`; None if that is not known.

    Scale and shift tell the channels apart where some were cut.
    """
    if not norm.affine:
        return torch.arange(norm.num_features) if _is_as_wide(norm, before) else None
    ours, theirs = (torch.stack([n.weight, n.bias], 1).detach().cpu() for n in (norm, before))
    if _is_as_wide(norm, before):
        return torch.arange(len(ours)) if torch.equal(ours, theirs) else None
    same = (ours[:, None] == theirs).all(2)
    return same.int().argmax(1) if bool((same.sum(1) == 1).all()) else None


def _is_as_wide(norm: _BatchNorm, before: _BatchNorm) -> bool:
    return norm.num_features == before.num_features


def _shift_statistics(
    norm: _BatchNorm, measured: _BatchNorm, before: _BatchNorm, places: Tensor
) -> None:
    """Give a layer the statistics before the change, shifted by what the change does to the data.

    Args:
        norm: The layer behind the change, with the statistics of the data.
        measured: The layer before the change, with the statistics of the same data.
        before: The layer before the change, as it was trained.
        places: Place before the change of each channel `[C]`.
    """
    there = places.to(device_of(norm))
    mean, variance = _statistics(norm)
    mean_then, variance_then = (moments[there] for moments in _statistics(measured))
    mean_trained, variance_trained = (moments[there] for moments in _statistics(before))
    ratio = (variance + norm.eps) / (variance_then + norm.eps)
    norm.get_buffer("running_mean").copy_(mean_trained + mean - mean_then)
    shifted = (variance_trained + norm.eps) * ratio - norm.eps
    norm.get_buffer("running_var").copy_(shifted.clamp(min=0))


def _statistics(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return copies of the running mean and variance `[C]`."""
    return norm.get_buffer("running_mean").clone(), norm.get_buffer("running_var").clone()


def _take_statistics(norm: _BatchNorm, before: _BatchNorm, places: Tensor) -> None:
    """Give a layer the statistics of the channels `[C]` of the layer before the change."""
    there = before.state_dict()
    for name in ("running_mean", "running_var"):
        norm.get_buffer(name).copy_(there[name][places.to(there[name].device)])
