"""The speed of integer run forms on this machine, relative to ONNX Runtime in floats.

All files are timed in turns in one process, by CPU time of its one thread, and compared round by
round with the float file of the same network.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.json_line import print_json_line
from benchmarks.networks import feed_forward, resnet18
from compressors.base import Compressor
from compressors.channel_pruning import ChannelPruning
from compressors.outputs.spec import OutputSpec
from compressors.quantization import Quantization
from search.artefact.artefact import Artefact, write_artefact
from search.artefact.onnx_form.export import feeds
from search.artefact.onnx_form.integer_types import integer_types
from search.artefact.onnx_form.runtime import open_session
from search.utils.cpu import cpu_name

FEATURES = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "asimddp", "i8mm")
"""CPU features by their Linux names; those with vnni or dp sum integer products in 32 bits."""

Steps = Mapping[str, tuple[Compressor, ...]]

HALF = ChannelPruning(ratio=0.5, round_to=16)
CONVOLUTIONS: Steps = {
    "fp32": (),
    "int8": (Quantization(bits=8),),
    "int8, mse": (Quantization(bits=8, activations="mse"),),
    "int7": (Quantization(bits=7),),
    "int4 weights": (Quantization(bits=4),),
    "half the channels": (HALF,),
    "half the channels, int8": (HALF, Quantization(bits=8)),
    "half the channels, int7": (HALF, Quantization(bits=7)),
}
PRODUCTS: Steps = {
    "fp32": (),
    "int8": (Quantization(bits=8),),
    "int7": (Quantization(bits=7),),
    **{
        f"int4 in groups of {size}": (Quantization(bits=4, granularity="group", group_size=size),)
        for size in (32, 128)
    },
}
VARIANTS = ("int8, mse", "int7", "int4 weights", "half the channels, int7", "int4 in groups of 32")


class ExampleTask:
    """A model with one batch for calibration: nothing is trained."""

    def __init__(self, baseline: nn.Module, example: Tensor) -> None:
        self.baseline = baseline
        self.example = example
        self.outputs = OutputSpec(kind="values")

    def train_batches(self, epoch: int) -> Iterator[tuple[Tensor, Any]]:
        yield self.example, None

    def teacher_batches(self, epoch: int) -> Iterator[tuple[Tensor, Any, Tensor]]:
        for inputs, targets in self.train_batches(epoch):
            yield inputs, targets, self.baseline(inputs)

    def loss(self, outputs: Tensor, targets: Any) -> Tensor:
        return outputs.mean()

    def measured(
        self, key: str, measure: Callable[[], Mapping[str, NDArray[Any]]]
    ) -> Mapping[str, NDArray[Any]]:
        return measure()


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller images")
    parser.add_argument("--out", type=Path, help="write the JSON line to a file too")
    options = parser.parse_args(None if arguments is None else list(arguments))
    torch.set_num_threads(1)
    size, rounds = (96, 7) if options.quick else (224, 30)
    nets = {
        f"resnet18 {size}x{size}": (ExampleTask(resnet18(), images(size)), CONVOLUTIONS, 1),
        "feed-forward, 1 token": (ExampleTask(feed_forward(), tokens()), PRODUCTS, 1),
        "feed-forward, 16 tokens": (ExampleTask(feed_forward(), tokens()), PRODUCTS, 16),
    }
    if options.quick:
        nets = {
            name: (task, _main(recipes), batch) for name, (task, recipes, batch) in nets.items()
        }
    found: dict[str, Any] = {"machine": machine(), "quick": options.quick, "nets": {}}
    console = Console(width=110)
    console.print(f"{found['machine']}")
    for name, (task, recipes, batch) in nets.items():
        rows = measure(task, recipes, batch, rounds)
        found["nets"][name] = rows
        console.print(as_table(name, rows))
    print_json_line(found, options.out)


def _main(recipes: Steps) -> Steps:
    """Return the recipes without variants."""
    return {name: steps for name, steps in recipes.items() if name not in VARIANTS}


def images(size: int) -> Tensor:
    """Return random images `[4, 3, size, size]`."""
    return torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(1))


def tokens() -> Tensor:
    """Return random tokens `[16, 1, 768]`."""
    return torch.randn(16, 1, 768, generator=torch.Generator().manual_seed(1))


def machine() -> dict[str, Any]:
    """Return the CPU's features and the integer types that are chosen for it."""
    words = cpu_name().split()
    types = integer_types()
    return {
        "cpu": " ".join(words[: words.index("fpu")]) if "fpu" in words else words[0],
        "features": [feature for feature in FEATURES if feature in words],
        "onnxruntime": onnxruntime.__version__,
        "convolution": types.convolution(narrow=False),
        "product": types.product(narrow=False),
        "saturates": not types.exact["U8S8"],
    }


def measure(
    task: ExampleTask, recipes: Steps, batch: int, rounds: int
) -> dict[str, dict[str, float]]:
    """Return milliseconds per call, speed-up over floats, bytes and fidelity, by recipe."""
    artefacts: dict[str, Artefact] = {}
    with TemporaryDirectory() as folder:
        for name, steps in recipes.items():
            model = task.baseline
            for step in steps:
                model = step(model, task)
            artefacts[name] = write_artefact(model, task, Path(folder) / name)
        paths = [artefact.run_path for artefact in artefacts.values()]
        seconds = timed(paths, feeds(task.example[:batch]), rounds)
    ratios = seconds[:, :1] / seconds
    return {
        name: {
            "ms": round(1e3 * float(np.median(seconds[:, place])), 3),
            "ratio": round(float(np.median(ratios[:, place])), 3),
            "run_bytes": artefact.run_bytes,
            "size_bytes": artefact.size_bytes,
            "fidelity_db": round(artefact.fidelity_db, 1),
        }
        for place, (name, artefact) in enumerate(artefacts.items())
    }


def timed(paths: Iterable[Path], inputs: Mapping[str, Any], rounds: int) -> NDArray[np.float64]:
    """Return CPU seconds per call `[rounds, files]`, each a mean over 5 ms or one call."""
    sessions = [open_session(path) for path in paths]
    calls = [max(1, int(0.005 / call_seconds(session, inputs, 3))) for session in sessions]
    seconds = np.empty((rounds, len(sessions)))
    for number in range(rounds):
        order = range(len(sessions)) if number % 2 == 0 else reversed(range(len(sessions)))
        for place in order:
            seconds[number, place] = call_seconds(sessions[place], inputs, calls[place])
    return seconds


def call_seconds(
    session: onnxruntime.InferenceSession, inputs: Mapping[str, Any], calls: int
) -> float:
    start = time.thread_time()
    for _ in range(calls):
        session.run(None, inputs)
    return (time.thread_time() - start) / calls


def as_table(title: str, rows: Mapping[str, Mapping[str, float]]) -> Table:
    columns = {
        "ms": "ms",
        "ratio": "times faster",
        "run_bytes": "run bytes",
        "size_bytes": "ship bytes",
        "fidelity_db": "dB",
    }
    table = Table("recipe", *columns.values(), title=title, title_justify="left")
    for name, row in rows.items():
        table.add_row(name, *(f"{row[column]:,}" for column in columns))
    return table


if __name__ == "__main__":
    main()
