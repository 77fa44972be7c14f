"""Where the channels of a layer go: each is marked, and the marks are read before other weights."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from compressors.base import Inputs, output_tensors, run
from compressors.channels.group import Slice
from compressors.models.calibration import device_of
from compressors.models.fused_attention import plain_attention

Mark = Callable[[Any, Tensor], Any]
"""From a layer's outputs and the marked channels, boolean `[channels]`: the outputs with NaN there.

NaN goes wherever a value goes, so that a layer that receives none does not depend on the channel.
"""

_MIXING = (_ConvNd, nn.Linear, nn.RNNBase)
_NORMS = (_NormBase, nn.LayerNorm, nn.RMSNorm)


class UntraceableError(ValueError):
    """The channels do not end in columns of weights, one channel a column."""


def trace_channels(
    model: nn.Module, example: Inputs, producer: nn.Module, mark: Mark, channels: int
) -> list[Slice]:
    """Return the slices of other layers' tensors that receive the channels of a layer.

    These are columns of linear, convolution and recurrent weights and entries of norms. The marks
    of a pass are one bit of the channels' numbers or its opposite: `2 log2(channels)` passes.

    Raises:
        UntraceableError: channels reach the model's outputs, or several reach one column.
    """
    names = {module: name for name, module in model.named_modules()}
    bits = max(1, (channels - 1).bit_length())
    numbers = torch.arange(channels)
    passes = []
    for bit in range(bits):
        for value in (0, 1):
            chosen = (numbers >> bit & 1) == value
            passes.append(_marked_columns(model, example, producer, mark, chosen))
    slices: list[Slice] = []
    for module in {module: None for marked in passes for module in marked}:
        unmarked = torch.zeros_like(next(m[module] for m in passes if module in m))
        table = torch.stack([marked.get(module, unmarked) for marked in passes])
        zeros, ones = table[0::2], table[1::2]
        if bool((zeros & ones).any()):
            raise UntraceableError(f"several of its channels meet before {names[module]}")
        columns = table.any(0).nonzero()[:, 0]
        code = (ones.long() << torch.arange(bits)[:, None]).sum(0)[columns]
        slices.extend(_receiving(module, names[module], columns, code))
    return slices


def _marked_columns(
    model: nn.Module, example: Inputs, producer: nn.Module, mark: Mark, chosen: Tensor
) -> dict[nn.Module, Tensor]:
    """Return the inputs that are marked, boolean, of every layer that any reach first."""
    found: dict[nn.Module, Tensor] = {}
    watching = _watching(model, producer, mark, chosen, found)
    # Fused kernels drop NaN.
    with plain_attention(), sdpa_kernel(SDPBackend.MATH), torch.no_grad(), watching:
        outputs = run(model, example)
    if any(bool(tensor.isnan().any()) for tensor in output_tensors(outputs)):
        raise UntraceableError("its channels reach the model's outputs without another layer")
    return found


@contextmanager
def _watching(
    model: nn.Module,
    producer: nn.Module,
    mark: Mark,
    chosen: Tensor,
    found: dict[nn.Module, Tensor],
) -> Iterator[None]:
    here: dict[nn.Module, Tensor] = {}

    def receive(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not args or not isinstance(args[0], Tensor):
            return None
        here[module] = args[0].isnan()
        if not bool(here[module].any()):
            return None
        if isinstance(module, _ConvNd) and module.groups > 1:
            raise UntraceableError("its channels reach a grouped convolution")
        axis = _axis(module) % args[0].dim()
        others = [a for a in range(args[0].dim()) if a != axis]
        marked = _any(here[module], others).cpu()
        found[module] = found.get(module, torch.zeros_like(marked)) | marked
        return (args[0].nan_to_num(), *args[1:])

    def pass_on(module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        return output.masked_fill(here[module], torch.nan) if module in here else output

    handles = []
    for module in model.modules():
        if isinstance(module, (*_MIXING, *_NORMS)):
            handles.append(module.register_forward_pre_hook(receive))
        if isinstance(module, _NORMS):
            handles.append(module.register_forward_hook(pass_on))
    placed = chosen.to(device_of(model))
    handles.append(producer.register_forward_hook(lambda _m, _a, output: mark(output, placed)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _any(marks: Tensor, axes: list[int]) -> Tensor:
    for axis in sorted(axes, reverse=True):
        marks = marks.any(axis)
    return marks


def _axis(module: nn.Module) -> int:
    return 1 if isinstance(module, _ConvNd | _NormBase) else -1


def _receiving(module: nn.Module, name: str, columns: Tensor, code: Tensor) -> Iterator[Slice]:
    for attribute, axis in _tensors(module):
        yield Slice(
            tensor=f"{name}.{attribute}".lstrip("."), axis=axis, indices=columns, channels=code
        )


def _tensors(module: nn.Module) -> list[tuple[str, int]]:
    """Return the tensors of a module that have an axis for its inputs."""
    if isinstance(module, nn.RNNBase):
        return first_layer_weights(module)
    if isinstance(module, nn.Linear | _ConvNd):
        transposed = isinstance(module, _ConvNd) and module.transposed
        return [("weight", 0 if transposed else 1)]
    return norm_tensors(module)


def first_layer_weights(module: nn.RNNBase) -> list[tuple[str, int]]:
    """Return the weights that receive a recurrent layer's inputs, and the axis of these."""
    suffixes = ["_l0", "_l0_reverse"] if module.bidirectional else ["_l0"]
    return [(f"weight_ih{suffix}", 1) for suffix in suffixes]


def norm_tensors(module: nn.Module) -> list[tuple[str, int]]:
    """Return the tensors of a norm that have an entry for each channel, and their axis."""
    names = ("weight", "bias", "running_mean", "running_var")
    held = [name for name in names if getattr(module, name, None) is not None]
    if not held:
        raise UntraceableError(f"a {type(module).__name__} without weights has its width in code")
    return [(name, 0) for name in held]
