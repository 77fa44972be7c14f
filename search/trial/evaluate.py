"""One recipe from its steps to the metrics of the reloaded artefact, beside the baseline's."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from search.artefact.artefact import Artefact, write_artefact
from search.artefact.model_files import MODULE_FORM
from search.artefact.module_form.file import write_module
from search.artefact.onnx_form.export import feeds
from search.artefact.onnx_form.runtime import predictor
from search.config.latency_settings import LatencySettings
from search.errors import ArtefactError
from search.recipe.recipe import Recipe
from search.tasks.task import EvaluatedTask
from search.trial.artefact_metrics import artefact_metrics, bits_per_weight, check_finite
from search.trial.baseline import Baseline
from search.trial.compress import compress
from search.trial.latency import Latency, measure_latency, remembered_latency, verdict
from search.trial.prefix_cache import PrefixCache
from search.trial.relative_drop import relative_drop
from search.trial.scoring import Score, evaluate
from search.trial.tokens import tokens_per_example, tokens_per_second
from search.utils.heap import return_free_memory

HoldMachine = Callable[[], AbstractContextManager[None]]
"""Opens a block in which no other trial computes."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one trial measured."""

    metrics: Mapping[str, float]
    verdict: str
    notes: str
    """Where the artefact does not follow the recipe; empty where it does."""


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Everything beside the recipe that an evaluation depends on."""

    task: EvaluatedTask
    baseline: Baseline
    latency: LatencySettings
    hold_machine: HoldMachine = nullcontext
    prefixes: PrefixCache | None = None

    def __call__(self, recipe: Recipe, folder: Path) -> Evaluation:
        """Run a recipe and measure its artefact on validation data, beside the baseline.

        Searching, replaying and exporting all come here, so that equal recipes give equal metrics.

        Args:
            recipe: The steps.
            folder: Where the artefact is written.

        Raises:
            InfeasibleError: a step finds nothing to act on.
            ArtefactError: the model cannot be written as a file that computes the same.
            MeasurementError: a metric is missing or not finite.
        """
        model, achievements = compress(recipe, self.task, self.prefixes)
        artefact = write_artefact(model, self.task, folder, self.baseline.free_axes)
        unkept = self._keep_module(model, folder)
        score = self._score(artefact.run_path)
        measured = artefact_metrics(model, self.task.example, artefact, score)
        del model  # two files are in memory while they are timed
        return_free_memory()
        latency = self._latency(artefact.run_path)
        metrics = {
            **measured,
            **self._beside_baseline(score.value, artefact),
            "latency_ms": latency.latency_ms,
            "latency_ratio": latency.ratio,
            "latency_spread": latency.spread,
            **tokens_per_second(tokens_per_example(self.task), self.latency.batch_size, latency),
            **achievements,
        }
        check_finite(metrics)
        size_ratio = artefact.size_bytes / self.baseline.metrics["size_bytes"]
        return Evaluation(
            metrics=metrics,
            verdict=verdict(size_ratio, latency),
            notes="; ".join([*artefact.notes, *unkept]),
        )

    def _keep_module(self, model: nn.Module, folder: Path) -> list[str]:
        """Keep what makes the module again; return why not, if its modules cannot be described."""
        try:
            write_module(model, self.task.baseline, folder / MODULE_FORM)
        except ArtefactError as reason:
            return [f"the module is not kept, but made again by the recipe: {reason}"]
        return []

    def _score(self, artefact: Path) -> Score:
        predict = predictor(artefact, self.task.outputs_like)
        return evaluate(predict, self.task.validation, self.task)

    def _beside_baseline(self, score: float, artefact: Artefact) -> dict[str, float]:
        drop = self.baseline.drop(score)
        base = self.baseline.metrics
        return {
            "score_drop": drop,
            "relative_drop": relative_drop(drop, base["score"]),
            "size_ratio": artefact.size_bytes / base["run_bytes"],
            "bits_per_weight": bits_per_weight(artefact.size_bytes, base["parameters"]),
            "bops_ratio": artefact.bit_operations / base["bops"],
        }

    def _latency(self, artefact: Path) -> Latency:
        """Time the artefact in turns with the baseline's, once for equal files and settings."""
        settings = asdict(self.latency)
        shapes = [array.shape for array in feeds(self.task.example).values()]
        return remembered_latency(
            self.task.cache,
            artefact,
            self.baseline.run_path,
            lambda: measure_latency(
                artefact,
                self.baseline.run_path,
                self.task.example,
                hold_machine=self.hold_machine,
                **settings,
            ),
            {**settings, "inputs": shapes},
        )
