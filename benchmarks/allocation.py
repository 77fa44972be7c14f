"""Uniform against sensitivity-based allocation of one budget among layers.

    python -m benchmarks.allocation [--quick] [--out FILE]

Each pair of rows compresses the same baseline with the same budget (zeros, bits, or bits of an
index), values and recovery, so that the weights have as many bits before entropy coding; the bytes
are those of the file. Three seeds train three baselines; those of LeNet-5 for 3 epochs. A
divergence (KL from the baseline in nats, on validation data) separates models whose scores are
near each other.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.json_line import print_json_line
from benchmarks.recipes import step
from compressors.base import run
from compressors.outputs.divergence import divergence
from search.artefact.onnx_form.runtime import predictor
from search.config.compose import compose_search
from search.config.latency_settings import LatencySettings
from search.recipe.recipe import Recipe
from search.tasks.loading import load_task
from search.tasks.task import EvaluatedTask
from search.trial.baseline import measure_baseline
from search.trial.evaluate import Evaluator

SEEDS = (0, 1, 2)
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "90 % zeros": ("weight_pruning.WeightPruning", {"ratio": 0.9}),
    "96 % zeros": ("weight_pruning.WeightPruning", {"ratio": 0.96}),
    "4 clusters": ("weight_sharing.WeightSharing", {"clusters": 4}),
    "3 bits": ("quantization.Quantization", {"bits": 3, "activations": "float"}),
}
TASKS = {"digits": ("task=digits",), "lenet5": ("task=mnist_lenet5", "task.epochs=3")}
EPOCHS = {"digits": 4, "lenet5": 1}
"""Epochs of recovery, where there is one."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The measurement of one compressed model."""

    size_bytes: float
    score: float
    divergence: float


def recipe(target: str, values: Mapping[str, Any], allocation: str, epochs: int) -> Recipe:
    """Return the recipe of one method, followed by recovery where there are epochs."""
    steps = [step("method", target, **values, allocation=allocation)]
    if epochs:
        tuning = {"epochs": epochs, "temperature": 4.0, "learning_rate": 1e-3}
        steps.append(step("tune", "distillation.Distillation", **tuning))
    return Recipe(steps=tuple(steps), seed=0)


def measure(recipe: Recipe, task: EvaluatedTask, folder: Path) -> Measurement:
    """Compress the task's baseline and measure the artefact on validation data."""
    baseline = measure_baseline(task, folder / "baseline")
    place = folder / recipe.hash
    settings = LatencySettings(batch_size=1, threads=1, rounds=2)
    found = Evaluator(task=task, baseline=baseline, latency=settings)(recipe, place).metrics
    predict = predictor(place / "model.onnx")
    moved: list[Tensor] = []
    with torch.no_grad():
        for inputs, _ in task.validation:
            moved.append(divergence(task.outputs, predict(inputs), run(task.baseline, inputs)))
    return Measurement(
        size_bytes=found["size_bytes"],
        score=found["score"],
        divergence=float(torch.stack(moved).mean()),
    )


def compare(name: str, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Print the table of one task and return its means."""
    print(f"\n{name}, seeds {', '.join(map(str, seeds))}: mean (sd)")
    print(f"{'method':<12}{'recovery':<10}{'allocation':<13}{'bytes':>9}{'score':>18}{'KL':>18}")
    kept: dict[str, Any] = {}
    tasks = {
        seed: load_task(compose_search([*TASKS[name], f"task.seed={seed}"]).task) for seed in seeds
    }
    for method, (target, values) in METHODS.items():
        for recovery, epochs in {"none": 0, "tuned": EPOCHS[name]}.items():
            for allocation in ("uniform", "sensitivity"):
                with tempfile.TemporaryDirectory() as scratch:
                    found = [
                        measure(
                            recipe(target, values, allocation, epochs),
                            tasks[seed],
                            Path(scratch) / str(seed),
                        )
                        for seed in seeds
                    ]
                sizes, scores, moved = (
                    [getattr(measurement, field) for measurement in found]
                    for field in ("size_bytes", "score", "divergence")
                )
                print(
                    f"{method:<12}{recovery:<10}{allocation:<13}{statistics.mean(sizes):>9.0f}"
                    f"{shown(scores, 4):>18}{shown(moved, 4):>18}",
                    flush=True,
                )
                kept[f"{method}, {recovery}, {allocation}"] = {
                    "bytes": round(statistics.mean(sizes)),
                    "score": round(statistics.mean(scores), 4),
                    "divergence": round(statistics.mean(moved), 5),
                }
    return kept


def shown(values: list[float], digits: int) -> str:
    """Return the mean and, for several values, the standard deviation."""
    spread = f" ({statistics.stdev(values):.{digits}f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digits alone, one seed")
    parser.add_argument("--out", type=Path, help="write the JSON line to a file too")
    arguments = parser.parse_args()
    tasks, seeds = (["digits"], SEEDS[:1]) if arguments.quick else (list(TASKS), SEEDS)
    print_json_line({name: compare(name, seeds) for name in tasks}, arguments.out)


if __name__ == "__main__":
    main()
