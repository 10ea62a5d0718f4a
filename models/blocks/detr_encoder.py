"""DETR's transformer encoder: positions enter queries and keys only, and the last attention can be looked at."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


class DETREncoder(nn.Module):
    """A stack of encoder layers.

    Args:
        norm_first: Norms before attention and feedforward, and one at the end (DETR's `pre_norm`), instead of after
            each. The published models norm afterwards and start from pretrained weights; pre-norm learns from scratch.
    """

    def __init__(
        self, *, width: int, heads: int, feedforward: int, layers: int, dropout: float = 0.1, norm_first: bool = False
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(width=width, heads=heads, feedforward=feedforward, dropout=dropout, norm_first=norm_first)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width) if norm_first else nn.Identity()
        for parameter in self.layers.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(
        self,
        x: Float[Tensor, "batch length width"],
        position: Float[Tensor, "*batch length width"],
        ignore: Bool[Tensor, "batch length"],
        *,
        asking: int | None = None,
    ) -> tuple[Float[Tensor, "batch asking width"], Float[Tensor, "batch asking length"]]:
        """States after the last layer, and how much each then looked at every token (mean over heads).

        Args:
            ignore: Tokens that hold nothing; no token looks at them.
            asking: Only that many leading tokens leave the last layer; all of them by default.
        """
        attention = x.new_zeros(())
        for depth, layer in enumerate(self.layers, 1):
            x, attention = layer(x, position, ignore, asking=asking if depth == len(self.layers) else None)
        return self.norm(x), attention


class EncoderLayer(nn.Module):
    """Self-attention and feedforward, each with a residual."""

    def __init__(self, *, width: int, heads: int, feedforward: int, dropout: float, norm_first: bool) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward), nn.ReLU(), nn.Dropout(dropout), nn.Linear(feedforward, width)
        )
        self.norm_attention, self.norm_feedforward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, position: Tensor, ignore: Tensor, *, asking: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """[batch, length, width] in; the leading `asking` tokens out, with their attention to all of them."""
        if self.norm_first:
            attended, attention = self._attend(self.norm_attention(x), position, ignore, asking)
            x = x[:, :asking] + attended
            return x + self.dropout(self.feedforward(self.norm_feedforward(x))), attention
        attended, attention = self._attend(x, position, ignore, asking)
        x = self.norm_attention(x[:, :asking] + attended)
        return self.norm_feedforward(x + self.dropout(self.feedforward(x))), attention

    def _attend(self, x: Tensor, position: Tensor, ignore: Tensor, asking: int | None) -> tuple[Tensor, Tensor]:
        placed = x + position
        attended, attention = self.attention(placed[:, :asking], placed, x, key_padding_mask=ignore)
        return self.dropout(attended), attention


def sine_position(valid: Bool[Tensor, "batch h w"], width: int) -> Float[Tensor, "batch h*w width"]:
    """DETR's sine code of each cell, rows then columns, counted over valid cells and normalised to 2 pi."""
    codes = []
    for axis in (1, 2):
        place = valid.float().cumsum(axis)
        last = place.amax(axis, keepdim=True)
        place = place / (last + 1e-6) * 2 * math.pi
        half = width // 2
        exponent = 2 * (torch.arange(half, device=valid.device) // 2) / half
        angle = place[..., None] / 10000**exponent
        codes.append(torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], -1).flatten(-2))
    return torch.cat(codes, -1).flatten(1, 2)
