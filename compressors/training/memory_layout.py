"""Memory layout of convolution weights: on a CPU, training is faster with channels last."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from compressors.base import Inputs, run
from compressors.models.calibration import device_of
from compressors.models.copying import copy_model


@contextmanager
def fastest_layout(model: nn.Module, batches: Iterable[Inputs]) -> Iterator[None]:
    """Keep a model in the memory layout in which it trains fastest; contiguous afterwards.

    Args:
        model: The layout of its convolution weights is changed in place, not their values.
        batches: Inputs `[B, ...]`; the layout is tried on the first batch.
    """
    if not _runs_channels_last(model, batches):
        yield
        return
    _lay_out(model, torch.channels_last)
    yield
    _lay_out(model, torch.contiguous_format)


def _runs_channels_last(model: nn.Module, batches: Iterable[Inputs]) -> bool:
    """Return whether a model is on a CPU, has two-dimensional convolutions and runs channels last.

    A `view` of feature maps in a model's own code may not fit that layout.
    """
    if device_of(model).type != "cpu" or not any(map(_is_planar, model.modules())):
        return False
    probe = copy_model(model)
    _lay_out(probe, torch.channels_last)
    first = next(iter(batches), None)
    try:
        with torch.no_grad():
            if first is not None:
                run(probe, first)
    except RuntimeError:
        return False
    return True


def _lay_out(model: nn.Module, layout: torch.memory_format) -> None:
    """Put the weights of two-dimensional convolutions into a memory layout, in place."""
    for module in model.modules():
        if _is_planar(module):
            module.to(memory_format=layout)  # type: ignore[call-overload]


def _is_planar(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
