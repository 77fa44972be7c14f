"""What identifies a task's data beside its score: the size of the training data, and the test set.

No trial sees the test set, and none is scored on it to know it; its values are only read.
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compressors.models.calibration import batch_size
from compressors.models.fingerprint import content
from search.tasks.batches import Batch
from search.tasks.task import EvaluatedTask

TRAINING, TEST, FIRST = "training_samples", "test_set", "first_batches"
BITS = 64


def data_identity(task: EvaluatedTask) -> dict[str, Any]:
    """Return the number of training samples, and digests of the first of them and the test set.

    The latter is None where the test set cannot be read; its scoring says why.
    """
    return {
        TRAINING: task.train.samples,
        TEST: _digest_if_readable(task.test),
        FIRST: task.data_digest,
    }


def changed_data(task: EvaluatedTask, kept: Mapping[str, Any]) -> str:
    """Return in a clause how the data differ from those that were kept; empty if they do not.

    A test set that differs from one reading to the next has no identity, nor has one that could
    not be read; and what earlier versions did not keep is not compared.
    """
    samples = task.train.samples
    if kept.get(TRAINING) not in (None, samples):
        return f"the task has {samples} training samples and had {kept[TRAINING]}"
    known = kept.get(TEST)
    now = _digest_if_readable(task.test) if known is not None else None
    if now != known and now is not None and now == _digest_if_readable(task.test):
        return f"the task's test set is now {now}, and it was {known}"
    return ""


def set_digest(batches: Iterable[Batch]) -> str:
    """Return the number of samples and a digest of all inputs and targets, whatever their order.

    Args:
        batches: Inputs `[B, ...]` and targets. Where a tensor among them has no axis of B samples,
            the order of the batches does not matter, but their division does.
    """
    count, total = 0, 0
    for inputs, targets in batches:
        size = batch_size(inputs)
        leaves = [*_leaves(inputs), *_leaves(targets)]
        rows = [leaf for leaf in leaves if leaf.ndim and leaf.shape[0] == size]
        whole = [leaf for leaf in leaves if not (leaf.ndim and leaf.shape[0] == size)]
        total += sum(_digest(leaf[row] for leaf in rows) for row in range(size))
        total += _digest(whole) if whole else 0
        count += size
    return f"{count} samples, {total % 2**BITS:016x}"


def _digest_if_readable(batches: Iterable[Batch]) -> str | None:
    try:
        return set_digest(batches)
    except Exception:  # noqa: BLE001 - the user's own loader; a study goes on without test scores
        return None


def _digest(tensors: Iterable[Tensor]) -> int:
    digest = blake2b(digest_size=BITS // 8)
    for tensor in tensors:
        digest.update(str((tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(content(tensor))
    return int.from_bytes(digest.digest(), "little")


def _leaves(value: Any) -> Iterator[Tensor]:
    """Yield the tensors, arrays, numbers and texts of any structure as tensors of any shape."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        yield torch.from_numpy(value)
    elif isinstance(value, bool | int | float):
        yield torch.tensor([value], dtype=torch.float64)
    elif isinstance(value, str):
        yield torch.tensor(list(value.encode()), dtype=torch.uint8)
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(item)
