"""The hidden units of LSTM, GRU and plain recurrent layers as channels that can be cut."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from compressors.base import Inputs
from compressors.channels.group import ChannelGroup, Slice
from compressors.channels.tracing import UntraceableError, trace_channels

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def recurrent_units(
    model: nn.Module, example: Inputs, name: str, module: nn.RNNBase
) -> ChannelGroup:
    """Return the hidden units of a recurrent layer with all that goes with them.

    A unit is a row of every gate of `weight_ih`, `weight_hh` and the biases, a column of
    `weight_hh`, and columns of what receives its state: the next layer of the stack and layers
    outside. Every layer and direction keeps as many units, each its own, since torch's modules have
    one `hidden_size`.

    Raises:
        UntraceableError: the states go where columns cannot be cut, or are projected.
    """
    if module.proj_size:
        raise UntraceableError("its states are projected (proj_size)")
    size, directions = module.hidden_size, 1 + module.bidirectional
    parts = module.num_layers * directions

    def mark(output: tuple[Any, Any], chosen: Tensor) -> tuple[Any, Any]:
        return _marked(output, chosen.view(parts, size), directions)

    outside = trace_channels(model, example, module, mark, parts * size)
    return ChannelGroup(
        name=name,
        size=size,
        parts=parts,
        slices=(*_own_slices(name, module), *outside),
    )


def _own_slices(name: str, module: nn.RNNBase) -> Iterator[Slice]:
    size, directions = module.hidden_size, 1 + module.bidirectional
    units = torch.arange(size)
    gates = GATES[module.mode]
    rows = (torch.arange(gates)[:, None] * size + units).flatten()
    suffixes = ["", "_reverse"][:directions]
    tensors = ["weight_ih", "weight_hh"] + (["bias_ih", "bias_hh"] if module.bias else [])
    prefix = f"{name}." if name else ""
    for layer in range(module.num_layers):
        for direction, suffix in enumerate(suffixes):
            numbers = (layer * directions + direction) * size + units
            place = f"_l{layer}{suffix}"
            for tensor in tensors:
                yield Slice(
                    tensor=f"{prefix}{tensor}{place}",
                    axis=0,
                    indices=rows,
                    channels=numbers.repeat(gates),
                )
            yield Slice(tensor=f"{prefix}weight_hh{place}", axis=1, indices=units, channels=numbers)
            for receiver in suffixes if layer + 1 < module.num_layers else []:
                yield Slice(
                    tensor=f"{prefix}weight_ih_l{layer + 1}{receiver}",
                    axis=1,
                    indices=direction * size + units,
                    channels=numbers,
                )


def _marked(output: tuple[Any, Any], chosen: Tensor, directions: int) -> tuple[Any, Any]:
    """Mark the chosen units `[parts, size]` in a recurrent layer's outputs and last states."""
    states, last = output
    seen = chosen[-directions:].flatten()
    if isinstance(states, PackedSequence):
        states = states._replace(data=states.data.masked_fill(seen, torch.nan))
    else:
        states = states.masked_fill(seen, torch.nan)
    each = last if isinstance(last, tuple) else (last,)
    # Last states are [parts, B, size], or [parts, size] of a single sequence.
    marked = tuple(
        state.masked_fill(chosen[:, None] if state.dim() == 3 else chosen, torch.nan)
        for state in each
    )
    return states, marked if isinstance(last, tuple) else marked[0]
