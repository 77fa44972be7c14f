"""The loss and the score of a transformers model are those that the model itself computes."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
    ViTConfig,
    ViTForImageClassification,
)

from search.tasks.adapters.transformers import transformers_parts

BERT = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16}
TOKENS = torch.arange(12).reshape(2, 6)
PADDED = torch.tensor([[1, 2, 0, 1, -100, -100], [0, 1, 2, 2, 1, -100]])


def bert(model: type, **settings: Any) -> Any:
    torch.manual_seed(0)
    return model(BertConfig(**BERT, num_attention_heads=2, **settings)).eval()


def vit() -> Any:
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=8,
        patch_size=4,
        num_labels=3,
    )
    return ViTForImageClassification(config).eval()


def gpt2() -> Any:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=16, n_layer=1, n_head=2)).eval()


@pytest.mark.parametrize(
    ("model", "inputs", "labels"),
    [
        (bert(BertForSequenceClassification, num_labels=3), TOKENS, torch.tensor([0, 2])),
        (bert(BertForSequenceClassification, num_labels=1), TOKENS, torch.tensor([0.5, 2.0])),
        (bert(BertForSequenceClassification, num_labels=2), TOKENS, torch.eye(2)),
        (bert(BertForTokenClassification, num_labels=3), TOKENS, PADDED),
        (bert(BertForMaskedLM), TOKENS, PADDED),
        (gpt2(), TOKENS, TOKENS),
        (vit(), torch.ones(2, 3, 8, 8), torch.tensor([0, 2])),
    ],
)
def test_the_loss_is_that_of_the_model(model: Any, inputs: Any, labels: Any) -> None:
    with torch.no_grad():
        expected = model(inputs, labels=labels).loss
        found = transformers_parts({"model": model})["loss"](model(inputs), labels)
    assert torch.allclose(found, expected)


def test_classifiers_of_whole_samples_are_scored_by_accuracy() -> None:
    model = bert(BertForSequenceClassification, num_labels=3)
    score = transformers_parts({"model": model})["score"]
    with torch.no_grad():
        outputs = model(TOKENS)
    assert score(outputs, outputs.logits.argmax(1)).tolist() == [1.0, 1.0]
    assert "score" in transformers_parts({"model": vit()})


@pytest.mark.parametrize(
    "model",
    [
        bert(BertForSequenceClassification, num_labels=1),
        bert(BertForSequenceClassification, problem_type="multi_label_classification"),
        bert(BertForTokenClassification, num_labels=3),
        gpt2(),
    ],
)
def test_other_models_have_no_score_by_default(model: nn.Module) -> None:
    assert "score" not in transformers_parts({"model": model})


def test_what_is_given_counts_and_what_is_not_known_is_left_out() -> None:
    given = {"model": vit(), "loss": max, "score": min}
    assert transformers_parts(given) == given
    assert "loss" not in transformers_parts({"model": bert(BertForQuestionAnswering)})
    assert transformers_parts({"model": nn.Linear(2, 2)}) == {}
