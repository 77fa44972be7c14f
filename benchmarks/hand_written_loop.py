"""The search that a good engineer writes by hand: an Optuna study that compresses and measures.

    python -m benchmarks.hand_written_loop --task JSON --seconds S --out FILE [--epochs full|2]
        [--round-to 1|8] [--post-training first|not] [--sampler tpe] [--processes N]

It uses the same methods in the same order as `conf/recipe/default.yaml`, with sensible ranges:
magnitudes decide what is removed, channels stay multiples of `--round-to`, training has the full
number of epochs or two. It spends nothing on isolation or a tracker, and its time begins when its
task is loaded. It omits steps that its model does not support, measures int8 first, never measures
the same steps twice, and reports to Optuna as a constraint where the score of a model has dropped
too much to be a gain. Several processes share one study.
"""

import argparse
import json
import multiprocessing
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import optuna
import torch
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from torch import nn

from benchmarks.loop_family import EPOCHS, POST_TRAINING, ROUND_TO, Budget, LoopSettings
from benchmarks.trajectory import as_accuracy
from compressors.base import Compressor
from compressors.channel_pruning import ChannelPruning
from compressors.distillation import Distillation
from compressors.errors import InfeasibleError, ParedownError
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
UNTRAINED_BITS = (8, 6, 5, 4, 3)
"""What is measured first without training, if encodings without training come first."""
FAILURES = (ParedownError, FloatingPointError)
"""What ends a trial, and not the loop."""

Steps = tuple[Compressor, ...]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The measurement of one model."""

    score: float
    size_bytes: int
    latency_ratio: float


def suggested(
    trial: optuna.Trial, budget: Budget, *, removable: bool, round_to: int = ROUND_TO[0]
) -> Steps:
    """Return the steps of one trial; raise `InfeasibleError` if no method was chosen."""
    steps: list[Compressor] = []
    if removable and trial.suggest_categorical("remove", [False, True]):
        steps.append(LayerRemoval(ratio=trial.suggest_float("remove.ratio", 0.1, 0.5, step=0.1)))
    if trial.suggest_categorical("prune", [False, True]):
        ratio = trial.suggest_float("prune.ratio", 0.125, 0.75, step=0.125)
        steps.append(ChannelPruning(ratio=ratio, round_to=round_to))
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
    round_to: int
    bound: float
    """Share of the baseline's score that a model may lose."""
    seed: int
    folder: Path
    """Holds the baseline's artefact and that of the current trial."""
    out: Path
    known: dict[str, Measured] = field(default_factory=dict)
    """Measurements by steps; the baseline has no steps."""

    def __call__(self, trial: optuna.Trial) -> tuple[float, float, float]:
        """Compress, tune and measure; return score, bytes and latency ratio."""
        steps = suggested(trial, self.budget, removable=self.removable, round_to=self.round_to)
        baseline, found = self.measured(()).score, self.measured(steps)
        drop = baseline - found.score if self.task.maximize else found.score - baseline
        trial.set_constraint("drop", drop / abs(baseline) - self.bound)
        score = as_accuracy(found.score, baseline, maximize=self.task.maximize)
        return score, found.size_bytes, found.latency_ratio

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
            write_line(self.out, {"finished": time.time(), "steps": len(steps), **asdict(found)})
        return self.known[str(steps)]

    def _measure(self, model: nn.Module, folder: Path) -> Measured:
        artefact = write_artefact(model, self.task, folder, self.task.free_axes)
        predict = predictor(artefact.run_path, self.task.outputs_like)
        score = evaluate(predict, self.task.validation, self.task).value
        baseline = self.folder / "baseline" / artefact.run_path.name
        ratio = measure_latency(artefact.run_path, baseline, self.task.example).ratio
        return Measured(score=score, size_bytes=artefact.size_bytes, latency_ratio=ratio)


def write_line(path: Path, values: Mapping[str, float]) -> None:
    """Append a line of JSON, in one piece."""
    with path.open("a") as file:
        file.write(json.dumps(values) + "\n")


def search(options: argparse.Namespace, number: int, shared: Path | None) -> None:
    """Search until the time is over.

    Args:
        options: Those of the command line.
        number: Of this process; the first one begins the study.
        shared: File of the study that several processes share; None for a study in memory.
    """
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    settings = LoopSettings(
        epochs=options.epochs, round_to=options.round_to, post_training=options.post_training
    )
    task = load_task(options.task)
    write_line(options.out, {"started": time.time()})
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(0))  # also in the middle of a trial
    # Again and again, since an exception in a finaliser is lost.
    signal.setitimer(signal.ITIMER_REAL, options.seconds, 10)
    study = optuna.create_study(
        directions=["maximize", "minimize", "minimize"],
        sampler=SAMPLERS[options.sampler](options.seed + 1000 * number),
        storage=JournalStorage(JournalFileBackend(str(shared))) if shared else None,
        study_name="loop",
        load_if_exists=True,
    )
    with tempfile.TemporaryDirectory() as scratch:
        loop = Loop(
            task=task,
            budget=settings.budget(options.task),
            round_to=settings.round_to,
            bound=options.bound,
            seed=options.seed,
            folder=Path(scratch),
            out=options.out,
        )
        loop.measured(())
        if number == 0:
            study.enqueue_trial({**FIRST, "encode": "quantize", "quantize.bits": 8})
        if number == 0 and settings.post_training == "first":
            measure_untrained(loop)
        study.optimize(loop, catch=FAILURES)


def measure_untrained(loop: Loop) -> None:
    """Measure the encodings without training."""
    for bits in UNTRAINED_BITS:
        with suppress(*FAILURES):
            loop.measured((Quantization(bits=bits),))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", type=json.loads, help="the composed node of a task")
    parser.add_argument("--sampler", choices=list(SAMPLERS), default="tpe")
    parser.add_argument("--epochs", choices=EPOCHS, default=EPOCHS[0], help="of a trial")
    parser.add_argument("--round-to", type=int, choices=ROUND_TO, default=ROUND_TO[0])
    parser.add_argument("--post-training", choices=POST_TRAINING, default=POST_TRAINING[0])
    parser.add_argument("--bound", type=float, default=0.1, help="share of the score to lose")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, help="from the moment the task is loaded")
    parser.add_argument("--processes", type=int, default=1, help="that share the study")
    parser.add_argument("--out", type=Path, help="a line for every model that is measured")
    options = parser.parse_args()
    if options.processes == 1:
        search(options, 0, None)
        return
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        shared = Path(folder) / "study.log"
        others = [
            context.Process(target=search, args=(options, number, shared))
            for number in range(options.processes)
        ]
        for process in others:
            process.start()
        for process in others:
            process.join()
    sys.exit(max(abs(process.exitcode or 0) for process in others))


if __name__ == "__main__":
    main()
