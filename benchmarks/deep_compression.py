"""The automatic search on the two LeNets of the literature, beside papers and simple recipes.

    python -m benchmarks.deep_compression [--quick] [--out FILE] [--runs-dir DIR]

A ratio is the dense float32 bytes of the parameters over the bytes of the file that would ship,
including graph, codebooks, biases and hash. Errors are those on the 10,000 test images, which are
scored once, for the final front. The search itself sees 5,000 images that were set aside from the
training set. The JSON names the smallest member of the front whose test error is within the limit:
a choice on the test set, which the table of all members lets the reader judge.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.json_line import print_json_line
from benchmarks.recipes import step
from compressors.training.loop import TrainingSettings, train
from paredown import run_study
from search.artefact.artefact import write_artefact
from search.artefact.onnx_form.runtime import predictor
from search.config.compose import compose_search
from search.config.latency_settings import LatencySettings
from search.recipe.recipe import Recipe
from search.tasks.loading import load_task
from search.tasks.task import EvaluatedTask
from search.tasks.workloads.lenet import LeNet5, LeNet300
from search.trial.baseline import measure_baseline
from search.trial.evaluate import Evaluator
from search.trial.scoring import evaluate


@dataclass(frozen=True, kw_only=True)
class Net:
    """One network of the literature and what was published on it."""

    title: str
    experiment: str
    error_limit: float
    """Test error in per cent at which ratios are compared."""
    published: Mapping[str, tuple[str, float]]
    """By paper, the ratio as stated and the test error in per cent."""


NETS = {
    "lenet300": Net(
        title="LeNet-300-100",
        experiment="deep_compression_lenet300",
        error_limit=1.6,
        published={
            "Deep Compression (arXiv:1510.00149)": ("40", 1.58),
            "Dynamic Network Surgery (arXiv:1608.04493)": ("56 (non-zeros)", 1.99),
            "Soft weight-sharing (arXiv:1702.04008)": ("64", 1.94),
            "Sparse Variational Dropout (arXiv:1701.05369)": ("68 (non-zeros)", 1.92),
        },
    ),
    "lenet5": Net(
        title="LeNet-5",
        experiment="deep_compression_lenet5",
        error_limit=0.8,
        published={
            "Deep Compression (arXiv:1510.00149)": ("39", 0.74),
            "Dynamic Network Surgery (arXiv:1608.04493)": ("108 (non-zeros)", 0.91),
            "Soft weight-sharing (arXiv:1702.04008)": ("162", 0.97),
            "Sparse Variational Dropout (arXiv:1701.05369)": ("280 (non-zeros)", 0.75),
            "Bayesian Compression (arXiv:1705.08665)": ("419", 1.0),
        },
    ),
}


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measured model: test error in per cent and bytes of its file."""

    name: str
    test_error: float
    size_bytes: int


NARROW = {
    "lenet300": lambda: LeNet300(widths=(30, 10)),
    "lenet5": lambda: LeNet5(widths=(4, 10, 100)),
}
DENSE_BYTES = {
    name: 4 * sum(parameter.numel() for parameter in net().parameters())
    for name, net in {"lenet300": LeNet300, "lenet5": LeNet5}.items()
}
REFERENCE_EPOCHS = 10


def reference_recipes() -> dict[str, Recipe]:
    """Return what somebody would try by hand."""
    tune = step(
        "tune",
        "distillation.Distillation",
        epochs=REFERENCE_EPOCHS,
        temperature=4.0,
        learning_rate=2e-3,
    )
    int8 = step("quantize", "quantization.Quantization", bits=8)
    half = step("prune", "channel_pruning.ChannelPruning", ratio=0.5)
    four = step("quantize", "quantization.Quantization", bits=4)
    return {
        "int8 after training": Recipe(steps=(int8,), seed=0),
        "50 % channels, tuned, int8": Recipe(steps=(half, tune, int8), seed=0),
        "uniform 4-bit, tuned": Recipe(steps=(four, tune), seed=0),
    }


def reference_points(name: str, folder: Path) -> Iterator[Point]:
    """Measure the reference recipes on the test set."""
    task = load_task(compose_search([f"experiment={NETS[name].experiment}"]).task)
    baseline = measure_baseline(task, folder / "baseline")
    yield Point(
        name="the baseline, float32",
        test_error=test_error(folder / "baseline", task),
        size_bytes=int(baseline.metrics["size_bytes"]),
    )
    for title, recipe in reference_recipes().items():
        at = folder / recipe.hash
        settings = LatencySettings(batch_size=1, threads=1, rounds=2)
        found = Evaluator(task=task, baseline=baseline, latency=settings)(recipe, at)
        size = int(found.metrics["size_bytes"])
        yield Point(name=title, test_error=test_error(at, task), size_bytes=size)
    torch.manual_seed(0)
    narrow = NARROW[name]()
    settings = TrainingSettings(epochs=2 * REFERENCE_EPOCHS, learning_rate=2e-3)
    train(narrow, task.train_batches, task.loss, settings)
    artefact = write_artefact(narrow.requires_grad_(False), task, folder / "narrow")
    yield Point(
        name="narrow from scratch",
        test_error=test_error(folder / "narrow", task),
        size_bytes=artefact.size_bytes,
    )


def test_error(folder: Path, task: EvaluatedTask) -> float:
    """Return the test error in per cent of the model in a folder."""
    return 100 * (1 - evaluate(predictor(folder / "model.onnx"), task.test, task).value)


def searched(name: str, runs_dir: Path, *overrides: str) -> list[Point]:
    """Run the search and return its front, the smallest first."""
    experiment = f"experiment={NETS[name].experiment}"
    study = run_study(experiment, f"runs_dir={runs_dir}", "tracking=none", *overrides)
    points = [
        Point(
            name=f"Paredown, trial {trial.number}",
            test_error=100 * (1 - trial.metrics["test_score"]),
            size_bytes=int(trial.metrics["size_bytes"]),
        )
        for trial in study.front
    ]
    return sorted(points, key=lambda point: point.size_bytes)


def measure(name: str, runs_dir: Path, *overrides: str) -> dict[str, Any]:
    """Search, measure the references, print the table of one network and return its metrics."""
    net, dense = NETS[name], DENSE_BYTES[name]
    start = time.monotonic()
    front = searched(name, runs_dir, *overrides)
    minutes = (time.monotonic() - start) / 60
    with tempfile.TemporaryDirectory() as scratch:
        others = list(reference_points(name, Path(scratch)))
    print(f"\n{net.title}: {dense:,} bytes dense; the search took {minutes:.1f} min")
    print(f"{'':<46}{'bytes':>9}{'ratio':>16}{'test error %':>14}")
    for title, (ratio, error) in net.published.items():
        print(f"{title:<46}{'':>9}{ratio:>16}{error:>14.2f}")
    for point in (*others, *front):
        ratio = f"{dense / point.size_bytes:.1f}"
        print(f"{point.name:<46}{point.size_bytes:>9,}{ratio:>16}{point.test_error:>14.2f}")
    good = [p for p in front if p.test_error <= net.error_limit + 1e-9]
    results: dict[str, Any] = {"minutes": round(minutes, 1), "ratio": None, "test_error": None}
    if good:
        best = good[0]
        results["ratio"] = round(dense / best.size_bytes, 1)
        results["test_error"] = round(best.test_error, 2)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="LeNet-300-100 alone, ten minutes")
    parser.add_argument("--out", type=Path, help="write the JSON line to a file too")
    parser.add_argument("--runs-dir", type=Path, help="keep the studies here, and resume them")
    arguments = parser.parse_args()
    names = ["lenet300"] if arguments.quick else list(NETS)
    overrides = ["timeout=330", "task.recovery_epochs=15"] if arguments.quick else []
    with tempfile.TemporaryDirectory() as scratch:
        runs_dir = arguments.runs_dir or Path(scratch)
        results = {name: measure(name, runs_dir, *overrides) for name in names}
    print_json_line(results, arguments.out)


if __name__ == "__main__":
    main()
