"""The search that a good engineer writes by hand: an Optuna study that compresses and measures.

    python -m benchmarks.hand_written_loop --task JSON --sampler tpe --until UNIX_TIME --out FILE

It uses the same methods in the same order as `conf/recipe/default.yaml`, with sensible ranges:
magnitudes decide what is removed, channels stay multiples of 8, training has the full number of
epochs. It spends nothing on isolation, a journal or a tracker. It omits steps that its model does
not support, measures int8 first, never measures the same steps twice, and reports to Optuna as a
constraint where the error of a model is too large to be a gain.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from torch import nn

from benchmarks.trajectory import ERROR_MARGIN
from compressors.base import Compressor
from compressors.channel_pruning import ChannelPruning
from compressors.distillation import Distillation
from compressors.errors import InfeasibleError
from compressors.layer_removal import LayerRemoval
from compressors.low_rank import LowRank
from compressors.quantization import Quantization
from compressors.weight_pruning import WeightPruning
from compressors.weight_sharing import WeightSharing
from search.artefact.artefact import write_artefact
from search.artefact.onnx_form.runtime import predictor
from search.tasks.loading import load_task
from search.tasks.task import EvaluatedTask
from search.trial.latency import measure_latency
from search.trial.scoring import evaluate

SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(multivariate=True, group=True, seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
    "nsga2": lambda seed: NSGAIISampler(population_size=20, seed=seed),
}
FIRST = {"remove": False, "prune": False, "factorise": False, "sparsify": False}
"""Steps that the first trial omits: it is int8 alone."""
INT8 = (Quantization(bits=8),)

Steps = tuple[Compressor, ...]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Epochs of a trial."""

    recovery: int
    tuning: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The measurement of one model."""

    score: float
    size_bytes: int
    latency_ratio: float


def suggested(trial: optuna.Trial, budget: Budget, *, removable: bool) -> Steps:
    """Return the steps of one trial; raise `InfeasibleError` if no method was chosen."""
    steps: list[Compressor] = []
    if removable and trial.suggest_categorical("remove", [False, True]):
        steps.append(LayerRemoval(ratio=trial.suggest_float("remove.ratio", 0.1, 0.5, step=0.1)))
    if trial.suggest_categorical("prune", [False, True]):
        ratio = trial.suggest_float("prune.ratio", 0.125, 0.75, step=0.125)
        steps.append(ChannelPruning(ratio=ratio, round_to=8))
    if trial.suggest_categorical("factorise", [False, True]):
        lost = trial.suggest_float("factorise.lost_energy", 0.05, 0.5, step=0.05)
        steps.append(LowRank(lost_energy=lost))
    if trial.suggest_categorical("sparsify", [False, True]):
        ratio = trial.suggest_float("sparsify.ratio", 0.5, 0.96, step=0.02)
        steps.append(WeightPruning(ratio=ratio, allocation="global", schedule="cubic"))
    encoding = encoded(trial)
    if not steps and not encoding:
        raise InfeasibleError("no method was chosen")
    if not steps and encoding == INT8:
        return INT8
    steps.append(
        Distillation(
            epochs=budget.recovery,
            temperature=4.0,
            learning_rate=trial.suggest_float("distil.learning_rate", 5e-4, 1e-2, log=True),
            weight_decay=1e-4,
            reestimate_batch_norm=True,
        )
    )
    if not encoding:
        return tuple(steps)
    rate = trial.suggest_float("tune.learning_rate", 1e-4, 2e-3, log=True)
    tune = Distillation(epochs=budget.tuning, temperature=4.0, learning_rate=rate)
    return (*steps, *encoding, tune)


def encoded(trial: optuna.Trial) -> Steps:
    """Return the step that encodes the weights, if any."""
    method = trial.suggest_categorical("encode", ["none", "share", "quantize"])
    if method == "share":
        return (WeightSharing(clusters=trial.suggest_int("share.clusters", 4, 64, log=True)),)
    if method == "quantize":
        bits = trial.suggest_categorical("quantize.bits", [8, 6, 5, 4, 3, 2])
        return (Quantization(bits=bits),)
    return ()


@dataclass(frozen=True, kw_only=True)
class Loop:
    """The study's objective, which writes a line for each model that it measures."""

    task: EvaluatedTask
    budget: Budget
    seed: int
    folder: Path
    """Holds the baseline's artefact and that of the current trial."""
    out: Path
    known: dict[str, Measured] = field(default_factory=dict)
    """Measurements by steps; the baseline has no steps."""

    def __call__(self, trial: optuna.Trial) -> tuple[float, float, float]:
        """Compress, tune and measure; return score, bytes and latency ratio."""
        found = self.measured(suggested(trial, self.budget, removable=self.removable))
        trial.set_constraint("drop", self.measured(()).score - found.score - ERROR_MARGIN)
        return found.score, found.size_bytes, found.latency_ratio

    @cached_property
    def removable(self) -> bool:
        """Whether the model has blocks that can be removed."""
        try:
            LayerRemoval(ratio=0.1)(self.task.baseline, self.task)
        except InfeasibleError:
            return False
        return True

    def measured(self, steps: Steps) -> Measured:
        """Return the measurement of the baseline after steps; equal steps are measured once."""
        if str(steps) not in self.known:
            torch.manual_seed(self.seed)
            model = self.task.baseline
            for step in steps:
                with suppress(InfeasibleError):  # a ratio that rounds to nothing
                    model = step(model, self.task)
            found = self._measure(model, self.folder / ("trial" if steps else "baseline"))
            self.known[str(steps)] = found
            with self.out.open("a") as file:
                file.write(json.dumps({"finished": time.time(), **asdict(found)}) + "\n")
        return self.known[str(steps)]

    def _measure(self, model: nn.Module, folder: Path) -> Measured:
        artefact = write_artefact(model, self.task, folder)
        score = evaluate(predictor(artefact.run_path), self.task.validation, self.task).value
        baseline = self.folder / "baseline" / artefact.run_path.name
        ratio = measure_latency(artefact.run_path, baseline, self.task.example).ratio
        return Measured(score=score, size_bytes=artefact.size_bytes, latency_ratio=ratio)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", type=json.loads, help="the composed node of a task")
    parser.add_argument("--sampler", choices=list(SAMPLERS), default="tpe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--until", type=float, help="unix time after which no trial is started")
    parser.add_argument("--out", type=Path, help="a line for the baseline, then one for each trial")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    node: dict[str, Any] = arguments.task
    budget = Budget(recovery=node["recovery_epochs"], tuning=node["tuning_epochs"])
    sampler = SAMPLERS[arguments.sampler](arguments.seed)
    study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=sampler)
    study.enqueue_trial({**FIRST, "encode": "quantize", "quantize.bits": 8})
    with tempfile.TemporaryDirectory() as scratch:
        loop = Loop(
            task=load_task(node),
            budget=budget,
            seed=arguments.seed,
            folder=Path(scratch),
            out=arguments.out,
        )
        loop.measured(())
        study.optimize(loop, timeout=arguments.until - time.time(), catch=InfeasibleError)


if __name__ == "__main__":
    main()
