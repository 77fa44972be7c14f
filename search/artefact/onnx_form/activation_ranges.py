"""The ranges of a graph's activations that are rounded to integers, from calibration data."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from search.artefact.onnx_form.export import Feeds
from search.artefact.onnx_form.outside import session_source

Ranges = dict[str, tuple[float, float]]
"""Lowest and highest value by the name of the activation."""

BINS = 2048
SAMPLES_PER_RUN = 8
"""Samples of one run, of which all wanted activations are in memory."""
PERCENTILE = 99.99
"""Largest share of the values, in percent, below the upper end, and likewise above the lower."""
SHRINK_FACTORS = np.linspace(0.2, 1.0, 81)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Data and how ranges are taken from them."""

    batches: Sequence[Feeds]
    """Batches of the graph's inputs, each `[B, ...]`."""
    method: str
    """`minmax` takes all values, `percentile` omits the outermost 0.01 % at either end, `mse`
    takes the range of least squared error after rounding."""


@dataclass(frozen=True, kw_only=True)
class _Histogram:
    """How many values of one activation are in each of `BINS` equal bins of its range."""

    counts: NDArray[np.int64]
    """[BINS]."""
    low: float
    high: float

    @property
    def edges(self) -> NDArray[np.float64]:
        """The ends `[BINS + 1]` of the bins."""
        return np.linspace(self.low, self.high, BINS + 1)


def activation_ranges(
    model: onnx.ModelProto,
    names: Collection[str],
    calibration: Calibration,
    *,
    steps: int = 255,
) -> Ranges:
    """Return the range of each activation within which its values are distinguished.

    Zero lies in every range; values beyond a range are clipped.

    Args:
        model: The graph in floats.
        names: Names of its activations.
        calibration: The batches, which are read twice unless the method is `minmax`.
        steps: Steps between the lowest and the highest value.
    """
    if not names:
        return {}
    read = _reader(model, sorted(names))
    ranges: Ranges = {}
    for name, values in _activations(read, calibration.batches):
        low, high = ranges.get(name, (0.0, 0.0))
        ranges[name] = (min(low, float(values.min())), max(high, float(values.max())))
    if calibration.method == "minmax":
        return ranges
    counts = {name: np.zeros(BINS, np.int64) for name in ranges}
    for name, values in _activations(read, calibration.batches):
        counts[name] += np.histogram(values, bins=BINS, range=ranges[name])[0]
    narrowed = {"percentile": _by_percentile, "mse": _by_squared_error}[calibration.method]
    histograms = {
        name: _Histogram(counts=counts[name], low=low, high=high)
        for name, (low, high) in ranges.items()
    }
    return {name: narrowed(histogram, steps) for name, histogram in histograms.items()}


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
        session_source(watched), options, providers=["CPUExecutionProvider"]
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
        for start in range(0, samples, SAMPLES_PER_RUN):
            part = {name: array[start : start + SAMPLES_PER_RUN] for name, array in batch.items()}
            yield from read(part).items()


def _by_percentile(histogram: _Histogram, steps: int) -> tuple[float, float]:
    edges, counts = histogram.edges, histogram.counts
    below = np.concatenate([[0], np.cumsum(counts)]) / max(1, counts.sum())
    # The outermost bins beyond which at most the allowed share of the values lies.
    lower = edges[np.searchsorted(below, 1 - PERCENTILE / 100, side="right") - 1]
    upper = edges[np.searchsorted(below, PERCENTILE / 100, side="left")]
    return min(float(lower), 0.0), max(float(upper), 0.0)


def _by_squared_error(histogram: _Histogram, steps: int) -> tuple[float, float]:
    low, high, edges = histogram.low, histogram.high, histogram.edges
    if high == low:
        return low, high
    centres = (edges[:-1] + edges[1:]) / 2
    # Zeros, which are most of the values after a rectifier, are never rounded.
    centres[(edges[:-1] <= 0) & (edges[1:] >= 0)] = 0

    def error(factor: float) -> float:
        scale = factor * (high - low) / steps
        lowest = np.rint(factor * low / scale)
        rounded = np.clip(np.rint(centres / scale), lowest, lowest + steps) * scale
        return float((histogram.counts * np.square(rounded - centres)).sum())

    best = min(SHRINK_FACTORS[::-1], key=error)
    return float(best * low), float(best * high)
