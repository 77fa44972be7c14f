import csv
from pathlib import Path

import pytest

pytest.importorskip("transformers")

import torch
from transformers import BertTokenizerFast

from benchmarks import reviews

# Slow: the import of transformers.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

WORDS = ["good", "bad", "film", "plot", "dull", "fine"]


@pytest.fixture
def sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, reviews.Sentences]:
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])
    )
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    rows = [
        (" ".join(WORDS[(n // 6**k) % 6] for k in range(1 + n % 5)), n % 2, source)
        for n in range(400)
        for source in (reviews.SOURCE, "imdb")
    ]
    with (tmp_path / "all.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label", "source"), *rows, *rows])
    monkeypatch.setattr(reviews, "VALIDATION", 20)
    monkeypatch.setattr(reviews, "TEST", 30)
    return reviews.load_reviews(tmp_path / "all.csv", tmp_path)


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
