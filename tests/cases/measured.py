"""What the recipes of the table make of one kind of model, by the way that every trial goes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from compressors.errors import InfeasibleError
from search.config.latency_settings import LatencySettings
from search.recipe.recipe import Recipe, Step
from search.recipe.validation import check_order
from search.tasks.loading import load_task
from search.trial.baseline import measure_baseline
from search.trial.evaluate import Evaluator
from tests.acting import acting_values, compressor_class
from tests.cases.case import Case

INTEGER_OPERATORS = {
    "ConvInteger",
    "DynamicQuantizeLSTM",
    "MatMulInteger",
    "MatMulNBits",
    "QuantizeLinear",
}
ONCE = LatencySettings(batch_size=1, threads=1, rounds=1)


def step(name: str, **changes: Any) -> Step:
    """Return a step at the anchors of its configuration, with some values changed."""
    made = compressor_class(name)
    values = acting_values(name) | changes
    return Step(name=name, target=f"{made.__module__}.{made.__qualname__}", values=values)


PRUNE = step("channel_pruning", ratio=0.5)
DISTIL = step("distillation")
RECIPES: Mapping[str, tuple[Step, ...]] = {
    "pruned": (PRUNE,),
    "8 bits": (step("quantization", bits=8),),
    "4 bits": (step("quantization", bits=4, granularity="group", group_size=16),),
    "distilled": (DISTIL,),
    "pruned and distilled": (PRUNE, DISTIL),
}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The files of one kind and their metrics, by recipe."""

    files: dict[str, Path] = field(default_factory=dict)
    metrics: dict[str, Mapping[str, float]] = field(default_factory=dict)
    infeasible: dict[str, str] = field(default_factory=dict)
    """By recipe, the sentence with which it was refused."""
    left: Mapping[str, str]
    """By layer of the baseline, why quantisation leaves it."""
    maximize: bool

    def gain(self, recipe: str, over: str) -> float:
        """Return by how much the score of a recipe is better than that of another."""
        gain = self.metrics[recipe]["score"] - self.metrics[over]["score"]
        return gain if self.maximize else -gain

    def error(self, recipe: str, other: str) -> float:
        """Return the greater standard error of two scores."""
        return max(self.metrics[name]["score_standard_error"] for name in (recipe, other))


def measure(case: Case, folder: Path) -> Measured:
    """Evaluate the baseline and every recipe of the table.

    Raises:
        ConfigError: The task is refused.
        ArtefactError: The baseline has no file.
        MeasurementError: The baseline's score or loss is no number.
    """
    task = load_task({"_target_": case.target}, folder / "measured")
    baseline = measure_baseline(task, folder / "baseline")
    left = RECIPES["8 bits"][0].compressor().skipped_layers(task.baseline, task)
    found = Measured(maximize=task.maximize, left=left)
    found.files["baseline"], found.metrics["baseline"] = baseline.run_path, baseline.metrics
    evaluator = Evaluator(task=task, baseline=baseline, latency=ONCE)
    for name, steps in RECIPES.items():
        check_order({step.name: step.compressor() for step in steps})
        try:
            evaluation = evaluator(Recipe(steps=steps, seed=0), folder / name)
        except InfeasibleError as reason:
            found.infeasible[name] = str(reason)
        else:
            found.metrics[name], found.files[name] = (
                evaluation.metrics,
                folder / name / "model.onnx",
            )
    return found


def runs_in_integers(path: Path) -> bool:
    """Return whether a file has an operator that computes in integers."""
    nodes = onnx.load(path).graph.node
    return any(node.op_type in INTEGER_OPERATORS for node in nodes)
