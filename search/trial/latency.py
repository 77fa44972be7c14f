"""Time an artefact beside the baseline's artefact, in turns, in one process."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from compressors.base import Inputs
from search.artefact.model_files import run_files
from search.artefact.onnx_form.export import feeds
from search.artefact.onnx_form.runtime import open_session
from search.utils.array_cache import ArrayCache
from search.utils.cpu import cpu_name
from search.utils.files import file_sha256

READING_SECONDS = 0.001
"""Least duration of a reading, which repeats the call. On six files the standard deviation of a
ratio between sessions was 0.002 to 0.004; with readings three times as long, 0.002 to 0.014."""
MIN_RESOLUTIONS = 20
"""Least duration of a reading in units of the clock's resolution."""
WARM_UP_CALLS = 5
MAX_SIZE_RATIO = 0.98
"""Ratio of a packed file to the baseline's packed file below which it is a gain in size."""
MAX_LATENCY_RATIO = 0.97
"""Latency ratio below which its upper end must be for a gain in speed."""
STANDARD_ERRORS = 2.0
"""Distance of the upper end of a ratio from the ratio, in standard errors."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """The CPU time of one call of an artefact, and its ratio to the baseline's."""

    latency_ms: float
    """CPU time of the candidate in milliseconds, median over rounds."""
    baseline_latency_ms: float
    """CPU time of the baseline in milliseconds, median over rounds."""
    ratio: float
    """Candidate over baseline, median over rounds."""
    spread: float
    """Standard error of the ratio: `0.93 IQR / sqrt(rounds)`, that of a median of normal values."""


def remembered_latency(
    cache: ArrayCache,
    candidate: Path,
    baseline: Path,
    measure: Callable[[], Latency],
    settings: Mapping[str, object],
) -> Latency:
    """Return the latency of the same two files on this machine, measured before or now.

    Otherwise noise would make a search with a fixed seed propose other recipes each time.

    Args:
        cache: Keeps the latencies.
        candidate: An ONNX file.
        baseline: The uncompressed model's ONNX file.
        measure: Measures the latency.
        settings: Everything that the latency depends on beside the files and the machine.
    """
    files = [file for path in (candidate, baseline) for file in run_files(path)]
    digests = [file_sha256(file) for file in files]
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

    The clock counts CPU time, not wall time, so that other programs disturb little: the time of
    this thread if `threads` is 1, of the process otherwise. Only the ratio is comparable between
    runs.

    Args:
        candidate: An ONNX file.
        baseline: The uncompressed model's ONNX file.
        example: A batch of inputs `[B, ...]`; it is cut or repeated to `batch_size`.
        hold_machine: Entered for the rounds only; files are loaded and warmed up before.
        batch_size: Examples per call.
        threads: Threads within an operator.
        rounds: Readings of each file.
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


def measure_alone(
    path: Path,
    inputs: Mapping[str, NDArray[np.generic]],
    *,
    batch_size: int,
    threads: int,
    rounds: int,
) -> float:
    """Return the CPU time of one call of an ONNX file in milliseconds, the median over rounds.

    Args:
        path: An ONNX file.
        inputs: By name, a batch `[B, ...]`; it is cut or repeated to `batch_size`.
        batch_size: Examples per call.
        threads: Threads within an operator.
        rounds: Readings.
    """
    resized = {name: _resized(array, batch_size) for name, array in inputs.items()}
    read = _reader(path, resized, threads)
    return float(1e3 * np.median([read() for _ in range(rounds)]))


def verdict(size_ratio: float, latency: Latency) -> str:
    """Return the gain of an artefact: in size, in speed, in both, or `simulated only`.

    Args:
        size_ratio: Bytes of the packed file over those of the baseline's packed file.
        latency: Latency beside the baseline.
    """
    gains = []
    if size_ratio < MAX_SIZE_RATIO:
        gains.append("size gain")
    if latency.ratio + STANDARD_ERRORS * latency.spread < MAX_LATENCY_RATIO:
        gains.append("speed gain")
    return " + ".join(gains) or "simulated only"


def _reader(
    path: Path, inputs: Mapping[str, NDArray[np.generic]], threads: int
) -> Callable[[], float]:
    """Return a function that takes a reading and returns the mean seconds of a call."""
    session = open_session(path, threads)
    one = threads == 1
    clock = time.thread_time if one else time.process_time
    resolution = time.get_clock_info("thread_time" if one else "process_time").resolution
    wanted = max(READING_SECONDS, MIN_RESOLUTIONS * resolution)

    def seconds(calls: int) -> float:
        start = clock()
        for _ in range(calls):
            session.run(None, inputs)
        return (clock() - start) / calls

    calls = 1
    seconds(WARM_UP_CALLS)
    while (taken := seconds(calls) * calls) < wanted:
        calls = max(2 * calls, math.ceil(calls * wanted / taken)) if taken > 0 else 2 * calls
    return lambda: seconds(calls)


def _resized(array: NDArray[np.generic], batch_size: int) -> NDArray[np.generic]:
    return np.ascontiguousarray(array[np.arange(batch_size) % len(array)])
