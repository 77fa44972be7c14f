"""A transformer encoder with a head for two classes, tuned on sentences once per machine."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from compressors.training.loop import TrainingSettings, train
from search.tasks.baseline import trained_once
from search.tasks.tensors import correct, cross_entropy
from search.tasks.workloads.reviews import Sentences

CLASSES = 2
EPOCHS = 1
HEAD_EPOCHS = 20
"""Passes over the embeddings of `HEAD_SENTENCES` where only the head is trained."""
HEAD_SENTENCES = 640


class SentenceClassifier(nn.Module):
    """An encoder, the mean over the tokens, and a linear layer."""

    def __init__(self, encoder: Any) -> None:
        """Take an encoder of the library transformers, without a pooling layer."""
        super().__init__()
        torch.manual_seed(0)
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits `[B, 2]` for token numbers and a mask `[B, T]`."""
        logits: Tensor = self.head(self.embed(input_ids, attention_mask))
        return logits

    def embed(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the mean state of the tokens `[B, H]`."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
        weights = attention_mask[..., None].to(states.dtype)
        mean: Tensor = (states * weights).sum(1) / weights.sum(1)
        return mean


def text_task(
    encoder: nn.Module, sentences: Mapping[str, Sentences], *, quick: bool = False
) -> dict[str, Any]:
    """Return the parts of a task: a tuned encoder on sentences.

    Args:
        encoder: As `SentenceClassifier` takes it.
        sentences: Those for train, validation and test.
        quick: Whether only the head is trained, on a few sentences.
    """
    return {
        "model": _tuned(SentenceClassifier(encoder), sentences["train"], quick=quick),
        "train": sentences["train"],
        "validation": list(sentences["validation"]),
        "test": list(sentences["test"]),
        "loss": cross_entropy,
        "score": correct,
    }


def _tuned(model: SentenceClassifier, sentences: Sentences, *, quick: bool) -> nn.Module:
    """Return the classifier with trained weights, from the user's cache or trained now."""
    digest = sha256(repr((sentences.tokens, sentences.labels)).encode())
    for parameter in model.encoder.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    kind, tune = ("head", _tune_head) if quick else ("whole", _tune)
    return trained_once(
        f"sentences-{kind}-{digest.hexdigest()[:16]}", model, lambda net: tune(net, sentences)
    )


def _tune(model: SentenceClassifier, sentences: Sentences) -> None:
    settings = TrainingSettings(epochs=EPOCHS, learning_rate=5e-5, weight_decay=0.01)
    train(model, sentences, cross_entropy, settings)


def _tune_head(model: SentenceClassifier, sentences: Sentences) -> None:
    """Train the head on the states of a few sentences."""
    few = sentences.part(range(HEAD_SENTENCES))
    with torch.no_grad():
        known = [(model.eval().embed(**inputs), labels) for inputs, labels in few]
    settings = TrainingSettings(epochs=HEAD_EPOCHS, learning_rate=1e-2, weight_decay=0.01)
    train(model.head, lambda epoch: known, cross_entropy, settings)
