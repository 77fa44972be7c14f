"""Groups of channels by the labels that one run of a model unites."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.conv import _ConvNd

from compressors.base import Inputs, output_tensors
from compressors.channels.group import ChannelGroup, Slice
from compressors.channels.labels import facets
from compressors.channels.labels.elementwise import ELEMENTWISE, elementwise
from compressors.channels.labels.equivalence import Equivalence, Labels
from compressors.channels.labels.mixing import MIXING
from compressors.channels.labels.moving import MOVING
from compressors.channels.labels.trace import Trace, numbers
from compressors.channels.layer_axes import output_axis
from compressors.models.copying import copy_model
from compressors.models.fused_attention import run_unfused
from compressors.models.hooks import running_modules

LAYERS = (_ConvNd, nn.Linear, nn.Embedding)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Positions:
    """The labels `[N]` of the positions of one axis of one tensor."""

    tensor: str
    names: tuple[str, ...]
    """All names of the tensor, which are several if it is shared."""
    axis: int
    labels: Labels


@dataclass(frozen=True, kw_only=True)
class LabelledChannels:
    """The groups that one reading of a run gives, and the channels that have to stay."""

    groups: tuple[ChannelGroup, ...]
    reasons: dict[str, str]
    """By the name of a layer, why its channels have to stay."""


def labelled_channels(
    model: nn.Module, example: Inputs, computed: Iterable[nn.Module]
) -> list[LabelledChannels]:
    """Return groups of channels, in three readings of a view or split of an axis of channels.

    The pieces lose channels independently; or all lose channels at the same places; or, where a
    view splits an axis, whole pieces go. Which is right is for the caller to verify.

    Args:
        model: The model, unchanged afterwards.
        example: One batch of inputs `[B, ...]`, on the model's device.
        computed: Modules whose tensors are not what they compute with.
    """
    left = {name for name, module in model.named_modules() if module in set(computed)}
    copy = copy_model(model).cpu()
    trace = Trace({**MOVING, **MIXING, **ELEMENTWISE}, elementwise)
    positions = list(_labelled_tensors(copy, trace, left))
    with running_modules(copy, trace.where), sdpa_kernel(SDPBackend.MATH), trace.watching():
        outputs = run_unfused(copy, _on_cpu(example))
    for facet in (facet for tensor in output_tensors(outputs) for facet in trace.of(tensor)):
        trace.labels.freeze(numbers(facet), "its channels are those of the model's outputs")
    return [
        _grouped(copy, positions, trace.labels.with_united(pairs))
        for pairs in ((), trace.pieces, trace.runs)
    ]


def _on_cpu(inputs: Inputs) -> Inputs:
    if isinstance(inputs, Tensor):
        return inputs.cpu()
    if isinstance(inputs, tuple):
        return tuple(tensor.cpu() for tensor in inputs)
    return {name: tensor.cpu() for name, tensor in inputs.items()}


def _labelled_tensors(model: nn.Module, trace: Trace, left: set[str]) -> Iterator[_Positions]:
    """Label every axis of every parameter and buffer that channels can stand on."""
    names: dict[Tensor, list[str]] = {}
    for held in (model.named_parameters, model.named_buffers):
        for name, tensor in held(remove_duplicate=False):
            names.setdefault(tensor, []).append(name)
    for tensor, shared in names.items():
        name, module = shared[0], shared[0].rpartition(".")[0]
        if any(f"{one}.".startswith(f"{path}.") for one in shared for path in left if path):
            continue
        found = []
        own = isinstance(model.get_submodule(module), _ConvNd)
        for axis in range(min(2, tensor.dim()) if own else tensor.dim()):
            if tensor.shape[axis] > 1:
                labels = trace.labels.new(tensor.shape[axis])
                found.append(facets.along(torch.from_numpy(labels), axis, tensor.shape))
                yield _Positions(tensor=name, names=tuple(shared), axis=axis, labels=labels)
        trace.label(tensor, found)


def _grouped(
    model: nn.Module, positions: list[_Positions], labels: Equivalence
) -> LabelledChannels:
    """Return the channels of layers that have a channel in common, as one group each."""
    frozen = labels.frozen()
    layers = {p.tensor: labels.root(p.labels) for p in positions if _is_output(model, p)}
    reasons: dict[str, str] = {}
    together: dict[str, list[str]] = {}
    first: dict[int, str] = {}
    for name, roots in layers.items():
        members = together.setdefault(name, [name])
        for root in np.unique(roots).tolist():
            if root in frozen:
                reasons.setdefault(name.rpartition(".")[0], frozen[root])
                continue
            others = together[first.setdefault(root, name)]
            if others is not members:
                others += members
                together |= dict.fromkeys(members, others)
                members = others
    groups = []
    for members in {id(names): names for names in together.values()}.values():
        free = [r for r in _ordered(layers[name] for name in members) if r not in frozen]
        if free:
            groups.append(_group(members[0], free, positions, labels, layers))
    return LabelledChannels(groups=tuple(groups), reasons=reasons)


def _is_output(model: nn.Module, position: _Positions) -> bool:
    path, _, attribute = position.tensor.rpartition(".")
    module = model.get_submodule(path)
    return (
        isinstance(module, LAYERS)
        and attribute == "weight"
        and position.axis == output_axis(module)
    )


def _ordered(rows: Iterable[Labels]) -> list[int]:
    return list(dict.fromkeys(root for row in rows for root in row.tolist()))


def _group(
    first: str,
    free: list[int],
    positions: list[_Positions],
    labels: Equivalence,
    layers: dict[str, Labels],
) -> ChannelGroup:
    channel_of = {root: channel for channel, root in enumerate(free)}
    slices = []
    counts: dict[int, int] = defaultdict(int)
    for position in positions:
        roots = labels.root(position.labels).tolist()
        indices = [i for i, root in enumerate(roots) if root in channel_of]
        if indices:
            channels = [channel_of[roots[i]] for i in indices]
            slices += [
                Slice(
                    tensor=name,
                    axis=position.axis,
                    indices=torch.tensor(indices),
                    channels=torch.tensor(channels),
                )
                for name in position.names
            ]
    for root in layers[first].tolist():
        counts[root] += 1
    width = min(counts[root] for root in free if root in counts)
    return ChannelGroup(
        name=first.rpartition(".")[0], size=len(free), width=width, slices=tuple(slices)
    )
