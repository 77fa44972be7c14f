"""What the user owns: a trained model, data, a loss and a score, as the search sees them."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b, sha256
from itertools import chain, islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.base import Inputs, run
from compressors.models.calibration import batch_size, calibration_batches, device_of, to_device
from compressors.models.fingerprint import content, output_digest
from search.errors import ConfigError
from search.utils.array_cache import ArrayCache, Arrays
from search.utils.files import cache_folder
from search.utils.instantiate import builder
from search.utils.provenance import methods_digest

Batch = tuple[Inputs, Any]
PARTS = ("model", "train", "validation", "test", "loss", "score")
BUDGETS = ("recovery_epochs", "tuning_epochs")
"""Values of a task node that are for the search's ranges, not for the function that builds it."""
OPTIONAL_PARTS = ("maximize", "example")
LARGEST_EPOCH = 256 * 2**20
"""The most bytes of teacher's outputs that are kept of one epoch."""


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
    cache: ArrayCache
    """The teacher's outputs and what was measured, shared by all studies of this machine."""

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

        The outputs of an epoch are found by the baseline's weights and the epoch's first batch.
        Where they take more than `LARGEST_EPOCH` bytes, they are computed batch by batch.

        Raises:
            RuntimeError: the epoch's batches differ from those the outputs were computed for.
        """
        batches = self.train_batches(epoch)
        first = list(islice(batches, 1))
        if not first:
            return
        key, kept = self._kept(epoch, first[0][0])
        start = 0
        for index, (inputs, targets) in enumerate(chain(first, batches)):
            if not len(kept["prints"]):
                yield inputs, targets, self._teacher(inputs)
                continue
            if index >= len(kept["prints"]) or _fingerprint(inputs) != kept["prints"][index]:
                self.cache.forget(key)
                raise RuntimeError(
                    f"train batch {index} of epoch {epoch} differs from run to run; the training "
                    "data must come in the same order for the same epoch"
                )
            shape = kept["shapes"][index]
            end = start + int(shape.prod())
            yield inputs, targets, torch.from_numpy(kept["values"][start:end].reshape(shape))
            start = end

    def measured(self, key: str, measure: Callable[[], Mapping[str, NDArray[Any]]]) -> Arrays:
        """Return what `measure` returns, remembered on disk for this baseline and data.

        The key names all else that the result depends on. The data are known by the batches that
        `calibration_batches` gives; another version of torch or of this code measures anew.
        """
        known = f"{methods_digest()} {self.data_digest} {self._baseline_digest}"
        return self.cache.get(f"measured {key} {known}", measure)

    def _kept(self, epoch: int, first: Inputs) -> tuple[str, Arrays]:
        """Return the key and the baseline's outputs of an epoch that begins with a batch."""
        key = f"teacher {epoch} {_fingerprint(first)} {self._length} {self._baseline_digest}"
        return key, self.cache.get(key, lambda: self._teacher_outputs(epoch))

    def _teacher(self, inputs: Inputs) -> Tensor:
        with torch.no_grad():
            outputs = run(self.baseline, to_device(inputs, device_of(self.baseline)))
        return cast(Tensor, outputs.cpu())

    def _teacher_outputs(self, epoch: int) -> Arrays:
        """Return the values of an epoch's outputs, one batch after another, and their shapes.

        What epoch 0 held is taken from there, sample by sample; as soon as there is a sample that
        it did not hold, the rest is computed. There are no prints if they would take too much.
        """
        outputs: list[NDArray[Any]] = []
        prints: list[int] = []
        samples: list[int] = []
        taken = 0
        known = self._by_sample() if epoch else {}
        for inputs, _ in self.train_batches(epoch):
            own = _samples(inputs) if known or not epoch else []
            known = known if own and known.keys() >= set(own) else {}
            if known:
                outputs.append(np.stack([known[sample] for sample in own]))
            else:
                outputs.append(self._teacher(inputs).numpy())
            prints.append(_fingerprint(inputs))
            samples += own
            taken += outputs[-1].nbytes
            if taken > LARGEST_EPOCH:
                return {"prints": np.empty(0, dtype=np.int64)}
        return {
            "values": np.concatenate([batch.ravel() for batch in outputs]),
            "shapes": np.array([batch.shape for batch in outputs]),
            "prints": np.array(prints),
            "samples": np.array([] if epoch else samples, dtype=np.int64),
        }

    def _by_sample(self) -> dict[int, NDArray[Any]]:
        """Return the baseline's outputs of epoch 0 by sample; none if they are not one a sample."""
        first = next(self.train_batches(0), None)
        kept = self._kept(0, first[0])[1] if first else {}
        if not len(kept.get("prints", ())):
            return {}
        samples, shapes = kept["samples"], kept["shapes"]
        alike = bool((shapes[:, 1:] == shapes[0, 1:]).all())
        if not alike or shapes[:, 0].sum() != len(samples):
            return {}
        rows = kept["values"].reshape(len(samples), *shapes[0, 1:])
        return dict(zip(samples.tolist(), rows, strict=True))

    @cached_property
    def _baseline_digest(self) -> str:
        inputs, _ = next(self.train_batches(0))
        there = to_device(inputs, device_of(self.baseline))
        return f"{torch.__version__} {output_digest(self.baseline, there)}"

    @property
    def _length(self) -> str:
        return str(len(self.train)) if isinstance(self.train, Sized) else ""

    @cached_property
    def data_digest(self) -> str:
        """A digest of the first training batches and, where it is known, of how many there are."""
        digest = sha256(self._length.encode())
        for inputs in calibration_batches(self, torch.device("cpu")):
            digest.update(str(_fingerprint(inputs)).encode())
        return digest.hexdigest()


def load_task(config: Mapping[str, Any], cache: Path | None = None) -> EvaluatedTask:
    """Build the task that a `task` node describes.

    Arguments:
        config: `_target_`, a function or class, and its arguments. What it returns has the parts
            model, train, validation, test, loss and score, as keys or as attributes.
        cache: folder for the teacher's outputs and what is measured of the baseline; all studies
            of this machine share one unless given.

    Raises:
        ConfigError: the target cannot be imported or called, or a part is missing or unfit.
    """
    build = task_builder(config)
    return _task(_parts(build(), config["_target_"]), cache)


def training_task(built: Any, model: nn.Module, cache: Path | None = None) -> EvaluatedTask:
    """Return a task to compress a model for, from what a task's function or class gives.

    Args:
        built: Mapping or object with the parts `train` and `loss`, or with `train_batches` for
            `train`. Without held-out data and a score the task serves for compressing alone.
        model: The baseline, put into eval mode and frozen; a model in `built` is not used.
        cache: As for `load_task`.

    Raises:
        ConfigError: a part is missing or unfit.
    """
    get = _getter(built)
    given = {name: get(name) for name in (*PARTS, *OPTIONAL_PARTS)}
    parts = {name: part for name, part in given.items() if part is not None} | {"model": model}
    if "train" not in parts and get("train_batches") is not None:
        parts["train"] = get("train_batches")
    unmeasured = {"validation": (), "test": (), "score": _no_score}
    return _task(_parts(unmeasured | parts, "the task"), cache)


def _task(parts: Mapping[str, Any], cache: Path | None) -> EvaluatedTask:
    """Return the task that its parts make, once the baseline ran on the example."""
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
        cache=ArrayCache(folder=cache or cache_folder() / "measured"),
    )
    _check(task)
    return task


def task_builder(config: Mapping[str, Any]) -> Callable[[], Any]:
    """Return the call that builds a task, checked but not made; raise `ConfigError` if unfit."""
    return builder("task", {k: v for k, v in config.items() if k not in BUDGETS})


def _getter(built: Any) -> Callable[[str], Any]:
    """Return what gives a part of a task by its name, None where there is none."""
    return built.get if isinstance(built, Mapping) else lambda name: getattr(built, name, None)


def _no_score(outputs: Any, targets: Any) -> float:
    raise ConfigError("the task gives no score, so that its model can be compressed, not measured")


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


def _as_inputs(inputs: Any) -> Inputs:
    return tuple(inputs) if isinstance(inputs, list) else cast(Inputs, inputs)


def _tensors(inputs: Inputs) -> list[Tensor]:
    if isinstance(inputs, Tensor):
        return [inputs]
    return list(inputs.values()) if isinstance(inputs, Mapping) else list(inputs)


def _samples(inputs: Inputs) -> list[int]:
    """Return a digest of each sample of a batch; none if the batch is not one tensor."""
    if not isinstance(inputs, Tensor):
        return []
    digests = (blake2b(bytes(content(row)), digest_size=8).digest() for row in inputs)
    return [int.from_bytes(digest, "little", signed=True) for digest in digests]


def _fingerprint(inputs: Inputs) -> int:
    value = 0
    for tensor in _tensors(inputs):
        value = zlib.crc32(content(tensor), value)
    return value
