"""What the user owns: a trained model, data, a loss and a score, as the search sees them."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from compressors.base import Inputs, run
from compressors.calibration import batch_size, device_of, to_device
from search.errors import ConfigError
from search.files import write_atomically
from search.targets import builder

Batch = tuple[Inputs, Any]
PARTS = ("model", "train", "validation", "test", "loss", "score")
OPTIONAL_PARTS = ("maximize", "example")


@dataclass(frozen=True, kw_only=True)
class EvaluatedTask:
    """A task with its held-out data, which no compressor can reach.

    Built by `load_task` from the parts that the user gives. It is a `compressors.base.Task`.
    """

    baseline: nn.Module
    example: Inputs
    """On the CPU, wherever the model is."""
    train: Callable[[int], Iterable[Batch]] | Iterable[Batch]
    validation: Iterable[Batch]
    """What the search sees."""
    test: Iterable[Batch]
    """Touched once, for the final front."""
    loss: Callable[[Any, Any], Tensor]
    score: Callable[[Any, Any], Tensor | float]
    """Of outputs and targets: a value per example `[N]`, or one figure for all of them."""
    maximize: bool
    cache: Path
    """Folder of the teacher's outputs, one file an epoch."""

    def train_batches(self, epoch: int) -> Iterator[Batch]:
        """Yield `(inputs, targets)`; the same epoch yields the same batches in the same order.

        A data loader that shuffles or augments draws from torch's global generator; it is given a
        state of its own that depends on the epoch alone.
        """
        state = torch.Generator().manual_seed(epoch).get_state()
        batches: Iterator[Batch] | None = None
        while True:
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(state)
                if batches is None:
                    batches = iter(self.train(epoch) if callable(self.train) else self.train)
                batch = next(batches, None)
                state = torch.get_rng_state()
            if batch is None:
                return
            yield _as_inputs(batch[0]), batch[1]

    def teacher_batches(self, epoch: int) -> Iterator[tuple[Inputs, Any, Tensor]]:
        """Yield `(inputs, targets, outputs of the baseline)`, computed once and kept on disk.

        Raises:
            RuntimeError: the epoch's batches differ from those the outputs were computed for.
        """
        path = self.cache / f"teacher_{epoch:04d}.npz"
        if not path.exists():
            self._keep_teacher_outputs(epoch, path)
        with np.load(path) as kept:
            outputs, sizes, prints = kept["outputs"], kept["sizes"], kept["prints"]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        for index, (inputs, targets) in enumerate(self.train_batches(epoch)):
            if index >= len(prints) or _fingerprint(inputs) != prints[index]:
                raise RuntimeError(
                    f"train batch {index} of epoch {epoch} differs from run to run; the training "
                    "data must come in the same order for the same epoch"
                )
            teacher = torch.from_numpy(outputs[starts[index] : starts[index + 1]])
            yield inputs, targets, teacher

    def _keep_teacher_outputs(self, epoch: int, path: Path) -> None:
        outputs, sizes, prints = [], [], []
        device = device_of(self.baseline)
        with torch.no_grad():
            for inputs, _ in self.train_batches(epoch):
                outputs.append(run(self.baseline, to_device(inputs, device)).cpu().numpy())
                sizes.append(len(outputs[-1]))
                prints.append(_fingerprint(inputs))
        with write_atomically(path) as file:
            np.savez(file, outputs=np.concatenate(outputs), sizes=sizes, prints=prints)


def load_task(config: Mapping[str, Any], cache: Path) -> EvaluatedTask:
    """Build the task that a `task` node describes.

    Arguments:
        config: `_target_`, a function or class, and its arguments. What it returns has the parts
            model, train, validation, test, loss and score, as keys or as attributes.
        cache: folder for the teacher's outputs.

    Raises:
        ConfigError: the target cannot be imported or called, or a part is missing or unfit.
    """
    build = task_builder(config)
    parts = _parts(build(), config["_target_"])
    model = parts["model"].eval().requires_grad_(False)
    train = parts["train"]
    example = parts.get("example")
    if example is None:
        example = next(iter(train(0) if callable(train) else train))[0]
    task = EvaluatedTask(
        baseline=model,
        example=to_device(_as_inputs(example), torch.device("cpu")),
        train=train,
        validation=parts["validation"],
        test=parts["test"],
        loss=parts["loss"],
        score=parts["score"],
        maximize=bool(parts.get("maximize", True)),
        cache=cache,
    )
    _check(task)
    return task


def task_builder(config: Mapping[str, Any]) -> Callable[[], Any]:
    """Return the call that builds a task, checked but not made; raise `ConfigError` if unfit."""
    return builder("task", {k: v for k, v in config.items() if k != "recovery_epochs"})


def _parts(built: Any, target: str) -> dict[str, Any]:
    get: Callable[[str], Any]
    get = built.get if isinstance(built, Mapping) else lambda name: getattr(built, name, None)
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


def _as_inputs(inputs: Any) -> Inputs:
    return tuple(inputs) if isinstance(inputs, list) else cast(Inputs, inputs)


def _tensors(inputs: Inputs) -> list[Tensor]:
    if isinstance(inputs, Tensor):
        return [inputs]
    return list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs)


def _fingerprint(inputs: Inputs) -> int:
    value = 0
    for tensor in _tensors(inputs):
        value = zlib.crc32(tensor.cpu().contiguous().numpy().tobytes(), value)
    return value
