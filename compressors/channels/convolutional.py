"""Channels of convolution and linear layers that are coupled (a layer over torch-pruning)."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compressors.base import Inputs, output_tensors
from compressors.channels.dependency_graph import RecurrentWidths, opaque_recurrent
from compressors.channels.group import ChannelGroup, Slice, UntraceableError
from compressors.channels.layer_axes import RECURRENT, channel_axes, is_depthwise
from compressors.channels.output_layers import output_layers
from compressors.channels.training_branches import run_all_branches
from compressors.models.fused_attention import plain_attention

ROOTS = (_ConvNd, nn.Linear, nn.Embedding)
OUTPUTS = "its channels are those of the model's outputs"
"""Why the layers stay that make the outputs."""
FAILURES = (RuntimeError, ValueError, LookupError, AssertionError, AttributeError, TypeError)
"""What torch-pruning raises on models whose operations it does not know."""


class _PositionsError(ValueError):
    """A group of torch-pruning holds positions that do not exist."""


def coupled_channels(
    model: nn.Module, example: Inputs
) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Return the groups of a model's convolution and linear channels, and by layer why it has none.

    The channels of the model's outputs are no such group. Where torch-pruning fails, or gives
    positions that no tensor has, there is neither a group nor a reason.

    Args:
        model: A model whose parameters require a gradient, unchanged afterwards.
        example: One batch of inputs `[B, ...]`, on the model's device.
    """
    names = {module: name for name, module in model.named_modules()}
    with plain_attention(), opaque_recurrent(model), torch.enable_grad():
        last = output_layers(model, example, run_all_branches)
        try:
            graph = _dependency_graph(model, example)
        except FAILURES:
            graph = None
    skipped = {names[layer]: OUTPUTS for layer in last}
    if graph is None:
        return [], skipped
    traced = _TracedModel(
        graph=graph,
        modules=names,
        parameters={p: n for n, p in model.named_parameters()},
        tensors=dict((*model.named_parameters(remove_duplicate=False), *model.named_buffers())),
    )
    groups = []
    for items in _groups_of(graph):
        targets = [item.dep.target.module for item in items if traced.is_output(item)]
        producers = [names[module] for module in targets if module in names]
        outward = [names[module] for module in targets if module in last]
        if outward:
            reason = f"its channels are coupled to those of {outward[0]}, which are the outputs"
            skipped |= {name: reason for name in producers if name not in skipped}
            continue
        try:
            groups.append(_group(traced, items))
        except _PositionsError:
            continue
        except UntraceableError as reason:
            skipped |= dict.fromkeys(producers, str(reason))
    return groups, skipped


def _groups_of(graph: Any) -> Iterator[Any]:
    """Yield torch-pruning's groups, up to the first at which it fails."""
    groups = graph.get_all_groups(root_module_types=ROOTS)
    while True:
        try:
            yield next(groups)
        except (StopIteration, *FAILURES):
            return  # layers without a group are followed by labels


def _traceable_outputs(model: nn.Module, example: Inputs) -> list[Tensor]:
    """Return the tensors in the outputs, of any structure, that autograd can follow back."""
    return [t for t in output_tensors(run_all_branches(model, example)) if t.grad_fn is not None]


def _dependency_graph(model: nn.Module, example: Inputs) -> Any:
    from torch_pruning import DependencyGraph  # costs a second to import

    graph = DependencyGraph()
    types = {type(m) for m in model.modules() if isinstance(m, RECURRENT)}
    graph.build_dependency(
        model,
        example,
        forward_fn=_traceable_outputs,
        customized_pruners={kind: RecurrentWidths() for kind in types},
        verbose=False,
    )
    return graph


@dataclass(frozen=True, kw_only=True)
class _TracedModel:
    """The dependency graph of a model, and the names of what it refers to."""

    graph: Any
    modules: Mapping[nn.Module, str]
    parameters: Mapping[nn.Parameter, str]
    tensors: Mapping[str, Tensor]

    def is_output(self, item: Any) -> bool:
        """Tell whether an item of a group is about the outputs of its module."""
        return bool(self.graph.is_out_channel_pruning_fn(item.dep.handler))

    def parts(self, module: nn.Module, *, inward: bool) -> int:
        """Return the number of parts of a module that each lose the same number of channels."""
        if is_depthwise(module):
            return 1  # depthwise: each channel is a part of its own, and any can go
        pruner = self.graph.get_pruner_of_module(module)
        count = pruner.get_in_channel_groups if inward else pruner.get_out_channel_groups
        return int(count(module))


def _group(traced: _TracedModel, items: Any) -> ChannelGroup:
    """Return the channels of one of torch-pruning's groups, whose first item is the root."""
    root_dependency, root_indices = items[0]
    found: list[tuple[str, int, Tensor, Tensor]] = []
    parts = 1
    for item in items:
        module = item.dep.target.module
        if module in traced.modules:
            parts = math.lcm(parts, traced.parts(module, inward=not traced.is_output(item)))
        axes, indices = _axes(traced, item)
        if axes and None in item.root_idxs:
            raise UntraceableError(f"its channels are not followed through {axes[0][0]}")
        if axes:
            _check_positions(traced.tensors, axes, indices)
            roots = torch.tensor(item.root_idxs)
            found += [(tensor, axis, indices, roots) for tensor, axis in axes]
    size = len(root_indices) // parts
    return ChannelGroup(
        name=traced.modules[root_dependency.target.module],
        size=size,
        width=parts,
        slices=tuple(
            Slice(tensor=tensor, axis=axis, indices=indices, channels=roots % size)
            for tensor, axis, indices, roots in found
        ),
    )


def _check_positions(
    tensors: Mapping[str, Tensor], axes: list[tuple[str, int]], indices: Tensor
) -> None:
    """Raise `_PositionsError` where torch-pruning's positions `[N]` are not on an axis."""
    for name, axis in axes:
        if name not in tensors:
            raise _PositionsError(f"{name} is computed")
        if len(indices) and int(indices.max()) >= tensors[name].shape[axis]:
            raise _PositionsError(f"torch-pruning's positions on {name} do not exist")


def _axes(traced: _TracedModel, item: Any) -> tuple[list[tuple[str, int]], Tensor]:
    """Return the axes that an item is about, by tensor name, and the positions `[N]` on them."""
    module, indices = item.dep.target.module, torch.tensor(item.idxs)
    if isinstance(module, nn.Parameter):
        return [(traced.parameters[module], int(item.dep.target.pruning_dim))], indices
    if module not in traced.modules:
        return [], indices  # an operation without weights
    axes, indices = channel_axes(module, indices, inward=not traced.is_output(item))
    name = traced.modules[module]
    return [(f"{name}.{tensor}".lstrip("."), axis) for tensor, axis in axes], indices
