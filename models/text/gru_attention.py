"""The text encoder of RefCLIP, DViN and SimREC: fixed word vectors, GRU, self-attention, attention pooling.

The papers say bidirectional GRU and one attention layer; the released code has one direction and three layers,
and only that gives the published parameter count (11,101,697 at the defaults). We follow the code.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.config import STRICT
from deixis.language.text import PAD
from deixis.language.tokens import word_vectors


@dataclass(frozen=True, config=STRICT)
class TextConfig:
    """Sizes; the defaults are the published teachers' (SimREC uses one layer, ReferIt one)."""

    length: int = 15  # tokens; longer phrases are cut
    word_width: int = 300
    width: int = 512
    heads: int = 8
    feedforward: int = 2048
    layers: int = 3
    pool_hidden: int = 256
    dropout: float = 0.1
    bidirectional: bool = False  # each direction then has half the width


class TextFeatures(NamedTuple):
    """A pooled vector per phrase and one state per word."""

    flat: Float[Tensor, "batch width"]
    words: Float[Tensor, "batch length width"]
    is_pad: Bool[Tensor, "batch length"]


class GRUAttentionEncoder(nn.Module):
    """Token ids to features. The word table is frozen."""

    def __init__(self, config: TextConfig, vocabulary: Sequence[str]) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = list(vocabulary)
        self.embedding = nn.Embedding.from_pretrained(word_vectors(vocabulary, config.word_width), freeze=True)
        state = config.width // 2 if config.bidirectional else config.width
        self.gru = nn.GRU(config.word_width, state, batch_first=True, bidirectional=config.bidirectional)
        self.layers = nn.ModuleList(_AttentionLayer(config) for _ in range(config.layers))
        self.pool = nn.Sequential(
            nn.Linear(config.width, config.pool_hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.pool_hidden, 1),
        )
        self.project = nn.Linear(config.width, config.width)

    def forward(self, tokens: Int[Tensor, "batch length"]) -> TextFeatures:
        """Encode phrases; pad positions are masked in attention and pooling.

        A GRU of one direction never looks ahead, so what pads every phrase of the batch is cut off first. With two
        directions it runs over all positions, as published. An exported graph has one length, and no cut; on a GPU
        the few positions take less time than waiting for their number.
        """
        if not (self.config.bidirectional or torch.compiler.is_exporting() or tokens.is_cuda):
            tokens = tokens[:, : max(1, int((tokens != PAD).sum(1).max()))]
        is_pad = tokens == PAD
        words, _ = self.gru(self.embedding(tokens))
        for layer in self.layers:
            words = layer(words, is_pad)
        weights = self.pool(words).squeeze(-1).masked_fill(is_pad, -1e9).softmax(-1)
        return TextFeatures(self.project((weights[..., None] * words).sum(1)), words, is_pad)


class ReleasedLayerNorm(nn.Module):
    """(x - mean) / (std + eps) with the unbiased standard deviation: not the framework's LayerNorm."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """Normalise the last axis."""
        centred = x - x.mean(-1, keepdim=True)
        return self.weight * centred / (x.std(-1, keepdim=True) + self.eps) + self.bias


class _AttentionLayer(nn.Module):
    """Post-norm self-attention block without position code."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.query, self.key, self.value, self.merge = (nn.Linear(config.width, config.width) for _ in range(4))
        self.feedforward = nn.Sequential(
            nn.Linear(config.width, config.feedforward),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.feedforward, config.width),
        )
        self.norm_attention, self.norm_feedforward = ReleasedLayerNorm(config.width), ReleasedLayerNorm(config.width)

    def forward(self, x: Tensor, is_pad: Tensor) -> Tensor:
        batch, length, width = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(batch, length, self.heads, width // self.heads).transpose(1, 2)

        bias = torch.zeros_like(is_pad, dtype=x.dtype).masked_fill(is_pad, -1e9)[:, None, None, :]
        attended = F.scaled_dot_product_attention(
            split(self.query(x)),
            split(self.key(x)),
            split(self.value(x)),
            attn_mask=bias,
            dropout_p=self.dropout if self.training else 0.0,
        )
        merged = self.merge(attended.transpose(1, 2).reshape(batch, length, width))
        x = self.norm_attention(x + F.dropout(merged, self.dropout, self.training))
        return self.norm_feedforward(x + F.dropout(self.feedforward(x), self.dropout, self.training))
