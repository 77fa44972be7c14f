"""The groups of channels of a model that can only be cut together (a layer over torch-pruning)."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compressors.attention import plain_attention
from compressors.base import Inputs, run
from compressors.importance import output_tensors


@dataclass(frozen=True, kw_only=True, eq=False)
class ChannelGroup:
    """Channels that are coupled through a network: cutting one cuts a slice of many weights."""

    name: str
    """The path of the layer whose output channels they are."""
    graph: Any
    root: nn.Module
    handler: Callable[..., Any]
    channels: int
    parts: int
    """The parts of equal size that the channels fall into, as in a grouped convolution."""
    slices: tuple[tuple[nn.Module, int, list[int], list[int]], ...]
    """Module, axis of its weight, indices on this axis, and the channels these belong to."""

    @property
    def size(self) -> int:
        """The channels that can be chosen: one stands for the same one of every part."""
        return self.channels // self.parts

    def score(self, weight_scores: Mapping[nn.Module, Tensor]) -> Tensor:
        """Return the sum of the scores of the weights that go with each channel, `[size]`."""
        total = torch.zeros(self.channels)
        for module, axis, indices, channels in self.slices:
            rows = weight_scores[module].movedim(axis, 0)
            by_index = rows.reshape(rows.shape[0], -1).sum(1)[indices]
            total.index_add_(0, torch.tensor(channels), by_index.cpu().float())
        return total.view(self.parts, self.size).sum(0)

    def cut(self, chosen: Iterable[int]) -> None:
        """Cut the chosen channels, each in [0, size), out of every layer of the group."""
        indices = [part * self.size + i for part in range(self.parts) for i in sorted(chosen)]
        self.graph.get_pruning_group(self.root, self.handler, indices).prune()


def channel_groups(model: nn.Module, example: Inputs) -> list[ChannelGroup]:
    """Return the groups of a model that can be cut, with all parameters requiring a gradient.

    The channels of its outputs are no such group, nor are those that run through torch's own
    attention layers, or that belong to a tied weight.
    """
    from torch_pruning import DependencyGraph  # costs a second to import

    graph = DependencyGraph()
    with plain_attention(), torch.enable_grad():
        graph.build_dependency(model, example, forward_fn=run, verbose=False)
        kept = [*output_layers(model, example), *_tied(model), *_attention(model)]
    names = {module: name for name, module in model.named_modules()}
    found = graph.get_all_groups(ignored_layers=kept, root_module_types=(_ConvNd, nn.Linear))
    groups = [_group(graph, names, items) for items in found]
    return [group for group in groups if group.size > 1]


def output_layers(model: nn.Module, example: Inputs) -> list[nn.Module]:
    """Return the layers whose channels are the outputs' channels.

    These are the convolution and linear layers that are met first on the way back from the
    outputs through autograd's graph; the parameters must require a gradient.
    """
    made_by: dict[Any, nn.Module] = {}

    def record(module: nn.Module, _args: Any, output: Tensor) -> None:
        made_by[output.grad_fn] = module

    layers = [module for module in model.modules() if isinstance(module, _ConvNd | nn.Linear)]
    handles = [module.register_forward_hook(record) for module in layers]
    try:
        outputs = run(model, example)
    finally:
        for handle in handles:
            handle.remove()
    found: list[nn.Module] = []
    waiting = [tensor.grad_fn for tensor in output_tensors(outputs)]
    seen: set[Any] = set()
    while waiting:
        step = waiting.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        if step in made_by:
            found.append(made_by[step])
        else:
            waiting.extend(before for before, _ in step.next_functions)
    return found


def _tied(model: nn.Module) -> list[nn.Module]:
    users: dict[int, list[nn.Module]] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            users.setdefault(id(parameter), []).append(module)
    return [module for modules in users.values() if len(modules) > 1 for module in modules]


def _attention(model: nn.Module) -> list[nn.Module]:
    return [
        m
        for module in model.modules()
        if isinstance(module, nn.MultiheadAttention)
        for m in module.modules()
    ]


def _group(graph: Any, names: Mapping[nn.Module, str], items: Any) -> ChannelGroup:
    root_dependency, root_indices = items[0]
    root = root_dependency.target.module
    slices = []
    parts = 1
    for item in items:
        dependency, indices = item
        module = dependency.target.module
        weight = getattr(module, "weight", None)
        if not isinstance(module, nn.Module) or not isinstance(weight, Tensor):
            continue
        inward = not graph.is_out_channel_pruning_fn(dependency.handler)
        parts = math.lcm(parts, _parts(graph, module, inward=inward))
        axis = _axis(module, inward=inward)
        # The inputs of a grouped convolution have no axis of their own in its weight.
        if max(indices) < weight.shape[axis] and None not in item.root_idxs:
            slices.append((module, axis, list(indices), list(item.root_idxs)))
    return ChannelGroup(
        name=names[root],
        graph=graph,
        root=root,
        handler=root_dependency.handler,
        channels=len(root_indices),
        parts=parts,
        slices=tuple(slices),
    )


def _axis(module: nn.Module, *, inward: bool) -> int:
    """Return the axis of a module's weight that its input or output channels lie on."""
    if isinstance(module, nn.Embedding):
        return 1
    transposed = isinstance(module, _ConvNd) and module.transposed
    return int(inward != transposed)


def _parts(graph: Any, module: nn.Module, *, inward: bool) -> int:
    if isinstance(module, _ConvNd) and module.groups == module.out_channels:
        return 1  # depthwise: each channel is a part of its own, and any can go
    pruner = graph.get_pruner_of_module(module)
    parts = (
        pruner.get_in_channel_groups(module) if inward else pruner.get_out_channel_groups(module)
    )
    return int(parts)
