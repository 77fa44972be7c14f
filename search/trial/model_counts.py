"""Count what a model holds and computes: parameters, zeros, channels, layers, operations."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from compressors.base import Inputs, run
from compressors.models.calibration import batch_size, few
from compressors.models.copying import copy_model
from compressors.models.fused_attention import plain_attention
from compressors.models.trainable import require_gradients
from compressors.weights.in_use import parameters_in_use
from search.errors import MeasurementError


@dataclass(frozen=True, kw_only=True)
class ModelCounts:
    """The counts of a model with its masks and codes applied."""

    parameters: int
    """Values of all parameters; a parameter that several modules share counts once."""
    nonzeros: int
    """Values that are not zero in use."""
    layers: int
    """Modules with a weight of two or more axes."""
    channels: int
    """Output channels of all convolutions, linear, attention and recurrent layers."""


def count_model(model: nn.Module) -> ModelCounts:
    """Return the counts of a model; a parametrised weight counts once, by its value in use."""
    with torch.no_grad():
        weights = list(parameters_in_use(model))
        return ModelCounts(
            parameters=sum(weight.numel() for *_, weight in weights),
            nonzeros=sum(int(weight.count_nonzero()) for *_, weight in weights),
            layers=len({id(module) for module, _, weight in weights if weight.ndim > 1}),
            channels=sum(_channels(module) for module in model.modules()),
        )


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters; one that several modules share counts once."""
    return count_model(model).parameters


def count_nonzeros(model: nn.Module) -> int:
    """Return the number of parameters that are not zero in use."""
    return count_model(model).nonzeros


def achieved(before: ModelCounts, after: ModelCounts) -> dict[str, float]:
    """Return the shares that a step removed, and the share of zeros among the remaining values."""
    return {
        "parameters_removed": _share(before.parameters - after.parameters, before.parameters),
        "zeros": _share(after.parameters - after.nonzeros, after.parameters),
        "channels_removed": _share(before.channels - after.channels, before.channels),
        "layers_removed": _share(before.layers - after.layers, before.layers),
    }


def weights_moved(before: nn.Module, after: nn.Module) -> float:
    """Return how far the parameters in use have moved, as a share of their length.

    It is 0 where each is as it was before, to the bit. Parameters of another shape are left out.
    """
    with torch.no_grad():
        old = dict(used_weights(before))
        pairs = [(old.get(name), new) for name, new in used_weights(after)]
        kept = [(one, new) for one, new in pairs if one is not None and one.shape == new.shape]
        length = sum(float(one.double().square().sum()) for one, _ in kept)
        moved = sum(float((new.double() - one.double()).square().sum()) for one, new in kept)
    return math.sqrt(_share(moved, length))


def count_macs(model: nn.Module, example: Inputs) -> int:
    """Return the multiply-accumulates of one example, from torch's count of operations.

    Args:
        model: A model in eval mode; zeros of its weights count too.
        example: A batch of inputs `[B, ...]`; the first samples count, divided by their number.

    Raises:
        MeasurementError: No operation was counted.
    """
    example = few(example)
    # Torch counts no operations in fused kernels.
    counted = require_gradients(copy_model(model).cpu())
    counter = FlopCounterMode(display=False)
    countable = (torch.enable_grad(), plain_attention(), sdpa_kernel(SDPBackend.MATH))
    with ExitStack() as stack:
        for context in (*countable, _without_onednn(), counter):
            stack.enter_context(context)
        run(counted, example)
    macs = counter.get_total_flops() // (2 * batch_size(example))
    if macs == 0:
        raise MeasurementError("macs is 0: torch counts none of the model's operations")
    return int(macs)


@contextmanager
def _without_onednn() -> Iterator[None]:
    enabled = torch.backends.mkldnn.set_flags(False)[0]  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        torch.backends.mkldnn.set_flags(enabled)  # type: ignore[no-untyped-call]


def used_weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield each parameter once, of any shape: its name in the plain model and its value in use."""
    names = {id(module): path for path, module in model.named_modules()}
    for module, name, weight in parameters_in_use(model):
        yield f"{names[id(module)]}.{name}".lstrip("."), weight


def _channels(module: nn.Module) -> int:
    if isinstance(module, nn.RNNBase):
        return module.hidden_size * module.num_layers * (1 + module.bidirectional)
    if isinstance(module, nn.MultiheadAttention):
        return 3 * int(module.embed_dim)  # its output layer is counted by itself
    if isinstance(module, nn.Linear):
        return module.out_features
    if isinstance(module, nn.modules.conv._ConvNd):
        return module.out_channels
    return 0


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
