import csv
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from search.errors import ConfigError
from search.tasks.workloads import reviews

WORDS = ["", "good", "bad", "film", "plot", "dull", "fine"]


class Tokenizer:
    """Numbers words as they stand in `WORDS`."""

    pad_token_id = 0

    def __call__(
        self, texts: Sequence[str], *, add_special_tokens: bool
    ) -> dict[str, list[list[int]]]:
        return {"input_ids": [[WORDS.index(word) for word in text.split()] for text in texts]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = [
        (" ".join(WORDS[1 + (n // 6**k) % 6] for k in range(1 + n % 5)), n % 2, source)
        for n in range(400)
        for source in (reviews.SENTENCES, reviews.WHOLE)
    ]
    path = tmp_path / reviews.PACKAGE.names[0]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label", "source"), *rows, *rows])
    digests = {path.name: sha256(path.read_bytes()).hexdigest()}
    monkeypatch.setattr(reviews, "PACKAGE", replace(reviews.PACKAGE, sha256=digests))
    monkeypatch.setattr(reviews, "VALIDATION", 20)
    monkeypatch.setattr(reviews, "TEST", 30)
    return tmp_path


@pytest.fixture
def sentences(folder: Path) -> dict[str, reviews.Sentences]:
    return reviews.load_sentences(folder, Tokenizer())


def test_no_sentence_is_in_two_parts(sentences: dict[str, reviews.Sentences]) -> None:
    parts = [{tuple(tokens) for tokens in part.tokens} for part in sentences.values()]
    assert [len(part) for part in parts[1:]] == [20, 30]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


def test_batches_are_as_long_as_their_longest_sentence(
    sentences: dict[str, reviews.Sentences],
) -> None:
    for inputs, labels in sentences["train"]:
        mask = inputs["attention_mask"]
        assert mask.sum(1).max() == mask.shape[1] == inputs["input_ids"].shape[1]
        assert ((inputs["input_ids"] != 0) == mask.bool()).all()
        assert len(labels) == len(mask)


def test_an_epoch_always_has_one_order(sentences: dict[str, reviews.Sentences]) -> None:
    train = sentences["train"]
    first, again, other = (torch.cat([y for _, y in train(epoch)]) for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_another_file_is_refused_with_both_digests(folder: Path) -> None:
    path = folder / reviews.PACKAGE.names[0]
    path.write_text(path.read_text().replace("dull", "dark"))
    with pytest.raises(ConfigError, match=r"has sha256 .*, not"):
        reviews.load_sentences(folder, Tokenizer())


def test_too_few_sentences_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviews, "TEST", 400)
    with pytest.raises(ConfigError, match="more than 420 rows of rotten_tomatoes"):
        reviews.load_sentences(folder, Tokenizer())
