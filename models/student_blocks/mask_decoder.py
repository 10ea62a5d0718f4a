"""From maps and words to a mask, as TRIS's second step: pixels read words, and a decoder goes up through the maps."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from models.blocks.layers import InstanceNorm
from models.text.clip_text import CLIPPhrases
from models.text.gru_attention import TextFeatures


class PixelWordAttention(nn.Module):
    """Each pixel reads the words that concern it, and is gated by what it read (LAVT).

    Args:
        reads_padding: Whether empty places count as words, as in the release.
    """

    def __init__(self, width: int, text_width: int, *, reads_padding: bool = False) -> None:
        super().__init__()
        self.reads_padding = reads_padding
        self.query = nn.Sequential(nn.Conv2d(width, width, 1), InstanceNorm(width))
        self.key, self.value = nn.Linear(text_width, width), nn.Linear(text_width, width)
        self.gate = nn.Sequential(nn.Conv2d(width, width, 1), InstanceNorm(width))
        self.look = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU())
        self.output = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU())

    def forward(
        self, x: Float[Tensor, "phrases width h w"], text: TextFeatures | CLIPPhrases
    ) -> Float[Tensor, "phrases width h w"]:
        """The update, not yet added."""
        reads = torch.einsum("bchw,blc->bhwl", self.query(x), self.key(text.words)) / x.shape[1] ** 0.5
        if not self.reads_padding:
            reads = reads.masked_fill(_no_word(text.is_pad)[:, None, None], -torch.inf)
        attended = torch.einsum("bhwl,blc->bchw", reads.softmax(-1), self.value(text.words))
        return self.output(self.look(x) * self.gate(attended))


def _no_word(is_pad: Bool[Tensor, "phrases length"]) -> Bool[Tensor, "phrases length"]:
    """Padding; a phrase of padding alone keeps its first place, so that its softmax has something to share."""
    first = torch.arange(is_pad.shape[1], device=is_pad.device) == 0
    return is_pad & ~(is_pad.all(1, keepdim=True) & first)


class Decoder(nn.Module):
    """Up from the coarse map; at each finer one, its own features are added. Each level has an output.

    Args:
        channels: Of the coarse, middle and fine maps.
        widths: Of what each is reduced to, and of the last layer.
    """

    def __init__(self, channels: Sequence[int], widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(_layer(c, w) for c, w in zip(channels, widths[:3], strict=True))
        self.grow = nn.ModuleList(_layer(a, b) for a, b in pairwise(widths))
        self.heads = nn.ModuleList(
            nn.Sequential(_layer(width, width), nn.Conv2d(width, 1, 1, bias=False)) for width in widths
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Float[Tensor, "phrases 1 h w"]]:
        """Logits of four outputs, finest first."""
        x = self.reduce[0](maps[0])
        outputs = [self.heads[0](x)]
        for level, finer in enumerate(maps[1:], start=1):
            x = F.interpolate(self.grow[level - 1](x), size=finer.shape[-2:], mode="bilinear")
            x = x + self.reduce[level](finer)
            outputs.append(self.heads[level](x))
        outputs.append(self.heads[3](self.grow[2](x)))
        return outputs[::-1]


class PublishedDecoder(nn.Module):
    """The same through one map more; a level's output looks at what has grown before the level's own map is added.

    Args:
        channels: Of the four maps, coarse to fine.
        widths: Of what each is reduced to, and of the last layer.
        hidden: Of the layer within each output, coarse to fine.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int], hidden: Sequence[int]) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(_layer(c, w) for c, w in zip(channels, widths[:4], strict=True))
        self.grow = nn.ModuleList(_layer(a, b) for a, b in pairwise(widths))
        self.heads = nn.ModuleList(
            nn.Sequential(_layer(width, inside), nn.Conv2d(inside, 1, 1, bias=False))
            for width, inside in zip(widths[1:], hidden, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Float[Tensor, "phrases 1 h w"]]:
        """Logits of four outputs, finest first."""
        x, outputs = self.reduce[0](maps[0]), []
        for level, finer in enumerate(maps[1:], start=1):
            x = F.interpolate(self.grow[level - 1](x), size=finer.shape[-2:], mode="bilinear")
            outputs.append(self.heads[level - 1](x))
            x = x + self.reduce[level](finer)
        outputs.append(self.heads[3](self.grow[3](x)))
        return outputs[::-1]


def _layer(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out), nn.PReLU()
    )
