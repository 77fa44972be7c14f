import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from search.errors import ConfigError
from search.tasks.workloads import review_tokens, reviews_lm


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of noise and a model without the library transformers."""
    rng = np.random.default_rng(0)
    parts = {
        part: torch.from_numpy(rng.integers(0, 2048, (count, 129)))
        for part, count in {"train": 6, "validation": 3, "test": 2}.items()
    }
    monkeypatch.setattr(reviews_lm, "review_tokens", lambda folder: parts)
    model = lambda: nn.Sequential(nn.Embedding(2048, 4), nn.Linear(4, 2048))  # noqa: E731
    monkeypatch.setattr(reviews_lm, "LanguageModel", model)
    monkeypatch.setenv("PAREDOWN_CACHE", str(tmp_path))


def test_no_text_is_in_two_parts_and_each_part_has_its_share() -> None:
    texts = [f"review {number}" for number in range(5_000)]
    parts = review_tokens.shared_out(texts)
    assert sorted(text for found in parts.values() for text in found) == sorted(texts)
    assert parts == review_tokens.shared_out(texts)
    total = sum(review_tokens.ROWS.values())
    for part, rows in review_tokens.ROWS.items():
        assert abs(len(parts[part]) - rows / total * len(texts)) <= 1


def test_rows_are_the_texts_one_after_another_with_an_end_between() -> None:
    texts = [[5] * 100, [6] * 200]
    rows = review_tokens.rows_of(iter(texts), 1, 2)
    assert rows.ravel().tolist() == [*[5] * 100, 1, *[6] * 157]
    with pytest.raises(ConfigError, match="have 302 tokens, 387 are needed"):
        review_tokens.rows_of(iter(texts), 1, 3)


def test_the_perplexity_of_a_uniform_guess_is_the_size_of_the_vocabulary() -> None:
    logits, targets = torch.zeros(3, 5, 7), torch.arange(15).reshape(3, 5) % 7
    assert torch.allclose(reviews_lm.perplexity(logits, targets), torch.full((3,), 7.0))
    assert math.isclose(float(reviews_lm.mean_loss(logits, targets)), math.log(7), rel_tol=1e-6)


def test_perplexity_is_the_inverse_geometric_mean_of_the_probabilities() -> None:
    logits = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[0, 1, 2, 3], [4, 3, 2, 1]])
    probabilities = logits.softmax(2).gather(2, targets[..., None]).squeeze(2)
    expected = 1 / probabilities.prod(1) ** 0.25
    assert torch.allclose(reviews_lm.perplexity(logits, targets), expected)


@pytest.mark.usefixtures("made_up")
def test_the_model_predicts_each_next_token_and_is_trained_once() -> None:
    first, again = (reviews_lm.reviews_lm(batch_size=2) for _ in range(2))
    for inputs, targets in first["validation"]:
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
    weights = first["model"].state_dict()
    assert all(torch.equal(weights[key], w) for key, w in again["model"].state_dict().items())
    assert not first["maximize"]
    batches = [torch.cat([x for x, _ in first["train"](epoch)]) for epoch in (1, 1, 2)]
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])


@pytest.mark.usefixtures("made_up")
def test_recovery_may_take_the_first_rows() -> None:
    assert len(reviews_lm.reviews_lm(training_rows=4)["train"].inputs) == 4
    with pytest.raises(ConfigError, match=r"task.training_rows must be in \[1, 6\]"):
        reviews_lm.reviews_lm(training_rows=7)
