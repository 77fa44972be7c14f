"""The ranges that a graph's activations are given when they are rounded, from calibration data."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

Feeds = Mapping[str, NDArray[np.generic]]
Ranges = dict[str, tuple[float, float]]

BINS = 2048
SAMPLES_A_RUN = 8
"""All wanted activations of a run are held in memory."""
PERCENTILE = 99.99
"""At most this share of the values, in percent, may lie below the upper end, and likewise above
the lower."""
SHRINK_FACTORS = np.linspace(0.2, 1.0, 81)


def activation_ranges(
    model: onnx.ModelProto,
    names: Collection[str],
    batches: Iterable[Feeds],
    *,
    method: str,
    steps: int = 255,
) -> Ranges:
    """Return the lowest and highest value of each activation that is to be told apart.

    Zero lies in every range; what lies beyond one is clipped.

    Args:
        model: The graph in floats.
        names: Of its activations.
        batches: Of its inputs; they are gone through twice, unless for `minmax`.
        method: `minmax` takes all values, `percentile` leaves out the outermost 0.01 % at either
            end, `mse` takes the range of least squared error after rounding.
        steps: Between the lowest and the highest.
    """
    if not names:
        return {}
    batches = list(batches)
    read = _reader(model, sorted(names))
    ranges: Ranges = {}
    for name, values in _activations(read, batches):
        low, high = ranges.get(name, (0.0, 0.0))
        ranges[name] = (min(low, float(values.min())), max(high, float(values.max())))
    if method == "minmax":
        return ranges
    counts = {name: np.zeros(BINS, np.int64) for name in ranges}
    for name, values in _activations(read, batches):
        counts[name] += np.histogram(values, bins=BINS, range=ranges[name])[0]
    narrowed = {"percentile": _by_percentile, "mse": _by_squared_error}[method]
    return {name: narrowed(counts[name], *ranges[name], steps) for name in ranges}


def _reader(
    model: onnx.ModelProto, names: Sequence[str]
) -> Callable[[Feeds], dict[str, NDArray[np.float32]]]:
    """Return a function from inputs to the activations of these names."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    inputs = {value.name for value in model.graph.input}
    del watched.graph.output[:]
    inside = [name for name in names if name not in inputs]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inside or names[:1])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def read(feeds: Feeds) -> dict[str, NDArray[np.float32]]:
        # An empty list of names would ask for all outputs.
        found = dict(zip(inside, session.run(inside, feeds), strict=True)) if inside else {}
        return found | {name: feeds[name] for name in names if name in inputs}

    return read


def _activations(
    read: Callable[[Feeds], dict[str, NDArray[np.float32]]], batches: Iterable[Feeds]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for batch in batches:
        samples = len(next(iter(batch.values())))
        for start in range(0, samples, SAMPLES_A_RUN):
            part = {name: array[start : start + SAMPLES_A_RUN] for name, array in batch.items()}
            yield from read(part).items()


def _by_percentile(
    counts: NDArray[np.int64], low: float, high: float, steps: int
) -> tuple[float, float]:
    edges = np.linspace(low, high, BINS + 1)
    below = np.concatenate([[0], np.cumsum(counts)]) / max(1, counts.sum())
    # The outermost bins beyond which at most the allowed share of the values lies.
    lower = edges[np.searchsorted(below, 1 - PERCENTILE / 100, side="right") - 1]
    upper = edges[np.searchsorted(below, PERCENTILE / 100, side="left")]
    return min(float(lower), 0.0), max(float(upper), 0.0)


def _by_squared_error(
    counts: NDArray[np.int64], low: float, high: float, steps: int
) -> tuple[float, float]:
    if high == low:
        return low, high
    edges = np.linspace(low, high, BINS + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    # Zeros, of which a rectifier makes most of the values, are never rounded.
    centres[(edges[:-1] <= 0) & (edges[1:] >= 0)] = 0

    def error(factor: float) -> float:
        scale = factor * (high - low) / steps
        lowest = np.rint(factor * low / scale)
        rounded = np.clip(np.rint(centres / scale), lowest, lowest + steps) * scale
        return float((counts * np.square(rounded - centres)).sum())

    best = min(SHRINK_FACTORS[::-1], key=error)
    return float(best * low), float(best * high)
