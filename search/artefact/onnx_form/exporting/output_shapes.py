"""Declare the shape of a graph's output, as seen on batches of different sizes."""

from collections.abc import Mapping, Sequence

import onnx

Observed = Sequence[tuple[Mapping[str, int], Sequence[int]]]
"""For each batch the sizes of the free axes by symbol, and the shape of the output."""


def declare_output(value: onnx.ValueInfoProto, observed: Observed) -> None:
    """Write the shape of an output into the graph, in place of what the exporter guessed.

    An axis that has the size of a free axis in every batch gets its symbol.

    Args:
        value: The output.
        observed: At least two batches that differ in the sizes of all free axes.
    """
    shape = value.type.tensor_type.shape
    del shape.dim[:]
    for axis, sizes in enumerate(zip(*(shape for _, shape in observed), strict=True)):
        symbols = [
            symbol
            for symbol in observed[0][0]
            if sizes == tuple(free[symbol] for free, _ in observed)
        ]
        if symbols:
            shape.dim.add(dim_param=symbols[0])
        elif len(set(sizes)) == 1:
            shape.dim.add(dim_value=sizes[0])
        else:
            shape.dim.add(dim_param=f"{value.name}_axis_{axis}")
