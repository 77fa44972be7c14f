"""Where the channels of a layer go: each is marked, and the marks are read before other weights."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from compressors.base import Inputs, output_tensors
from compressors.channels.group import Slice, UntraceableError
from compressors.channels.layer_axes import input_axes
from compressors.models.calibration import device_of
from compressors.models.fused_attention import run_unfused
from compressors.models.hooks import forward_hooks, forward_pre_hooks

Mark = Callable[[Any, Tensor], Any]
"""From a layer's outputs and the marked channels, boolean `[channels]`: the outputs with NaN there.

NaN goes wherever a value goes, so that a layer that receives none does not depend on the channel.
"""

_MIXING = (_ConvNd, nn.Linear, nn.RNNBase)
_NORMS = (_NormBase, nn.LayerNorm, nn.RMSNorm)


@dataclass(frozen=True, kw_only=True, eq=False)
class Producer:
    """A layer whose channels are traced."""

    module: nn.Module
    """The layer."""
    channels: int
    """Number of its channels."""
    mark: Mark
    """Function that marks some of the channels in the layer's outputs."""


def trace_channels(model: nn.Module, example: Inputs, producer: Producer) -> list[Slice]:
    """Return the slices of other layers' tensors that receive the channels of a layer.

    These are columns of linear, convolution and recurrent weights and entries of norms. Each pass
    marks the channels in whose number one bit is 0, or is 1: `2 log2(channels)` passes.

    Args:
        model: The model, unchanged afterwards.
        example: One batch of inputs `[B, ...]`, on the model's device.
        producer: The layer, a module of the model.

    Raises:
        UntraceableError: channels reach the model's outputs, or several reach one column.
    """
    names = {module: name for name, module in model.named_modules()}
    bits = max(1, (producer.channels - 1).bit_length())
    numbers = torch.arange(producer.channels)
    passes = []
    for bit in range(bits):
        for value in (0, 1):
            chosen = (numbers >> bit & 1) == value
            passes.append(_marked_columns(model, example, producer, chosen))
    slices: list[Slice] = []
    for module in {module: None for marked in passes for module in marked}:
        unmarked = torch.zeros_like(next(m[module] for m in passes if module in m))
        table = torch.stack([marked.get(module, unmarked) for marked in passes])
        zeros, ones = table[0::2], table[1::2]
        if bool((zeros & ones).any()):
            raise UntraceableError(f"several of its channels meet before {names[module]}")
        columns = table.any(0).nonzero()[:, 0]
        channels = (ones.long() << torch.arange(bits)[:, None]).sum(0)[columns]
        slices.extend(_receiving_slices(module, names[module], columns, channels))
    return slices


def _marked_columns(
    model: nn.Module, example: Inputs, producer: Producer, chosen: Tensor
) -> dict[nn.Module, Tensor]:
    """Return for every layer that marks reach first which of its inputs are marked, boolean `[I]`.

    `chosen`, boolean `[channels]`, says which channels of the producer get a mark.
    """
    marks = _Marks()
    norms = [module for module in model.modules() if isinstance(module, _NORMS)]
    receivers = [module for module in model.modules() if isinstance(module, (*_MIXING, *_NORMS))]
    on_device = chosen.to(device_of(model))
    with (
        forward_pre_hooks(receivers, marks.receive),
        forward_hooks(norms, marks.pass_on),
        forward_hooks([producer.module], lambda _m, _a, output: producer.mark(output, on_device)),
        sdpa_kernel(SDPBackend.MATH),  # fused kernels drop NaN
    ):
        outputs = run_unfused(model, example)
    if any(bool(tensor.isnan().any()) for tensor in output_tensors(outputs)):
        raise UntraceableError("its channels reach the model's outputs without another layer")
    return marks.columns


class _Marks:
    """The marks of one pass, as hooks on the receiving layers see them."""

    def __init__(self) -> None:
        self.columns: dict[nn.Module, Tensor] = {}
        """By layer, which of its inputs were marked in any call, boolean `[I]`."""
        self._latest: dict[nn.Module, Tensor] = {}

    def receive(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Note the marks in a layer's input, and give the layer zeros in their place."""
        if not args or not isinstance(args[0], Tensor):
            return None
        marked = self._latest[module] = args[0].isnan()
        if not bool(marked.any()):
            return None
        if isinstance(module, _ConvNd) and module.groups > 1:
            raise UntraceableError("its channels reach a grouped convolution")
        axis = 1 if isinstance(module, _ConvNd | _NormBase) else -1
        columns = marked.movedim(axis, 0).reshape(marked.shape[axis], -1).any(1).cpu()
        self.columns[module] = self.columns.get(module, torch.zeros_like(columns)) | columns
        return (args[0].nan_to_num(), *args[1:])

    def pass_on(self, module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        """Put the marks of a norm's input into its output."""
        marked = self._latest.get(module)
        return output if marked is None else output.masked_fill(marked, torch.nan)


def _receiving_slices(
    module: nn.Module, name: str, columns: Tensor, channels: Tensor
) -> Iterator[Slice]:
    for attribute, axis in input_axes(module):
        tensor = f"{name}.{attribute}".lstrip(".")
        yield Slice(tensor=tensor, axis=axis, indices=columns, channels=channels)
