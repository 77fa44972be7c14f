"""Attention as a plain module whose heads need not fill the width of its input."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn


class HeadedAttention(nn.Module):
    """Multi-head attention of plain linear layers, called like `nn.MultiheadAttention`.

    torch's own module fixes heads x head width to the width of its output, and so cannot lose a
    head. The number of heads follows from the rows of the layers and the head width.
    """

    in_proj_bias = None
    """None, by which torch's encoder layers know that their fused kernel does not apply."""
    _qkv_same_embed_dim = False

    def __init__(
        self,
        *,
        inward: Sequence[nn.Linear],
        out: nn.Linear,
        head_width: int,
        dropout: float = 0.0,
        batch_first: bool = True,
    ) -> None:
        """Take the layers, without a copy.

        Args:
            inward: Layers for queries, keys and values, `H * head_width` rows each; or one layer
                with the rows of all three, in this order.
            out: Layer from the heads' values to the output.
            head_width: Width of every head.
            dropout: Share of attention weights that are dropped in training.
            batch_first: Inputs and outputs are `[B, L, D]`, else `[L, B, D]`.
        """
        super().__init__()
        self.inward = nn.ModuleList(inward)
        self.out = out
        self.head_width = head_width
        self.dropout = nn.Dropout(dropout)
        self.batch_first = batch_first

    @property
    def num_heads(self) -> int:
        """The number of heads H."""
        return self.out.in_features // self.head_width

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the output `[B, L, D]` and, if wanted, the weights `[B, L, S]`.

        Args:
            query: `[B, L, D]`; without `batch_first`, here and below, `[L, B, D]`.
            key: `[B, S, D]`.
            value: `[B, S, D]`.
            key_padding_mask: `[B, S]`, True or a negative number where a key is hidden.
            need_weights: Return the weights too.
            attn_mask: `[L, S]` or `[B * H, L, S]`, True or a negative number where a key is hidden
                from a query.
            average_attn_weights: Weights are a mean over the heads, else `[B, H, L, S]`.
            is_causal: Ignored; as in torch it is a hint, and the mask decides.
        """
        if not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = (self._heads(x) for x in self._projected(query, key, value))
        scores = q @ k.transpose(-2, -1) * self.head_width**-0.5
        if attn_mask is not None:
            mask = _additive(attn_mask, scores)
            scores = scores + (mask.view(scores.shape) if mask.dim() == 3 else mask)
        if key_padding_mask is not None:
            scores = scores + _additive(key_padding_mask, scores)[:, None, None]
        weights = self.dropout(scores.softmax(-1))
        output = cast(Tensor, self.out((weights @ v).transpose(1, 2).flatten(2)))
        if not self.batch_first:
            output = output.transpose(0, 1)
        if not need_weights:
            return output, None
        return output, weights.mean(1) if average_attn_weights else weights

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        """Return queries, keys and values `[B, L or S, H * head width]`."""
        if len(self.inward) == 3:
            given = (query, key, value)
            return [layer(x) for layer, x in zip(self.inward, given, strict=True)]
        (joint,) = self.inward
        if query is key and key is value:
            return list(joint(query).chunk(3, -1))
        return [joint(x).chunk(3, -1)[i] for i, x in enumerate((query, key, value))]

    def _heads(self, x: Tensor) -> Tensor:
        """Return `[B, H, L, head width]` of `[B, L, H * head width]`."""
        return x.view(*x.shape[:2], -1, self.head_width).transpose(1, 2)


class SelfAttention(nn.Module):
    """`HeadedAttention` of a sequence with itself, with one argument and one result."""

    def __init__(self, attention: HeadedAttention, *, causal: bool) -> None:
        super().__init__()
        self.attention = attention
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        """Return the output `[B, L, D]` for a sequence `[B, L, D]`."""
        mask = None
        if self.causal:
            length = x.shape[1]
            mask = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        output, _ = self.attention(x, x, x, need_weights=False, attn_mask=mask)
        return cast(Tensor, output)


def _additive(mask: Tensor, scores: Tensor) -> Tensor:
    """Return what a mask adds to scores: minus infinity where a boolean mask is True."""
    if mask.dtype != torch.bool:
        return mask.to(scores.dtype)
    return torch.zeros_like(mask, dtype=scores.dtype).masked_fill(mask, -torch.inf)
