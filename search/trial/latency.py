"""Time an artefact beside the baseline's own, in turns, in one process."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from compressors.base import Inputs
from search.artefact.onnx_form.export import OUTPUT, feeds
from search.artefact.onnx_form.runtime import open_session
from search.utils.array_cache import ArrayCache
from search.utils.cpu import cpu_name

READING_SECONDS = 0.001
"""A reading repeats the call until it takes this long. On six files a ratio had a standard
deviation of 0.002 to 0.004 from one session to the next; with three times the length, of 0.002 to
0.014."""
RESOLUTIONS = 20
"""So many times the clock's resolution it takes at least."""
WARM_UP_CALLS = 5
SIZE_GAIN_BELOW = 0.98
"""A packed file below this share of the baseline's packed file is a gain in size."""
SPEED_GAIN_BELOW = 0.97
"""A latency ratio whose upper end lies below this is a gain in speed."""
ERRORS = 2.0
"""The upper end of a ratio lies this many standard errors above it."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """The CPU time of one call of an artefact, and its ratio to the baseline's."""

    latency_ms: float
    """Median over rounds."""
    baseline_latency_ms: float
    ratio: float
    """Median over rounds of candidate over baseline."""
    spread: float
    """Standard error of the ratio, `0.93 IQR / sqrt(rounds)`, as of a median of normal values."""


def remembered_latency(
    cache: ArrayCache,
    candidate: Path,
    baseline: Path,
    measure: Callable[[], Latency],
    settings: Mapping[str, object],
) -> Latency:
    """Return what was measured of the same two files on this machine before, or is measured now.

    Noise would otherwise make a search with a known seed propose other recipes each time.

    Arguments:
        cache: where latencies are kept.
        candidate: an ONNX file.
        baseline: the uncompressed model's ONNX file.
        measure: does it.
        settings: all that it depends on beside the files and the machine.
    """
    digests = [sha256(path.read_bytes()).hexdigest() for path in (candidate, baseline)]
    key = f"latency {digests} {dict(settings)} {cpu_name()} {onnxruntime.__version__}"
    kept = cache.get(key, lambda: {n: np.array(v) for n, v in asdict(measure()).items()})
    return Latency(**{name: float(value) for name, value in kept.items()})


def measure_latency(
    candidate: Path,
    baseline: Path,
    example: Inputs,
    *,
    hold_machine: Callable[[], AbstractContextManager[None]] = nullcontext,
    batch_size: int = 1,
    threads: int = 1,
    rounds: int = 30,
) -> Latency:
    """Time both files in turns, the order changing every round, and compare round by round.

    CPU time is read, not wall time, so that other programs disturb little: of this thread for one
    thread, of the process for several. Only the ratio may be compared between runs.

    Arguments:
        candidate: an ONNX file.
        baseline: the uncompressed model's ONNX file.
        example: a batch of inputs; it is cut or repeated to `batch_size`.
        hold_machine: entered for the rounds alone; files are loaded and warmed up before.
        batch_size: examples a call.
        threads: threads within an operator.
        rounds: readings of each file.
    """
    inputs = {name: _resized(array, batch_size) for name, array in feeds(example).items()}
    readers = [_reader(path, inputs, threads) for path in (candidate, baseline)]
    seconds = np.empty((rounds, 2))
    with hold_machine():
        for number in range(rounds):
            for place in (0, 1) if number % 2 == 0 else (1, 0):
                seconds[number, place] = readers[place]()
    ratios = seconds[:, 0] / seconds[:, 1]
    low, high = np.percentile(ratios, [25, 75])
    medians = 1e3 * np.median(seconds, axis=0)
    return Latency(
        latency_ms=float(medians[0]),
        baseline_latency_ms=float(medians[1]),
        ratio=float(np.median(ratios)),
        spread=float(0.93 * (high - low) / math.sqrt(rounds)),
    )


def verdict(size_ratio: float, latency: Latency) -> str:
    """Return what the artefact gains: in size, in speed, in both, or `simulated only`.

    Arguments:
        size_ratio: bytes of the packed file over those of the baseline's packed file.
        latency: as measured beside the baseline.
    """
    gains = []
    if size_ratio < SIZE_GAIN_BELOW:
        gains.append("size gain")
    if latency.ratio + ERRORS * latency.spread < SPEED_GAIN_BELOW:
        gains.append("speed gain")
    return " + ".join(gains) or "simulated only"


def _reader(
    path: Path, inputs: Mapping[str, NDArray[np.generic]], threads: int
) -> Callable[[], float]:
    """Return a function that gives the seconds of one call, averaged over one reading."""
    session = open_session(path, threads)
    one = threads == 1
    clock = time.thread_time if one else time.process_time
    resolution = time.get_clock_info("thread_time" if one else "process_time").resolution
    wanted = max(READING_SECONDS, RESOLUTIONS * resolution)

    def seconds(calls: int) -> float:
        start = clock()
        for _ in range(calls):
            session.run([OUTPUT], inputs)
        return (clock() - start) / calls

    calls = 1
    seconds(WARM_UP_CALLS)
    while (taken := seconds(calls) * calls) < wanted:
        calls = max(2 * calls, math.ceil(calls * wanted / taken)) if taken > 0 else 2 * calls
    return lambda: seconds(calls)


def _resized(array: NDArray[np.generic], batch_size: int) -> NDArray[np.generic]:
    return np.ascontiguousarray(array[np.arange(batch_size) % len(array)])
