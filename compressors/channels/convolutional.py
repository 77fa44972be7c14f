"""Channels of convolution and linear layers that are coupled (a layer over torch-pruning)."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from compressors.base import Inputs, output_tensors, run
from compressors.channels.dependency_graph import RECURRENT, RecurrentWidths, opaque_recurrent
from compressors.channels.group import ChannelGroup, Slice
from compressors.channels.tracing import UntraceableError, first_layer_weights, norm_tensors
from compressors.models.fused_attention import plain_attention


def coupled_channels(
    model: nn.Module, example: Inputs
) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Return the groups of a model's convolution and linear channels, and by layer why it has none.

    All its parameters must require a gradient. The channels of the outputs are no such group.
    """
    from torch_pruning import DependencyGraph  # costs a second to import

    graph = DependencyGraph()
    with plain_attention(), opaque_recurrent(model), torch.enable_grad():
        types = {type(m) for m in model.modules() if isinstance(m, RECURRENT)}
        graph.build_dependency(
            model,
            example,
            forward_fn=run,
            customized_pruners={kind: RecurrentWidths() for kind in types},
            verbose=False,
        )
        last = output_layers(model, example)
    names = {module: name for name, module in model.named_modules()}
    left = {names[layer]: "its channels are those of the model's outputs" for layer in last}
    parameters = {id(p): name for name, p in model.named_parameters()}
    groups = []
    for items in graph.get_all_groups(root_module_types=(_ConvNd, nn.Linear, nn.Embedding)):
        targets = [item.dep.target.module for item in items if _is_output(graph, item)]
        made = [names[module] for module in targets if module in names]
        outward = [names[module] for module in targets if module in last]
        if outward:
            reason = f"its channels are coupled to those of {outward[0]}, which are the outputs"
            left |= {name: reason for name in made if name not in left}
            continue
        try:
            groups.append(_group(graph, names, parameters, items))
        except UntraceableError as reason:
            left |= dict.fromkeys(made, str(reason))
    return groups, left


def output_layers(model: nn.Module, example: Inputs) -> list[nn.Module]:
    """Return the layers whose channels are the outputs' channels.

    These are the convolution, linear and recurrent layers that are met first on the way back from
    the outputs through autograd's graph; the parameters must require a gradient.
    """
    made_by: dict[Any, nn.Module] = {}

    def record(module: nn.Module, _args: Any, output: Any) -> None:
        for tensor in output_tensors(output):
            made_by[tensor.grad_fn] = module

    layers = [m for m in model.modules() if isinstance(m, (_ConvNd, nn.Linear, *RECURRENT))]
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
    return list(dict.fromkeys(found))


def _is_output(graph: Any, item: Any) -> bool:
    return bool(graph.is_out_channel_pruning_fn(item.dep.handler))


def _group(
    graph: Any, names: Mapping[nn.Module, str], parameters: Mapping[int, str], items: Any
) -> ChannelGroup:
    root_dependency, root_indices = items[0]
    found: list[tuple[str, int, Tensor, Tensor]] = []
    parts = 1
    for item in items:
        module = item.dep.target.module
        indices = torch.tensor(item.idxs)
        if isinstance(module, nn.Parameter):
            places = [(parameters[id(module)], int(item.dep.target.pruning_dim))]
        elif module in names:
            inward = not _is_output(graph, item)
            parts = math.lcm(parts, _parts(graph, module, inward=inward))
            own, indices = _places(module, indices, inward=inward)
            places = [(f"{names[module]}.{tensor}".lstrip("."), axis) for tensor, axis in own]
        else:
            continue  # an operation without weights
        if places and None in item.root_idxs:
            raise UntraceableError(f"its channels are not followed through {places[0][0]}")
        roots = torch.tensor(item.root_idxs)
        found += [(tensor, axis, indices, roots) for tensor, axis in places]
    size = len(root_indices) // parts
    return ChannelGroup(
        name=names[root_dependency.target.module],
        size=size,
        width=parts,
        slices=tuple(
            Slice(tensor=tensor, axis=axis, indices=indices, channels=roots % size)
            for tensor, axis, indices, roots in found
        ),
    )


def _places(
    module: nn.Module, indices: Tensor, *, inward: bool
) -> tuple[list[tuple[str, int]], Tensor]:
    """Return the tensors of a module that have an axis for these channels, and the indices there.

    Raises:
        UntraceableError: the module is of a kind whose channels cannot be cut.
    """
    if isinstance(module, _ConvNd):
        return _convolution_places(module, indices, inward=inward)
    if isinstance(module, nn.Linear):
        outward = [("weight", 0), *([("bias", 0)] if module.bias is not None else [])]
        return [("weight", 1)] if inward else outward, indices
    if isinstance(module, nn.Embedding):
        return [("weight", 1)], indices
    if isinstance(module, nn.PReLU):
        return [("weight", 0)] if module.num_parameters > 1 else [], indices
    if isinstance(module, nn.RNNBase) and inward:
        return first_layer_weights(module), indices
    if isinstance(module, _NormBase | nn.LayerNorm | nn.RMSNorm | nn.GroupNorm):
        if isinstance(module, nn.LayerNorm | nn.RMSNorm) and len(module.normalized_shape) > 1:
            raise UntraceableError("its channels are normalised together with other axes")
        return norm_tensors(module), indices
    if isinstance(module, RECURRENT):
        raise UntraceableError(f"its channels are coupled to the states of an {_kind(module)}")
    if any(True for _ in module.parameters(recurse=False)):
        raise UntraceableError(f"its channels run through an {_kind(module)}")
    return [], indices


def _convolution_places(
    module: _ConvNd, indices: Tensor, *, inward: bool
) -> tuple[list[tuple[str, int]], Tensor]:
    if module.transposed and module.groups > 1:
        raise UntraceableError("its channels run through a grouped transposed convolution")
    if inward and module.groups != module.out_channels:
        # A grouped convolution has one column for the same channel of every group.
        columns = indices % (module.in_channels // module.groups)
        return [("weight", int(not module.transposed))], columns
    outward = [("weight", int(module.transposed))]
    return outward + ([("bias", 0)] if module.bias is not None else []), indices


def _kind(module: nn.Module) -> str:
    return type(module).__name__


def _parts(graph: Any, module: nn.Module, *, inward: bool) -> int:
    if isinstance(module, _ConvNd) and module.groups == module.out_channels:
        return 1  # depthwise: each channel is a part of its own, and any can go
    pruner = graph.get_pruner_of_module(module)
    parts = (
        pruner.get_in_channel_groups(module) if inward else pruner.get_out_channel_groups(module)
    )
    return int(parts)
