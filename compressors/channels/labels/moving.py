"""Rules for operations that move values: the labels move along."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from compressors.channels.labels import facets
from compressors.channels.labels.facets import Facet
from compressors.channels.labels.trace import Trace, numbers

VIEWS = ("view", "unsafe_view", "reshape", "reshape_alias")
SAME = ("clone", "contiguous", "detach", "alias", "to_copy", "lift_fresh", "detach_copy")
MOVES = (
    *("permute", "transpose", "t", "expand", "unsqueeze", "squeeze", "select", "numpy_T", "flip"),
    *("roll", "repeat", "index_select", "index", "pixel_shuffle", "pixel_unshuffle"),
    *("unfold", "diagonal", "tile"),
    *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"),
    *("reflection_pad1d", "reflection_pad2d", "reflection_pad3d"),
    *("replication_pad1d", "replication_pad2d", "replication_pad3d"),
)
SPLITS = ("split", "split_with_sizes", "chunk", "unbind", "unsafe_split", "unsafe_chunk")


def same(trace: Trace, _func: Any, args: Any, _kwargs: Any, out: Tensor) -> None:
    """Hand on the facets of the first argument as they are."""
    trace.label(out, trace.of(args[0]))


def moved(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    """Do to the labels what was done to the values."""
    trace.label(out, [func(facet, *args[1:], **kwargs) for facet in trace.of(args[0])])


def viewed(trace: Trace, _func: Any, args: Any, _kwargs: Any, out: Tensor) -> None:
    """View the labels in the new shape; note the axis that is split, if one is."""
    found = []
    for facet in trace.of(args[0]):
        view = facets.folded(facet.reshape(out.shape))
        found.append(view)
        axes = sorted(facets.varying(view))
        if len(axes) > len(facets.varying(facet)) == 1:
            _note(trace.pieces, view, axes[0])
            _note(trace.runs, view, axes[-1])
    trace.label(out, found)


def shuffled(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    """Shuffle the labels between groups; note which are at equal places of the groups."""
    groups = args[1] if len(args) > 1 else kwargs["groups"]
    for facet in trace.of(args[0]):
        if facets.varying(facet) == {1}:
            rows = facets.without(facet, [a for a in range(facet.dim()) if a != 1])
            _note(trace.pieces, rows.view(groups, -1), 0)
    moved(trace, func, args, kwargs, out)


def _note(pairs: list[Any], facet: Facet, axis: int) -> None:
    small = facets.compact(facet)
    first = small.narrow(axis, 0, 1).expand(small.shape)
    pairs.append((numbers(small), numbers(first)))


def split(trace: Trace, func: Any, args: Any, kwargs: Any, out: Any) -> None:
    """Split the labels; note which of them are at equal places of the pieces."""
    found = [func(facet, *args[1:], **kwargs) for facet in trace.of(args[0])]
    for position, piece in enumerate(out):
        trace.label(piece, [pieces[position] for pieces in found])
    for pieces in found:
        for piece in pieces[1:]:
            _note_pair(trace, pieces[0], piece)


def sliced(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    """Slice the labels; note which of them are at equal places of slices of one tensor."""
    found = [func(facet, *args[1:], **kwargs) for facet in trace.of(args[0])]
    before = trace.slices.setdefault(args[0], [])
    for piece in found:
        for other in before:
            _note_pair(trace, other, piece)
    before += found
    trace.label(out, found)


def _note_pair(trace: Trace, one: Facet, other: Facet) -> None:
    if one.shape == other.shape:
        trace.pieces.append((numbers(one), numbers(other)))


def padded(trace: Trace, func: Any, args: Any, _kwargs: Any, out: Tensor) -> None:
    """Pad the labels with 0, no channel."""
    trace.label(out, [func(facet, args[1], 0) for facet in trace.of(args[0])])


def joined(trace: Trace, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
    """Concatenate the labels; unite those that run along another axis than that of the pieces."""
    tensors = args[0]
    axis = args[1] if len(args) > 1 else kwargs.get("dim", 0)
    stacked = func.overloadpacket.__name__ == "stack"
    parts = [next(iter(trace.of(t)), t.new_zeros(()).double().expand(t.shape)) for t in tensors]
    for tensor in tensors:
        if len(trace.of(tensor)) > 1:
            trace.freeze([tensor], "its channels are joined with others along two axes")
    across = [part if stacked else part.narrow(axis, 0, 1) for part in parts]
    for other in across[1:]:
        if facets.varying(across[0]) or facets.varying(other):
            trace.unite(across[0], other)
    trace.label(out, [func(parts, axis)])


MOVING: dict[str, Callable[..., None]] = {
    **dict.fromkeys(SAME, same),
    **dict.fromkeys(MOVES, moved),
    **dict.fromkeys(VIEWS, viewed),
    **dict.fromkeys(SPLITS, split),
    **dict.fromkeys(("channel_shuffle", "native_channel_shuffle"), shuffled),
    "slice": sliced,
    "constant_pad_nd": padded,
    "cat": joined,
    "stack": joined,
}
"""By the name of an operation, its rule: `(trace, operation, args, kwargs, result)`."""
