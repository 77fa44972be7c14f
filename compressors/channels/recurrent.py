"""The hidden units of LSTM, GRU and plain recurrent layers as channels that can be cut."""

from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from compressors.base import Inputs
from compressors.channels.group import ChannelGroup, Slice, UntraceableError
from compressors.channels.layer_axes import GATES
from compressors.channels.tracing import Producer, trace_channels


def recurrent_units(model: nn.Module, example: Inputs, name: str) -> ChannelGroup:
    """Return the hidden units of a recurrent layer with all that goes with them.

    A unit is a row of every gate of `weight_ih`, `weight_hh` and the biases, a column of
    `weight_hh`, and columns of what receives its state: the next layer of the stack and layers
    outside. Every layer and direction keeps the same number of units, each its own choice, since
    torch's modules have one `hidden_size`.

    Args:
        model: The model, unchanged afterwards.
        example: One batch of inputs `[B, ...]`, on the model's device.
        name: Path of the recurrent layer, an `nn.RNNBase`.

    Raises:
        UntraceableError: the states go where columns cannot be cut, or are projected.
    """
    module = cast(nn.RNNBase, model.get_submodule(name))
    if module.proj_size:
        raise UntraceableError("its states are projected (proj_size)")
    parts = module.num_layers * _directions(module)
    producer = Producer(
        module=module,
        channels=parts * module.hidden_size,
        mark=partial(_mark_states, directions=_directions(module)),
    )
    outside = trace_channels(model, example, producer)
    return ChannelGroup(
        name=name,
        size=module.hidden_size,
        parts=parts,
        slices=(*_own_slices(name, module), *outside),
    )


def _directions(module: nn.RNNBase) -> int:
    return 1 + module.bidirectional


def _own_slices(name: str, module: nn.RNNBase) -> Iterator[Slice]:
    """Yield the rows and columns of a recurrent layer's own tensors."""
    size, gates = module.hidden_size, GATES[module.mode]
    units = torch.arange(size)
    rows = (torch.arange(gates)[:, None] * size + units).flatten()
    tensors = ["weight_ih", "weight_hh"] + (["bias_ih", "bias_hh"] if module.bias else [])
    suffixes = ["", "_reverse"][: _directions(module)]
    prefix = f"{name}." if name else ""
    for layer in range(module.num_layers):
        for direction, suffix in enumerate(suffixes):
            part = layer * len(suffixes) + direction
            channels = part * size + units
            for tensor in tensors:
                yield Slice(
                    tensor=f"{prefix}{tensor}_l{layer}{suffix}",
                    axis=0,
                    indices=rows,
                    channels=channels.repeat(gates),
                )
            columns = [(f"weight_hh_l{layer}{suffix}", units)]
            if layer + 1 < module.num_layers:
                inputs = direction * size + units
                columns += [(f"weight_ih_l{layer + 1}{s}", inputs) for s in suffixes]
            for tensor, indices in columns:
                yield Slice(tensor=prefix + tensor, axis=1, indices=indices, channels=channels)


def _mark_states(output: tuple[Any, Any], chosen: Tensor, *, directions: int) -> tuple[Any, Any]:
    """Mark the chosen units `[parts * size]` in a recurrent layer's outputs and last states."""
    states, last = output
    last_states = last if isinstance(last, tuple) else (last,)
    units = chosen.view(-1, last_states[0].shape[-1])
    in_outputs = units[-directions:].flatten()
    if isinstance(states, PackedSequence):
        states = states._replace(data=states.data.masked_fill(in_outputs, torch.nan))
    else:
        states = states.masked_fill(in_outputs, torch.nan)
    # Last states are [parts, B, size], or [parts, size] of a single sequence.
    marked = tuple(
        state.masked_fill(units[:, None] if state.dim() == 3 else units, torch.nan)
        for state in last_states
    )
    return states, marked if isinstance(last, tuple) else marked[0]
