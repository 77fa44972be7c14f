"""The control: a task's baseline trained on, as the compressed models are, but not compressed.

    python -m benchmarks.continued_training --task JSON --seconds S --out FILE

Every training has as many epochs as a trial may have at most, with the baseline's outputs as
further targets or without them, at several learning rates. No training is begun after the time. The
best by validation score is written, with its test score: what training alone would have given.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import torch

from compressors.distillation import Distillation
from search.artefact.artefact import write_artefact
from search.artefact.onnx_form.runtime import predictor
from search.tasks.loading import load_task
from search.tasks.task import EvaluatedTask
from search.trial.scoring import evaluate

LEARNING_RATES = (5e-4, 2e-3, 1e-4)
SOFT_WEIGHTS = (0.5, 0.0)
"""Shares of the distance from the baseline's outputs; without it the labels alone are learned."""


def trainings(epochs: int) -> Iterator[Distillation]:
    """Yield the trainings in the order in which they are tried."""
    for rate, soft in product(LEARNING_RATES, SOFT_WEIGHTS):
        yield Distillation(
            epochs=epochs,
            temperature=4.0,
            soft_weight=soft,
            learning_rate=rate,
            weight_decay=1e-4,
            reestimate_batch_norm=True,
        )


def trained_on(task: EvaluatedTask, step: Distillation, folder: Path) -> dict[str, float]:
    """Return the scores of the baseline after a training, of its file."""
    torch.manual_seed(0)
    artefact = write_artefact(step(task.baseline, task), task, folder, task.free_axes)
    predict = predictor(artefact.run_path, task.outputs_like)
    return {
        "score": evaluate(predict, task.validation, task).value,
        "test_score": evaluate(predict, task.test, task).value,
        "epochs": step.epochs,
        "learning_rate": step.learning_rate,
        "soft_weight": step.soft_weight,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", type=json.loads, help="the composed node of a task")
    parser.add_argument("--seconds", type=float, help="after which no training is begun")
    parser.add_argument("--out", type=Path, help="a line for the best training")
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = load_task(options.task)
    found: list[dict[str, float]] = []
    until = time.monotonic() + options.seconds
    epochs = options.task["recovery_epochs"] + options.task["tuning_epochs"]
    with tempfile.TemporaryDirectory() as folder:
        for step in trainings(epochs):
            if not found or time.monotonic() < until:
                found.append(trained_on(task, step, Path(folder)))
    best = max(found, key=lambda row: row["score"] if task.maximize else -row["score"])
    options.out.write_text(json.dumps({**best, "trainings": len(found)}) + "\n")


if __name__ == "__main__":
    main()
