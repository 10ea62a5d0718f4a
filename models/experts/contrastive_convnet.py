"""Image-text contrastive convolutional network (namesake: OpenCLIP ConvNeXt): its last feature map."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Num, UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deixis.core.config import STRICT
from deixis.imaging.images import standardise
from models.experts.contrastive_objective import ContrastiveObjective
from models.experts.contrastive_vit import CLIP_MEAN, CLIP_STD


@dataclass(frozen=True, config=STRICT)
class ContrastiveConvNetConfig:
    """Sizes; the defaults are ConvNeXt-Tiny's. The stem has stride 4, each further stage halves the map."""

    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)


class ContrastiveConvNet(nn.Module):
    """Squares in, feature map out."""

    Config = ContrastiveConvNetConfig
    labels = "caption"

    def __init__(self, config: ContrastiveConvNetConfig) -> None:
        super().__init__()
        self.width = config.widths[-1]
        layers: list[nn.Module] = []
        previous = 3
        for depth, width in zip(config.depths, config.widths, strict=True):
            stride = 2 if layers else 4
            norm = [ChannelNorm(previous)] if layers else []
            layers += [*norm, nn.Conv2d(previous, width, stride, stride), *([] if norm else [ChannelNorm(width)])]
            layers += [ConvNeXtBlock(width) for _ in range(depth)]
            previous = width
        self.layers = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(self.width)

    @torch.no_grad()
    def encode(self, squares: UInt8[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width h w"]:
        """Map of the last stage."""
        return self.layers(standardise(squares, CLIP_MEAN, CLIP_STD))

    def pooled(self, squares: Num[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch width"]:
        """Mean over the map, normalised, of levels from 0 to 255; a gradient may pass to them."""
        return self.norm(self.layers(standardise(squares, CLIP_MEAN, CLIP_STD)).mean((2, 3)))

    def objective(self, captions: Callable[[], list[list[str]]]) -> nn.Module:
        """What this expert is pretrained with."""
        return ContrastiveObjective(self, captions())


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of a map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, width, h, w] in and out."""
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, norm, widen by four, GELU, narrow, plus the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.pointwise = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[batch, width, h, w] in and out."""
        return x + self.pointwise(self.depthwise(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
