"""Texts of differing length with an output for each token, padded to the longest of their batch."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tests.cases import parts
from tests.cases.case import Case, Parts
from tests.cases.sequences.attention import TiedDecoder, next_token_loss

Texts = tuple[Tensor, Tensor]
"""Tokens `[B, T]` and a label for each `[B, T]`, -100 where there is padding."""


def known(lengths: Tensor) -> Tensor:
    """Return which of ten places of texts with these lengths `[N]` hold a token."""
    return torch.arange(10) < lengths[:, None]


def lengths() -> Tensor:
    """Return the length of each text `[N]`; those of a batch have a longest one of their own."""
    longest = torch.randint(4, 11, (parts.COUNT // parts.BATCH,)).repeat_interleave(parts.BATCH)
    return 3 + (torch.rand(parts.COUNT) * (longest - 2)).long()


def trimmed(batch: Texts) -> Texts:
    """Return texts `[B, T]` without the places that all of them pad."""
    used = int((batch[1] != -100).sum(1).max())
    return batch[0][:, :used], batch[1][:, :used]


def labelled() -> Texts:
    """Return tokens and whether a token is smaller than the one before it."""
    tokens, there = torch.randint(1, 16, (parts.COUNT, 10)), known(lengths())
    labels = (tokens < tokens.roll(1, 1)).long() + 2 * (tokens > 12)
    labels[:, 0] = 0
    return tokens * there, labels.masked_fill(~there, -100)


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.mix = nn.Embedding(16, 16), nn.Conv1d(16, 32, 3, padding=1)
        self.feed, self.head = nn.Linear(32, 24), nn.Linear(24, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        x = F.relu(self.mix(self.table(tokens).mT)).mT
        return self.head(F.relu(self.feed(x)))


def share_right(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return for each text the share of its tokens whose class was found."""
    right, there = outputs.argmax(-1) == targets, targets != -100
    return (right & there).sum(1) / there.sum(1)


def token_classes_of_each_text() -> Parts:
    """A class for each token, labels of -100 at the padding, and a score for each text."""
    return parts.task(
        Tagger(), labelled(), loss=next_token_loss, score=share_right, collate=trimmed
    )


def tokens_right(outputs: Tensor, targets: Tensor) -> float:
    """Return the share of all tokens whose class was found."""
    there = targets != -100
    return float((outputs.argmax(-1) == targets)[there].float().mean())


def token_classes_of_all_texts() -> Parts:
    """A class for each token, and one score for the tokens of all texts together."""
    return parts.task(
        Tagger(), labelled(), loss=next_token_loss, score=tokens_right, collate=trimmed
    )


def next_tokens() -> Texts:
    lines, there = parts.counting_texts(11), known(lengths())
    return lines[:, :-1] * there, lines[:, 1:].masked_fill(~there, -100)


def perplexity(outputs: Tensor, targets: Tensor) -> float:
    """Return the exponential of the mean negative log-likelihood of a token."""
    return float(next_token_loss(outputs, targets).exp())


def perplexity_of_texts_of_differing_length() -> Parts:
    """A causal language model, scored by the perplexity of all tokens together."""
    return parts.task(
        TiedDecoder(),
        next_tokens(),
        loss=next_token_loss,
        score=perplexity,
        maximize=False,
        collate=trimmed,
        steps=400,
    )


def each_token(outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Texts:
    """Return the outputs `[M, V]` and labels `[M]` of the M tokens that are no padding."""
    pairs = list(zip(outputs, targets, strict=True))
    return torch.cat([o[t != -100] for o, t in pairs]), torch.cat([t[t != -100] for _, t in pairs])


def share_of_each_text(outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> float:
    each = [(o, t) for batch in map(zip, outputs, targets) for o, t in batch]
    shares = [parts.right(o[t != -100], t[t != -100]).mean() for o, t in each]
    return float(torch.stack(shares).double().mean())


def share_of_all(outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> float:
    return float(parts.right(*each_token(outputs, targets)).mean())


def perplexity_of_all(outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> float:
    logits, labels = each_token(outputs, targets)
    chosen = logits.double().log_softmax(1).gather(1, labels[:, None])
    return float((-chosen.mean()).exp())


CASES = (
    Case(task=token_classes_of_each_text, whole=share_of_each_text),
    Case(task=token_classes_of_all_texts, whole=share_of_all),
    Case(task=perplexity_of_texts_of_differing_length, whole=perplexity_of_all),
)
