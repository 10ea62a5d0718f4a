"""DarkNet-53 (Redmon and Farhadi 2018): the body of RefCLIP's detector, and MCN's published backbone."""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deixis.core.config import STRICT
from deixis.core.frozen import freeze
from models.blocks.layers import conv_bn


@dataclass(frozen=True, config=STRICT)
class DarkNetConfig:
    """Sizes; the defaults are the published ones."""

    kind: Literal["darknet"] = "darknet"  # tells it from YOLOv5's backbone
    stem: int = 32
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)  # one per stride-2 stage after the stem
    blocks: tuple[int, ...] = (1, 2, 8, 8, 4)

    @property
    def stride(self) -> int:
        """Pixels per cell of the coarse map."""
        return 2 ** len(self.widths)


class ResidualBlock(nn.Module):
    """1x1 to half the width, 3x3 back, plus the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(width, width // 2, 1), conv_bn(width // 2, width, 3))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, width, h, w] in and out."""
        return x + self.body(x)


class DarkNet(nn.Module):
    """DarkNet-53 at the default widths; returns its last three stages, coarse to fine."""

    def __init__(self, stem: int, widths: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = conv_bn(3, stem, 3)
        stages, previous = [], stem
        for width, count in zip(widths, blocks, strict=True):
            down = conv_bn(previous, width, 3, stride=2)
            stages.append(nn.Sequential(down, *(ResidualBlock(width) for _ in range(count))))
            previous = width
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Coarse, middle and fine maps of [batch, 3, side, side]."""
        x = self.stem(images)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[-1], maps[-2], maps[-3]


class DarkNetBackbone(nn.Module):
    """DarkNet-53 as a student's backbone: six convolutions of YOLOv3 follow its coarse map."""

    Config = DarkNetConfig

    def __init__(self, config: DarkNetConfig) -> None:
        super().__init__()
        self.body = DarkNet(config.stem, config.widths, config.blocks)
        width = config.widths[-1]
        half = width // 2
        self.tail = nn.Sequential(
            *(part for _ in range(2) for part in (conv_bn(width, half, 1), conv_bn(half, width, 3))),
            conv_bn(width, half, 1),
            conv_bn(half, width, 3),
        )

    def forward(self, images: Float[Tensor, "batch 3 side side"]) -> tuple[Tensor, Tensor, Tensor]:
        """Fine, middle and coarse maps of images in [0, 1]."""
        return self.finish(self.begin(images))

    def begin(self, images: Float[Tensor, "batch 3 side side"]) -> tuple[Tensor, Tensor, Tensor]:
        """Fine and middle map, and the coarse one nearly made: all that `freeze_all_but_last` freezes."""
        coarse, middle, fine = self.body(images)
        return fine, middle, self.tail[:-2](coarse)

    def finish(self, begun: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """What `forward` gives, from what `begin` gave."""
        fine, middle, coarse = begun
        return fine, middle, self.tail[-2:](coarse)

    def freeze_all_but_last(self) -> None:
        """All but the last two convolutions; frozen parts stay in evaluation mode."""
        for part in (self.body, *self.tail[:-2]):
            freeze(part)
