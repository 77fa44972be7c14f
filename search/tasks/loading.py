"""Build a task from the parts that the user's function or class gives, and check them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compressors.base import run
from compressors.models.calibration import batch_size, device_of, to_device
from search.errors import ConfigError
from search.tasks.batches import as_inputs
from search.tasks.free_axes import checked_axes
from search.tasks.task import EvaluatedTask
from search.utils.array_cache import ArrayCache
from search.utils.files import cache_folder
from search.utils.instantiate import builder

PARTS = ("model", "train", "validation", "test", "loss", "score")
OPTIONAL_PARTS = ("maximize", "example", "free_axes")
BUDGETS = ("recovery_epochs", "tuning_epochs")
"""Values of a task node that are for the search's ranges, not for the function that builds it."""


def load_task(config: Mapping[str, Any], cache: Path | None = None) -> EvaluatedTask:
    """Build the task that a `task` node describes.

    Args:
        config: `_target_`, a function or class, and its arguments. It returns an object with the
            parts model, train, validation, test, loss and score, as keys or as attributes.
        cache: Folder of the teacher's outputs and of measurements of the baseline; by default one
            folder that all studies of this machine share.

    Raises:
        ConfigError: The target cannot be imported or called, or a part is missing or unfit.
    """
    build = task_builder(config)
    return _task(_parts(build(), config["_target_"]), cache)


def training_task(built: Any, model: nn.Module, cache: Path | None = None) -> EvaluatedTask:
    """Build a task that serves for compressing a model alone.

    Args:
        built: What a task's function or class returns, or a mapping or object with the parts
            `train` (or `train_batches`) and `loss`. Held-out data and a score may be missing.
        model: The baseline, put into eval mode and frozen; a model in `built` is not used.
        cache: As for `load_task`.

    Raises:
        ConfigError: A part is missing or unfit.
    """
    get = _getter(built)
    given = {name: get(name) for name in (*PARTS, *OPTIONAL_PARTS)}
    parts = {name: part for name, part in given.items() if part is not None} | {"model": model}
    if "train" not in parts and get("train_batches") is not None:
        parts["train"] = get("train_batches")
    unmeasured = {"validation": (), "test": (), "score": _no_score}
    return _task(_parts(unmeasured | parts, "the task"), cache)


def _task(parts: Mapping[str, Any], cache: Path | None) -> EvaluatedTask:
    train = parts["train"]
    example = parts.get("example")
    if example is None:
        example = next(iter(train(0) if callable(train) else train))[0]
    example = to_device(as_inputs(example), torch.device("cpu"))
    task = EvaluatedTask(
        baseline=parts["model"].eval().requires_grad_(False),
        example=example,
        train=train,
        validation=parts["validation"],
        test=parts["test"],
        loss=parts["loss"],
        score=parts["score"],
        maximize=bool(parts.get("maximize", True)),
        cache=ArrayCache(folder=cache or cache_folder() / "measured"),
        declared_axes=checked_axes(parts.get("free_axes", {}), example),
    )
    _check(task)
    return task


def task_builder(config: Mapping[str, Any]) -> Callable[[], Any]:
    """Return the call that builds a task, checked but not made.

    Raises:
        ConfigError: The target cannot be imported or does not take these arguments.
    """
    return builder("task", {k: v for k, v in config.items() if k not in BUDGETS})


def _getter(built: Any) -> Callable[[str], Any]:
    """Return the function that gives a part by its name, None where there is none."""
    return built.get if isinstance(built, Mapping) else lambda name: getattr(built, name, None)


def _no_score(outputs: Any, targets: Any) -> float:
    raise ConfigError("the task gives no score: its model can be compressed, but not measured")


def _parts(built: Any, target: str) -> dict[str, Any]:
    get = _getter(built)
    parts = {name: get(name) for name in (*PARTS, *OPTIONAL_PARTS)}
    missing = [name for name in PARTS if parts[name] is None]
    if missing:
        raise ConfigError(f"{target} gives no {', '.join(missing)}; a task has {', '.join(PARTS)}")
    if not isinstance(parts["model"], nn.Module):
        raise ConfigError(f"{target}: model must be a torch.nn.Module, got {type(parts['model'])}")
    return {name: value for name, value in parts.items() if value is not None}


def _check(task: EvaluatedTask) -> None:
    """Run the baseline on the example once, before anything expensive."""
    size = batch_size(task.example)
    if size < 2:
        raise ConfigError(f"the task's example must hold at least 2 inputs, got {size}")
    with torch.no_grad():
        outputs = run(task.baseline, to_device(task.example, device_of(task.baseline)))
    if not isinstance(outputs, Tensor) or outputs.shape[:1] != (size,):
        raise ConfigError(
            f"the model must return one tensor [B, ...] for B inputs, got {type(outputs).__name__}"
        )
    if not bool(torch.isfinite(outputs).all()):
        raise ConfigError("the model's outputs on the task's example are not finite")
