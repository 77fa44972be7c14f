"""The teacher's outputs on the training data: computed once, kept on disk, served by the epoch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.base import Inputs, run
from compressors.models.calibration import device_of, to_device
from compressors.outputs.spec import OutputSpec
from search.tasks.batches import Batch, batch_checksum, sample_digests
from search.utils.array_cache import ArrayCache, Arrays

MAX_EPOCH_BYTES = 256 * 2**20
"""Outputs of one epoch that take more bytes are not kept."""


@dataclass(frozen=True, kw_only=True)
class TeacherOutputs:
    """The distilled output of a task's baseline on each batch of an epoch."""

    teacher: nn.Module
    spec: OutputSpec
    """Which of the outputs is kept."""
    batches: Callable[[int], Iterator[Batch]]
    """The batches of an epoch, always the same for the same epoch."""
    cache: ArrayCache
    identity: Callable[[], str]
    """Names the teacher and the length of the data; called only when there is a first batch."""

    def of_epoch(self, epoch: int) -> Iterator[tuple[Inputs, Any, Tensor]]:
        """Yield `(inputs, targets, outputs)` with inputs `[B, ...]` and outputs of any shape.

        The outputs of an epoch are found by the teacher's identity and the epoch's first batch.
        Where they take more than `MAX_EPOCH_BYTES`, they are computed batch by batch.

        Raises:
            RuntimeError: The epoch's batches differ from those that the outputs belong to.
        """
        batches = self.batches(epoch)
        first = list(islice(batches, 1))
        if not first:
            return
        key, kept = self._kept(epoch, first[0][0])
        start = 0
        for index, (inputs, targets) in enumerate(chain(first, batches)):
            if not len(kept["prints"]):
                yield inputs, targets, self._outputs(inputs)
                continue
            if index >= len(kept["prints"]) or batch_checksum(inputs) != kept["prints"][index]:
                self.cache.forget(key)
                raise RuntimeError(
                    f"train batch {index} of epoch {epoch} differs from run to run; the training "
                    "data must come in the same order for the same epoch"
                )
            shape = kept["shapes"][index]
            end = start + int(shape.prod())
            yield inputs, targets, torch.from_numpy(kept["values"][start:end].reshape(shape))
            start = end

    def _kept(self, epoch: int, first: Inputs) -> tuple[str, Arrays]:
        """Return the key and the outputs of an epoch that begins with these inputs."""
        key = f"teacher {epoch} {self.spec.name} {batch_checksum(first)} {self.identity()}"
        return key, self.cache.get(key, lambda: self._compute(epoch))

    def _compute(self, epoch: int) -> Arrays:
        """Return the values of an epoch's outputs, one batch after another, and their shapes.

        Outputs of samples that epoch 0 holds are taken from there, until a batch has a sample that
        epoch 0 does not hold; from then on they are computed. Without `prints`, nothing is kept,
        since the outputs take too many bytes.
        """
        outputs: list[NDArray[Any]] = []
        prints: list[int] = []
        samples: list[int] = []
        size = 0
        known = self._by_sample() if epoch and self.spec.by_sample else {}
        for inputs, _ in self.batches(epoch):
            own = sample_digests(inputs) if known or not epoch else []
            known = known if own and known.keys() >= set(own) else {}
            rows = [known[sample] for sample in own] if known else []
            outputs.append(np.stack(rows) if rows else self._outputs(inputs).numpy())
            prints.append(batch_checksum(inputs))
            samples += own
            size += outputs[-1].nbytes
            if size > MAX_EPOCH_BYTES:
                return {"prints": np.empty(0, dtype=np.int64)}
        return {
            "values": np.concatenate([batch.ravel() for batch in outputs]),
            "shapes": np.array([batch.shape for batch in outputs]),
            "prints": np.array(prints),
            "samples": np.array([] if epoch else samples, dtype=np.int64),
        }

    def _by_sample(self) -> dict[int, NDArray[Any]]:
        """Return the outputs of epoch 0 by sample; none where rows and samples do not match."""
        first = next(self.batches(0), None)
        kept = self._kept(0, first[0])[1] if first else {}
        if not len(kept.get("prints", ())):
            return {}
        samples, shapes = kept["samples"], kept["shapes"]
        alike = bool((shapes[:, 1:] == shapes[0, 1:]).all())
        if not alike or shapes[:, 0].sum() != len(samples):
            return {}
        rows = kept["values"].reshape(len(samples), *shapes[0, 1:])
        return dict(zip(samples.tolist(), rows, strict=True))

    def _outputs(self, inputs: Inputs) -> Tensor:
        with torch.no_grad():
            outputs = run(self.teacher, to_device(inputs, device_of(self.teacher)))
        return self.spec.select(outputs).cpu()
