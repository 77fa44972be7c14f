"""Rules for operations on each value alone: labels at one place are united."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from compressors.channels.labels import facets
from compressors.channels.labels.facets import Facet
from compressors.channels.labels.trace import Trace


def elementwise(trace: Trace, func: Any, args: Any, kwargs: Any, out: Any) -> None:
    """Unite the labels of operands that are broadcast to one shape; freeze those of others."""
    leaves = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
    operands = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    labelled = [tensor for tensor in operands if trace.of(tensor)]
    shape = leaves[0].shape if leaves else None
    if shape is None or not all(_broadcasts(tensor, shape) for tensor in labelled):
        name = func.overloadpacket.__name__
        trace.freeze(labelled, f"its channels run through the operation {name}, unfollowed,")
        return
    wide = [[facets.broadcast(f, shape) for f in trace.of(tensor)] for tensor in labelled]
    found = _united(trace, wide)
    for leaf in leaves:
        if leaf.shape == shape:
            trace.label(leaf, found)


def _broadcasts(tensor: Tensor, shape: Any) -> bool:
    sizes = zip(reversed(tensor.shape), reversed(shape), strict=False)
    return tensor.dim() <= len(shape) and all(size in (1, wide) for size, wide in sizes)


def _united(trace: Trace, operands: list[list[Facet]]) -> list[Facet]:
    """Return all facets of the operands, those that run along common axes united."""
    found: list[Facet] = []
    for operand in operands:
        for facet in operand:
            for other in found:
                if facets.varying(facet) & facets.varying(other):
                    trace.unite(facet, other)
        found += operand
    return found


def normalised(trace: Trace, _func: Any, args: Any, _kwargs: Any, out: Any) -> None:
    """Unite the channels of axis 1 with the weights, biases and statistics `[C]` of a norm."""
    inputs, *others = (a for a in args if isinstance(a, Tensor))
    own = [
        [facets.along(facet, 1, inputs.shape) for facet in trace.of(tensor)]
        for tensor in others
        if tensor.dim() == 1 and len(tensor) == inputs.shape[1]
    ]
    trace.label(out[0], _united(trace, [trace.of(inputs), *own]))


ELEMENTWISE: dict[str, Callable[..., None]] = dict.fromkeys(
    (
        *("native_batch_norm", "native_batch_norm_legit", "native_batch_norm_legit_no_training"),
        *("cudnn_batch_norm", "miopen_batch_norm", "native_group_norm", "batch_norm_impl_index"),
    ),
    normalised,
)
"""By the name of an operation, its rule; `elementwise` is the rule of all without one."""
