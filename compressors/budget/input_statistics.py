"""Squared norms of the input features that each weight multiplies, recorded as a model runs."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.rnn import PackedSequence

from compressors.models.hooks import forward_hooks
from compressors.weights.compressible import Weight

Found = Iterator[tuple[nn.Module, str, Tensor]]
"""Module, attribute of the weight, and sums of squares that broadcast to the weight's shape."""


INPUT_NAMES = ("input", "query", "key", "value")
"""Names of the inputs of torch's layers, in order."""


class InputSquares:
    """Records sums of squared input features of every weight while a model runs in this context.

    Sums are over all samples and positions of all calls. They are recorded for
    - linear layers `[O, I]`: each input feature, `[I]`;
    - convolutions `[O, I, *K]`: each input channel at each kernel position, `[O, I, *K]`: the
      inputs that this one entry multiplies, with padding and stride taken into account;
    - transposed convolutions `[I, O, *K]`: each input channel;
    - embeddings `[V, E]`: the number of look-ups of each row, as for one-hot inputs;
    - recurrent layers: the inputs of the first layer; a hidden state counts as 1 at each position,
      which is an upper bound for a tanh;
    - attention: query, key and value for the three parts of the in-projection; the input of the
      out-projection is hidden in torch's function and counts as 1 at each position.
    Layers that are not called as modules are not recorded.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._sums: dict[tuple[nn.Module, str], Tensor] = {}
        self._hooks = ExitStack()

    def __enter__(self) -> Self:
        self._hooks = forward_hooks(self._model.modules(), self._record, with_kwargs=True)
        return self

    def __exit__(self, *_error: object) -> None:
        self._hooks.close()

    def of(self, weight: Weight, unseen: float) -> Tensor:
        """Return the sums for a weight, in its shape `[R, ...]`, over every place that uses it.

        Args:
            weight: A weight of the model.
            unseen: The value everywhere for a weight none of whose places was recorded.
        """
        like = weight.value()
        seen = [self._sums[place] for place in weight.places if place in self._sums]
        if not seen:
            return torch.full_like(like, unseen)
        return torch.stack([squares.to(like).expand_as(like) for squares in seen]).sum(0)

    def _record(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], _output: Any
    ) -> None:
        named = [kwargs[name] for name in INPUT_NAMES if name in kwargs]
        for owner, attribute, squares in _squares(module, (*args, *named)):
            before = self._sums.get((owner, attribute))
            self._sums[owner, attribute] = squares if before is None else before + squares


def _squares(module: nn.Module, inputs: tuple[Any, ...]) -> Found:
    if isinstance(module, nn.Linear):
        yield module, "weight", _by_last_axis(inputs[0])
    elif isinstance(module, nn.Embedding):
        counts = torch.bincount(inputs[0].flatten(), minlength=module.num_embeddings)
        yield module, "weight", counts[:, None].float()
    elif isinstance(module, _ConvTransposeNd):
        yield module, "weight", _by_channel(inputs[0], len(module.kernel_size))
    elif isinstance(module, _ConvNd):
        yield module, "weight", _by_kernel_position(module, inputs[0])
    elif isinstance(module, nn.RNNBase):
        yield from _recurrent(module, inputs[0])
    elif isinstance(module, nn.MultiheadAttention):
        yield from _attention(module, inputs[:3])


def _by_last_axis(x: Tensor) -> Tensor:
    return x.detach().float().square().flatten(0, -2).sum(0) if x.dim() > 1 else x.float().square()


def _by_channel(x: Tensor, spatial: int) -> Tensor:
    """Return `[I, 1, ...]` of images `[B, I, ...]` or `[I, ...]` with some spatial axes."""
    by_channel = _by_last_axis(x.movedim(-spatial - 1, -1))
    return by_channel.view(-1, *[1] * (spatial + 1))


def _by_kernel_position(module: Any, x: Tensor) -> Tensor:
    """Return for each kernel entry `[O, I / groups, *K]` the sum over what it multiplies.

    It is the gradient of the summed outputs for squared inputs, of one kernel a group.
    """
    outputs, *rest = module.weight.shape
    with torch.enable_grad():
        kernel = torch.zeros(
            module.groups, *rest, dtype=x.dtype, device=x.device, requires_grad=True
        )
        summed = module._conv_forward(x.detach().square(), kernel, None).sum()
        (squares,) = torch.autograd.grad(summed, kernel)
    return squares.repeat_interleave(outputs // module.groups, 0)


def _recurrent(module: nn.RNNBase, x: Tensor | PackedSequence) -> Found:
    steps = x.data if isinstance(x, PackedSequence) else x
    first = _by_last_axis(steps)
    positions = first.new_tensor(steps.numel() // steps.shape[-1])
    for names in module._all_weights:
        for name in names:
            if "weight" in name:
                sees_input = name.startswith("weight_ih_l0")
                yield module, name, first if sees_input else positions


def _attention(module: nn.MultiheadAttention, inputs: tuple[Tensor, ...]) -> Found:
    query, key, value = (_by_last_axis(x) for x in inputs)
    width = module.embed_dim
    if module._qkv_same_embed_dim:
        parts = [squares.expand(width, -1) for squares in (query, key, value)]
        yield module, "in_proj_weight", torch.cat(parts)
    else:
        yield module, "q_proj_weight", query
        yield module, "k_proj_weight", key
        yield module, "v_proj_weight", value
    positions = query.new_tensor(inputs[0].numel() // inputs[0].shape[-1])
    yield module.out_proj, "weight", positions
