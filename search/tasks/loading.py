"""Build a task from the parts that the user's function or class gives, and check them."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compressors.base import Inputs, output_tensors
from compressors.errors import UnfitModelError
from compressors.models.calibration import batch_size, device_of, few, to_device
from compressors.models.decoding_cache import switch_off_cache
from compressors.models.plain import PlainModel, plain_model
from compressors.models.plain_layers import in_float32
from compressors.models.unwrapping import unwrapped
from compressors.outputs.spec import StatedOutputs, stated_outputs
from compressors.outputs.structure import floating_tensors, named_tensors
from search.errors import ConfigError
from search.tasks.adapters.parts import given_parts, with_implied_parts
from search.tasks.batch_form import (
    BatchForm,
    HeldOutBatches,
    batch_form,
    of_targets,
)
from search.tasks.batches import Batch, TrainingData, raw_batches
from search.tasks.data_intake import check_held_out_data, check_training_data, empty_data
from search.tasks.free_axes import checked_axes
from search.tasks.output_intake import outputs_on_cpu
from search.tasks.random_state import BUILD_SEED, EpochRandomness
from search.tasks.task import EvaluatedTask
from search.tasks.training_batches import TrainingBatches
from search.tasks.training_loss import TrainingLoss
from search.utils.array_cache import ArrayCache
from search.utils.failure_cause import failure_cause
from search.utils.files import cache_folder
from search.utils.instantiate import builder

PARTS = ("model", "train", "validation", "test", "loss", "score")
OPTIONAL_PARTS = (
    *("maximize", "example", "outputs", "target_key", "train_step", "free_axes"),
    *("data", "collate", "batch_size", "card"),
)
CARD = ("metric", "preprocessing", "license")
BUDGETS = ("recovery_epochs", "tuning_epochs")
"""Values of a task node that are for the search's ranges, not for the function that builds it."""

MODEL_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, AssertionError)
"""What a model's own code raises on a batch that it does not fit."""
NO_CACHE = "the model's cache of earlier tokens is switched off (use_cache), here and in the file"


def load_task(config: Mapping[str, Any], cache: Path | None = None) -> EvaluatedTask:
    """Build the task that a `task` node describes.

    The global generators of torch, Python and numpy are seeded meanwhile, so that a model that is
    initialised or trained there without a seed is the same in every process.

    Args:
        config: `_target_`, a function or class, and its arguments. It returns an object with the
            parts model, train, validation, test, loss and score, as keys or as attributes.
        cache: Folder of the teacher's outputs and of measurements of the baseline; by default one
            folder that all studies of this machine share.

    Raises:
        ConfigError: The target cannot be imported or called, or a part is missing or unfit.
    """
    build = task_builder(config)
    with EpochRandomness(BUILD_SEED).drawing():
        built = build()
    return _task(_parts(built, config["_target_"]), cache)


def training_task(built: Any, model: nn.Module, cache: Path | None = None) -> EvaluatedTask:
    """Build a task that serves for compressing a model alone.

    Args:
        built: What a task's function or class returns, or a mapping or object with the parts
            `train` (or `train_batches`) and `loss`. Held-out data and a score may be missing.
        model: The baseline; it is not changed, and a model in `built` is not used.
        cache: As for `load_task`.

    Raises:
        ConfigError: A part is missing or unfit.
    """
    parts = given_parts(built, (*PARTS, *OPTIONAL_PARTS, "train_batches")) | {"model": model}
    parts.setdefault("train", parts.pop("train_batches", None))
    unmeasured = {"validation": (), "test": (), "score": _no_score}
    return _task(_parts(unmeasured | parts, "the task"), cache)


def _task(parts: Mapping[str, Any], cache: Path | None) -> EvaluatedTask:
    check_training_data(parts["train"])
    for name in ("validation", "test"):
        check_held_out_data(name, parts[name])
    own_step = parts.get("train_step")
    model = unwrapped(parts["model"])
    form = batch_form(model, parts.get("target_key", ""), whole=own_step is not None)
    train = _Reader(parts["train"], form)
    example = _example(parts, train)
    plain = _plain(parts["model"], few(example))
    taken = to_device(in_float32(example), torch.device("cpu"))
    cached = switch_off_cache(plain.model, lambda: outputs_on_cpu(plain.model, few(taken)))
    outputs = _checked_outputs(plain.model, taken)
    loss = of_targets(parts["loss"]) if own_step else parts["loss"]
    return EvaluatedTask(
        baseline=plain.model,
        example=taken,
        train=TrainingBatches(parts["train"], train.read),
        validation=HeldOutBatches(name="validation", batches=parts["validation"], form=form),
        test=HeldOutBatches(name="test", batches=parts["test"], form=form),
        loss=TrainingLoss(loss, plain.model, taken, outputs),
        score=parts["score"],
        maximize=bool(parts.get("maximize", True)),
        stated=_stated(parts.get("outputs")),
        outputs_like=outputs,
        train_step=own_step,
        card=_card(parts),
        declared_axes=checked_axes(parts.get("free_axes", {}), taken),
        notes=(*plain.notes, *_cast_inputs(example), *([NO_CACHE] if cached else [])),
        cache=ArrayCache(folder=cache or cache_folder() / "measured"),
    )


def _card(parts: Mapping[str, Any]) -> dict[str, str]:
    """Return the words for a model card; the metric is called as its function if nothing is said.

    Raises:
        ConfigError: There are other words than these.
    """
    said = parts.get("card") or {}
    if not isinstance(said, Mapping) or not said.keys() <= set(CARD):
        raise ConfigError(
            f"the task's card must map some of {', '.join(CARD)} to text, got {said!r}"
        )
    name = getattr(parts["score"], "__name__", "score")
    metric = name if name.isidentifier() else "score"
    return {"metric": metric} | {key: str(text) for key, text in said.items()}


def _stated(said: object) -> StatedOutputs:
    try:
        return stated_outputs(said)
    except ValueError as error:
        raise ConfigError(f"the task's {error}") from error


class _Reader:
    """Reads training data; the pass that gives the example is the first one of epoch 0."""

    def __init__(self, data: TrainingData, form: BatchForm) -> None:
        self.form = form
        self._data = data
        self._opened: Iterator[Any] | None = None

    def first(self) -> Any:
        """Return the first batch of epoch 0 as the data give it.

        Raises:
            ConfigError: There is none.
        """
        rest = raw_batches(self._data, 0)
        for batch in rest:
            self._opened = chain([batch], rest)
            return batch
        raise empty_data("train")

    def read(self, data: TrainingData, epoch: int) -> Iterator[Batch]:
        """Yield inputs and targets of an epoch."""
        opened, self._opened = (self._opened, None) if epoch == 0 else (None, self._opened)
        return map(self.form.read, opened or raw_batches(data, epoch))


def _example(parts: Mapping[str, Any], train: _Reader) -> Inputs:
    """Return the task's example `[B, ...]`, or its first training inputs, in their own types."""
    if parts.get("example") is not None:
        return train.form.example_as_given(parts["example"])
    return train.form.inputs_as_given(train.first())


def _plain(model: nn.Module, example: Inputs) -> PlainModel:
    try:
        return plain_model(model, to_device(example, device_of(model)))
    except UnfitModelError as error:
        raise ConfigError(f"the task's model cannot be used: {error}") from error
    except MODEL_ERRORS as error:
        raise ConfigError(
            f"the task's model fails on the first {batch_size(example)} samples of a batch: "
            f"{failure_cause(error)}; it must take the inputs that the data give, in batches of "
            "any size: write x.shape[0] or -1 where its code has a batch size"
        ) from error


def _cast_inputs(example: Inputs) -> list[str]:
    """Return a clause that names the types of inputs `[B, ...]` which are cast to float32."""
    types = {str(t.dtype).removeprefix("torch.") for t in output_tensors(example)}
    cast = sorted(types & {"float64", "float16", "bfloat16"})
    return [f"inputs of type {' and '.join(cast)} are cast to float32"] if cast else []


def task_builder(config: Mapping[str, Any]) -> Callable[[], Any]:
    """Return the call that builds a task, checked but not made.

    Raises:
        ConfigError: The target cannot be imported or does not take these arguments.
    """
    return builder("task", {k: v for k, v in config.items() if k not in BUDGETS})


def _no_score(outputs: Any, targets: Any) -> float:
    raise ConfigError("the task gives no score: its model can be compressed, but not measured")


def _parts(built: Any, target: str) -> dict[str, Any]:
    given = given_parts(built, (*PARTS, *OPTIONAL_PARTS))
    if "model" in given and not isinstance(given["model"], nn.Module):
        raise ConfigError(
            f"{target}: model must be a torch.nn.Module, got {type(given['model']).__name__}"
        )
    parts = with_implied_parts(given)
    missing = [name for name in PARTS if name not in parts]
    if missing:
        raise ConfigError(f"{target} gives no {', '.join(missing)}; a task has {', '.join(PARTS)}")
    return parts


def _checked_outputs(model: nn.Module, example: Inputs) -> Any:
    """Run the baseline on few samples once, before anything expensive; return its outputs."""
    if batch_size(example) < 2:
        size = batch_size(example)
        raise ConfigError(f"the task's example must hold at least 2 inputs, got {size}")
    example = few(example)
    size = batch_size(example)
    outputs = outputs_on_cpu(model, example)
    tensors = floating_tensors(outputs)
    if not any(size in tensor.shape for tensor in tensors.values()):
        raise ConfigError(
            f"the model must return a floating-point tensor with an axis of B for B inputs, alone "
            f"or in tuples, lists, mappings or dataclasses; for {size} inputs it returns "
            f"{type(outputs).__name__} with {_shapes(outputs) or 'no tensor'}"
        )
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ConfigError(f"the model's {name} on the task's example is not finite")
    return outputs


def _shapes(outputs: Any) -> str:
    return ", ".join(f"{name} {list(t.shape)}" for name, t in named_tensors(outputs).items())
