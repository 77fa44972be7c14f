"""ONNX Runtime's own quantiser on a task's baseline, measured as a trial is.

    python -m benchmarks.onnxruntime_quantiser --task JSON --floats model.onnx --out FILE
        [--dynamic]

Networks of convolutions are quantised statically, once for each way to calibrate, transformers
dynamically. The files are packed with Paredown's packer, so that their size is that of what would
ship, too. Each line of the output has the name, score, test score, bytes and latency ratio.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from search.artefact.artefact import CALIBRATION_SAMPLES
from search.artefact.onnx_form.export import feeds
from search.artefact.onnx_form.runtime import predictor
from search.artefact.packed_form.packing import pack_file
from search.tasks.loading import load_task
from search.tasks.task import EvaluatedTask
from search.trial.latency import measure_latency
from search.trial.scoring import evaluate

METHODS = ("MinMax", "Entropy", "Percentile")
Feeds = Mapping[str, NDArray[Any]]


def quantised_statically(floats: Path, path: Path, samples: Iterable[Feeds], method: str) -> Path:
    """Write a file that runs in integers: QDQ, U8S8, one scale per channel.

    Args:
        floats: The ONNX file in floats.
        path: The file to write.
        samples: Inputs `[1, ...]` by name, for the calibration.
        method: One of `METHODS`.
    """
    prepared = path.with_suffix(".prepared.onnx")
    quant_pre_process(floats, prepared)
    quantize_static(
        prepared,
        path,
        _Reader(samples),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[method],
    )
    return path


def quantised_dynamically(floats: Path, path: Path) -> Path:
    """Write a file with signed weights, one scale per channel, and activations scaled per call."""
    quantize_dynamic(floats, path, per_channel=True, weight_type=QuantType.QInt8)
    return path


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Hands samples one by one to ONNX Runtime's calibrator."""

    def __init__(self, samples: Iterable[Feeds]) -> None:
        self._samples = iter(samples)

    def get_next(self) -> Feeds | None:
        return next(self._samples, None)


def calibration(task: EvaluatedTask) -> Iterator[Feeds]:
    """Yield as many training samples as Paredown calibrates on, `[1, ...]`."""
    left = CALIBRATION_SAMPLES
    for inputs, _ in task.train_batches(0):
        batch = feeds(inputs)
        count = min(left, len(next(iter(batch.values()))))
        for row in range(count):
            yield {name: array[row : row + 1] for name, array in batch.items()}
        left -= count
        if left == 0:
            return


def measured(task: EvaluatedTask, floats: Path, path: Path) -> dict[str, float]:
    """Return what a trial measures of a file, with its test score."""
    packed = path.with_suffix(".packed")
    pack_file(with_raw_data(path), packed, ())
    predict = predictor(path, task.outputs_like)
    return {
        "score": evaluate(predict, task.validation, task).value,
        "test_score": evaluate(predict, task.test, task).value,
        "size_bytes": packed.stat().st_size,
        "latency_ratio": measure_latency(path, floats, task.example).ratio,
    }


def with_raw_data(path: Path) -> Path:
    """Write the same file with all weights as raw bytes, the one form that the packer encodes."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    raw = path.with_suffix(".raw.onnx")
    onnx.save(model, raw)
    return raw


def files(task: EvaluatedTask, floats: Path, folder: Path, *, dynamic: bool) -> dict[str, Path]:
    """Write the quantised files into a folder and return them by name."""
    if dynamic:
        return {"quantize_dynamic": quantised_dynamically(floats, folder / "dynamic.onnx")}
    return {
        f"quantize_static, {method}": quantised_statically(
            floats, folder / f"{method}.onnx", calibration(task), method
        )
        for method in METHODS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", type=json.loads, help="the composed node of a task")
    parser.add_argument("--floats", type=Path, help="the baseline's ONNX file")
    parser.add_argument("--dynamic", action="store_true", help="scale activations in each call")
    parser.add_argument("--out", type=Path, help="a line for each file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = load_task(options.task)
    with tempfile.TemporaryDirectory() as folder:
        made = files(task, options.floats, Path(folder), dynamic=options.dynamic)
        rows = [
            {"name": name, **measured(task, options.floats, path)} for name, path in made.items()
        ]
    options.out.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
