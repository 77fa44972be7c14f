"""Samples become the batches that torch's own loader makes of them; batches stay batches."""

from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from transformers import BatchEncoding
from transformers.data.data_collator import default_data_collator

from search.errors import ConfigError
from search.tasks.adapters.rows import row_parts


class Takes(nn.Module):
    def forward(self, input_ids: Tensor, mask: Tensor | None = None, **more: Any) -> Tensor:
        return input_ids


ROWS = [{"input_ids": [n, n + 1], "text": "words", "label": n % 2} for n in range(5)]


def test_rows_of_datasets_are_stacked_without_columns_that_the_model_does_not_take() -> None:
    (batch, rest) = row_parts(
        {"model": Takes(), "validation": Dataset.from_list(ROWS), "batch_size": 3}
    )["validation"]
    assert set(batch) == {"input_ids", "label"}
    assert batch["input_ids"].tolist() == [[0, 1], [1, 2], [2, 3]]
    assert batch["label"].tolist() == [0, 1, 0]
    assert len(rest["label"]) == 2


def test_collate_joins_as_the_library_does() -> None:
    parts = {"model": Takes(), "validation": ROWS, "collate": default_data_collator}
    (batch,) = row_parts(parts)["validation"]
    expected = default_data_collator([{k: r[k] for k in ("input_ids", "label")} for r in ROWS])
    assert batch.keys() == expected.keys()
    assert all(torch.equal(batch[name], expected[name]) for name in batch)


def test_only_training_rows_are_shuffled() -> None:
    rows = [{"input_ids": [n], "label": 0} for n in range(64)]
    found = row_parts({"model": Takes(), "train": rows, "test": rows, "batch_size": 64})
    torch.manual_seed(0)
    (drawn,), (stored,) = found["train"], found["test"]
    assert stored["input_ids"].flatten().tolist() == list(range(64))
    assert drawn["input_ids"].flatten().tolist() != list(range(64))


def test_pairs_of_a_torch_dataset_are_samples() -> None:
    pairs = TensorDataset(torch.randn(6, 3), torch.arange(6))
    ((inputs, targets),) = row_parts({"model": nn.Linear(3, 2), "test": pairs})["test"]
    assert torch.equal(inputs, pairs.tensors[0])
    assert torch.equal(targets, pairs.tensors[1])


@pytest.mark.parametrize(
    "data",
    [
        [(torch.randn(4, 3), torch.arange(4))],
        [{"input_ids": torch.ones(4, 3), "labels": torch.arange(4)}],
        [{"input_ids": torch.ones(4, 3), "labels": torch.arange(4), "note": "kept by the user"}],
        [BatchEncoding({"input_ids": torch.ones(4, 3), "labels": torch.arange(4)})],
        [torch.randn(4, 3)],
        [(torch.randn(4, 3), [torch.arange(4), torch.arange(4)])],
        DataLoader(TensorDataset(torch.randn(4, 3), torch.arange(4))),
        lambda epoch: iter(()),
        [],
    ],
)
def test_batches_stay_as_they_are(data: Any) -> None:
    assert row_parts({"model": Takes(), "train": data})["train"] is data


def test_rows_of_different_lengths_name_the_remedy() -> None:
    rows = [{"input_ids": [0] * n, "label": 0} for n in (2, 3)]
    (loader,) = row_parts({"model": Takes(), "test": rows}).values()
    with pytest.raises(ConfigError, match=r"differ in 'input_ids': \(2,\) and \(3,\); give .*coll"):
        next(iter(loader))


def test_collate_needs_rows() -> None:
    with pytest.raises(ConfigError, match=r"collate, but its test data, DataLoader, cannot be"):
        row_parts({"test": DataLoader([1]), "collate": list})
