"""Data given sample by sample, such as rows of the library datasets, served in batches."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

from compressors.models.unwrapping import unwrapped
from search.errors import ConfigError
from search.tasks.batch_form import BY_NAME, LABEL_KEYS

DATA = ("train", "validation", "test")
BATCH_SIZE = 32
"""Samples of a batch where the task does not say."""


def row_parts(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return loaders in the place of data that hold single samples.

    A sample is a pair whose target has no axis, or a mapping. Its columns that the model does not
    take are left out. Samples of a batch are joined by the part `collate`, by default stacked;
    those for training are shuffled.

    Raises:
        ConfigError: `collate` is given for data that cannot be read by sample.
    """
    given = {name: parts[name] for name in DATA if name in parts}
    collate = parts.get("collate")
    columns = _columns(parts.get("model"), parts.get("target_key", ""))
    joined = JoinedSamples(columns=columns, collate=collate or _stacked)
    return {
        name: DataLoader(
            rows, parts.get("batch_size", BATCH_SIZE), shuffle=name == "train", collate_fn=joined
        )
        if _holds_samples(name, rows, told=collate is not None)
        else rows
        for name, rows in given.items()
    }


@dataclass(frozen=True, kw_only=True)
class JoinedSamples:
    """Joins samples into a batch."""

    columns: frozenset[str]
    """Columns of a mapping that are kept; empty for all."""
    collate: Callable[[list[Any]], Any]

    def __call__(self, samples: Sequence[Any]) -> Any:
        """Return the batch of some samples, tensors `[B, ...]`."""
        return self.collate([self._kept(sample) for sample in samples])

    def _kept(self, sample: Any) -> Any:
        if not isinstance(sample, Mapping) or not self.columns:
            return sample
        return {name: value for name, value in sample.items() if name in self.columns}


def _columns(model: Any, target_key: str) -> frozenset[str]:
    """Return the columns that a model takes by name, and those of the targets."""
    if not isinstance(model, nn.Module):
        return frozenset()
    parameters = inspect.signature(unwrapped(model).forward).parameters.values()
    named = {p.name for p in parameters if p.kind in BY_NAME}
    return frozenset({*named, *LABEL_KEYS, *([target_key] if target_key else [])} if named else ())


def _holds_samples(name: str, data: Any, *, told: bool) -> bool:
    readable = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    if told and not readable:
        raise ConfigError(
            f"the task gives collate, but its {name} data, {type(data).__name__}, cannot be read "
            "by sample; give rows with a length, or batches and no collate"
        )
    return readable and len(data) > 0 and (told or _is_sample(data[0]))


def _is_sample(item: Any) -> bool:
    if isinstance(item, Mapping):
        labels = [item[key] for key in LABEL_KEYS if key in item]
        batched = any(isinstance(value, Tensor | np.ndarray) for value in item.values())
        return any(map(_has_no_axis, labels)) or not batched
    return isinstance(item, tuple) and len(item) > 1 and _has_no_axis(item[1])


def _has_no_axis(value: Any) -> bool:
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return value.ndim == 0
    return isinstance(value, int | float)


def _stacked(samples: list[Any]) -> Any:
    """Return the batch of samples whose columns have one shape each, tensors `[B, ...]`.

    Raises:
        ConfigError: The samples of a column differ in shape.
    """
    if not isinstance(samples[0], Mapping):
        return default_collate(samples)
    return {name: _column(name, [sample[name] for sample in samples]) for name in samples[0]}


def _column(name: str, values: list[Any]) -> Tensor:
    tensors = [torch.as_tensor(value) for value in values]
    sizes = sorted({tuple(tensor.shape) for tensor in tensors})
    if len(sizes) > 1:
        raise ConfigError(
            f"samples of one batch differ in '{name}': {sizes[0]} and {sizes[-1]}; give the task a "
            "collate that fills them up, such as transformers.DataCollatorWithPadding(tokenizer)"
        )
    return torch.stack(tensors)
