"""Rules for operations that make new channels of others: convolutions, products, tables, sums."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from compressors.channels.labels import facets
from compressors.channels.labels.facets import Facet
from compressors.channels.labels.trace import Trace

COMPUTED = "its channels enter a weight that is computed (by a parametrisation, a hook or code)"


def _axis_labels(trace: Trace, tensor: Any, axis: int) -> Tensor | None:
    """Return the labels `[N]` along one axis of a tensor, united along the others; or None."""
    for facet in trace.of(tensor):
        if axis in facets.varying(facet):
            others = [a for a in facets.varying(facet) if a != axis]
            trace.unite_along(facet, others)
            return facets.without(facet, [a for a in range(facet.dim()) if a != axis])
    return None


def convolution(trace: Trace, _func: Any, args: Any, _kwargs: Any, out: Tensor) -> None:
    """Unite inputs with columns, or with rows if depthwise; the outputs have the rows' labels."""
    inputs, weight, bias = args[:3]
    transposed, groups = args[6], args[8]
    rows = _axis_labels(trace, weight, 1 if transposed else 0)
    columns = _axis_labels(trace, weight, 0 if transposed else 1)
    entering = _axis_labels(trace, inputs, 1)
    if groups > 1 and weight.shape[1] == 1:  # depthwise, with one or more rows for each input
        rows = rows if rows is not None else columns
        columns = None if rows is None else rows.view(inputs.shape[1], -1)[:, 0]
        if rows is not None:
            trace.unite_along(rows.view(inputs.shape[1], -1), [1])
    elif groups > 1 and transposed:
        trace.freeze([inputs, weight], "its channels meet a grouped transposed convolution")
        return
    elif groups > 1:  # every group loses the same of its inputs and of its outputs
        columns = None if columns is None else columns.repeat(groups)
        if rows is not None:
            trace.unite_along(rows.view(groups, -1), [0])
    if entering is not None and columns is not None:
        trace.unite(entering, columns)
    else:
        trace.hold(entering, COMPUTED)
    _with_bias(trace, bias, rows, 1, out)


def _with_bias(trace: Trace, bias: Any, rows: Tensor | None, axis: int, out: Tensor) -> None:
    """Label the outputs of a layer along one axis, the entries of its bias with them."""
    found = _axis_labels(trace, bias, bias.dim() - 1) if isinstance(bias, Tensor) else None
    if rows is not None and found is not None:
        trace.unite(rows, found)
    labels = found if rows is None else rows
    trace.label(out, [] if labels is None else [facets.along(labels, axis, out.shape)])


def product(trace: Trace, _func: Any, args: Any, _kwargs: Any, out: Tensor) -> None:
    """Unite what a matrix product sums over; the rest of both factors labels the outputs."""
    one, other = args[-2], args[-1]
    inner = [_axis_labels(trace, one, one.dim() - 1), _axis_labels(trace, other, other.dim() - 2)]
    if inner[0] is not None and inner[1] is not None:
        trace.unite(inner[0], inner[1])
    else:
        trace.hold(inner[0], COMPUTED)
        trace.hold(inner[1], "its channels meet values that are no channels")
    found = _kept(trace, one, one.dim() - 1, out) + _kept(trace, other, other.dim() - 2, out)
    if len(args) == 3:
        for facet in trace.of(args[0]):
            wide = facet.expand(out.shape)
            for kept in found:
                if facets.varying(facets.folded(wide)) == facets.varying(facets.folded(kept)):
                    trace.unite(wide, kept)
            found.append(wide)
    trace.label(out, found)


def _kept(trace: Trace, factor: Tensor, inner: int, out: Tensor) -> list[Facet]:
    """Return, in the outputs' shape, a factor's facets that do not run along the inner axis."""
    outer = [facet for facet in trace.of(factor) if inner not in facets.varying(facet)]
    return [facet.narrow(inner, 0, 1).expand(out.shape) for facet in outer]


def table(trace: Trace, _func: Any, args: Any, _kwargs: Any, out: Tensor) -> None:
    """Label the entries of an embedding by its columns."""
    labels = _axis_labels(trace, args[0], 1)
    trace.label(out, [] if labels is None else [facets.along(labels, out.dim() - 1, out.shape)])


def reduced(trace: Trace, _func: Any, args: Any, kwargs: Any, out: Any) -> None:
    """Hand on the labels that are equal along the reduced axes; others end in a statistic."""
    inputs, first = args[0], out[0] if isinstance(out, Sequence | tuple) else out
    axes = _axes(inputs, args, kwargs, first)
    keep = first.dim() == inputs.dim()
    found = [
        facets.without(facet, axes, keep=keep)
        for facet in trace.of(inputs)
        if not facets.varying(facet) & set(axes)
    ]
    for tensor in out if isinstance(out, tuple) else (out,):
        if tensor.shape == first.shape:
            trace.label(tensor, found)


def _axes(inputs: Tensor, args: Any, kwargs: Any, out: Tensor) -> list[int]:
    given = [a for a in (*args[1:], kwargs.get("dim")) if _is_axes(a, inputs)]
    if not given or inputs.dim() == 0:
        return list(range(inputs.dim()))
    axes = [given[0]] if isinstance(given[0], int) else list(given[0])
    return [axis % inputs.dim() for axis in axes] or list(range(inputs.dim()))


def _is_axes(value: Any, inputs: Tensor) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return -inputs.dim() <= value < inputs.dim()
    return isinstance(value, list | tuple)


def pooled(trace: Trace, func: Any, args: Any, _kwargs: Any, out: Any) -> None:
    """Hand on labels through an operation on the axes of space, along which they are united."""
    inputs, first = args[0], out[0] if isinstance(out, tuple) else out
    space = next(int(c) for c in reversed(func.overloadpacket.__name__) if c in "123")
    axes = range(inputs.dim() - space, inputs.dim())
    found = []
    for facet in trace.of(inputs):
        trace.unite_along(facet, [a for a in facets.varying(facet) if a in axes])
        found.append(facets.without(facet, axes, keep=True).expand(first.shape))
    trace.label(first, found)


REDUCTIONS = (
    *("mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "prod"),
    *("norm", "linalg_vector_norm", "logsumexp", "any", "all", "argmax", "argmin", "median"),
)
_POOLED = ("avg_pool", "adaptive_avg_pool", "max_pool", "adaptive_max_pool")
POOLS = (
    *(f"{kind}{n}d{end}" for n in "123" for kind in _POOLED for end in ("", "_with_indices")),
    *("upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d"),
)

MIXING: dict[str, Callable[..., None]] = {
    **dict.fromkeys(REDUCTIONS, reduced),
    **dict.fromkeys(POOLS, pooled),
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm"), product),
    "convolution": convolution,
    "embedding": table,
}
"""By the name of an operation, its rule: `(trace, operation, args, kwargs, result)`."""
