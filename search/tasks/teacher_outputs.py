"""The teacher's outputs on the training data: computed once, kept on disk, served by the epoch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compressors.base import Inputs, run
from compressors.models.calibration import device_of, to_device
from compressors.outputs.spec import OutputSpec
from search.tasks.batches import Batch, batch_checksum, sample_digests
from search.tasks.epoch_outputs import EpochOutputs
from search.utils.array_cache import ArrayCache


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
        What is not known yet is computed as the batches go by, and kept afterwards. Where the
        batches differ from run to run, or the outputs take too many bytes, each is computed anew.
        """
        batches = self.batches(epoch)
        first = next(batches, None)
        if first is None:
            return
        key, kept = self._kept(epoch, first[0])
        reuse = epoch and self.spec.by_sample and kept.by_sample and not kept.complete
        known = self._by_sample() if reuse else {}
        try:
            for index, (inputs, targets) in enumerate(chain([first], batches)):
                checksum = batch_checksum(inputs)
                found = kept.at(index, checksum)
                if found is None:
                    own = sample_digests(inputs) if known or not epoch else []
                    known = known if own and known.keys() >= set(own) else {}
                    rows = [known[sample] for sample in own] if known else []
                    found = np.stack(rows) if rows else self._outputs(inputs).numpy()
                    kept.by_sample = bool(rows)
                    kept.add(found, checksum, [] if epoch else own)
                yield inputs, targets, torch.from_numpy(found)
            kept.finish()
        finally:
            self._keep(key, kept)

    def _kept(self, epoch: int, first: Inputs) -> tuple[str, EpochOutputs]:
        """Return the key and the outputs of an epoch that begins with these inputs."""
        key = f"outputs {epoch} {self.spec.name} {batch_checksum(first)} {self.identity()}"
        return key, EpochOutputs(self.cache.find(key))

    def _keep(self, key: str, outputs: EpochOutputs) -> None:
        if outputs.diverged:
            self.cache.forget(key)
        elif outputs.new:
            self.cache.keep(key, outputs.arrays())

    def _by_sample(self) -> dict[int, NDArray[Any]]:
        """Return the outputs of epoch 0 by sample; none where rows and samples do not match."""
        first = next(self.batches(0), None)
        if first is None:
            return {}
        kept = self._kept(0, first[0])[1]
        if not kept.complete:
            for _ in self.of_epoch(0):
                pass
            kept = self._kept(0, first[0])[1]
        return kept.rows()

    def _outputs(self, inputs: Inputs) -> Tensor:
        with torch.no_grad():
            outputs = run(self.teacher, to_device(inputs, device_of(self.teacher)))
        return self.spec.select(outputs).cpu()
