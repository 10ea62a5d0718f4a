"""CLIP's ResNet-50 (Radford et al. 2021), as TRIS and PCNet look at images: maps of its last three stages.

Three convolutions in the stem, and average pooling wherever a plain ResNet would stride. The attention pooling behind
the last stage belongs to the checkpoints and is not read here. Parameters at the defaults: 23,527,264.
timm has it too and is the reference of its test; importing that takes seconds in each process.
"""

import re
from pathlib import Path
from typing import Literal

from jaxtyping import Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.config import STRICT
from deixis.core.published import check_published, count_layers, published_tensor
from deixis.imaging.images import standardise
from models.blocks.clip_layout import read_clip

EXPANSION = 4  # of a block's last convolution
POOLING = re.compile(r"attnpool\.")


@dataclass(frozen=True, config=STRICT)
class CLIPResNetConfig:
    """Sizes; the defaults are ResNet-50."""

    kind: Literal["clip_resnet"] = "clip_resnet"  # tells it from the students' backbone
    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64  # of the first stage's blocks

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage's map."""
        return tuple(EXPANSION * self.width * 2**stage for stage in range(len(self.layers)))


class CLIPResNet(nn.Module):
    """Images to maps; parameters have OpenAI's names."""

    Config = CLIPResNetConfig

    def __init__(self, config: CLIPResNetConfig) -> None:
        super().__init__()
        half = config.width // 2
        self.conv1, self.bn1 = nn.Conv2d(3, half, 3, 2, 1, bias=False), nn.BatchNorm2d(half)
        self.conv2, self.bn2 = nn.Conv2d(half, half, 3, 1, 1, bias=False), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = nn.Conv2d(half, config.width, 3, 1, 1, bias=False), nn.BatchNorm2d(config.width)
        channels = config.width
        for stage, count in enumerate(config.layers):
            width, blocks = config.width * 2**stage, []
            for block in range(count):
                blocks.append(Block(channels, width, stride=2 if stage and not block else 1))
                channels = EXPANSION * width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))

    @staticmethod
    def read_published(path: Path) -> tuple[CLIPResNetConfig, dict[str, Tensor]]:
        """Sizes and state from a published CLIP in OpenAI's names; text and attention pooling are left out.

        Raises:
            DataError: If a tensor is missing, unknown or of another shape; lists all of them.
        """
        whole = {name.removeprefix("visual."): t for name, t in read_clip(path).items() if name.startswith("visual.")}
        tensors = {name: tensor for name, tensor in whole.items() if not POOLING.match(name)}
        first = published_tensor(tensors, "layer1.0.conv1.weight", path=path)
        one, two, three, four = (count_layers(tensors, f"layer{stage}.") for stage in range(1, 5))
        config = CLIPResNetConfig(layers=(one, two, three, four), width=first.shape[0])
        return config, check_published(lambda: CLIPResNet(config), tensors, path=path)

    def forward(self, images: Float[Tensor, "batch 3 side side"]) -> tuple[Tensor, Tensor, Tensor]:
        """Fine, middle and coarse maps of images in [0, 1]: those of the last three stages."""
        return self.stage_maps(images)[1:]

    def stage_maps(self, images: Float[Tensor, "batch 3 side side"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Maps of all stages, fine to coarse, of images in [0, 1], which are standardised with ImageNet's values.

        CLIP was trained with values of its own; TRIS and PCNet take these.
        """
        x = standardise(255 * images)
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = norm(conv(x)).relu()
        finest = self.layer1(F.avg_pool2d(x, 2))
        fine = self.layer2(finest)
        middle = self.layer3(fine)
        return finest, fine, middle, self.layer4(middle)


class Block(nn.Module):
    """1x1, 3x3, pooled where it strides, 1x1, plus the input."""

    def __init__(self, channels: int, width: int, *, stride: int) -> None:
        super().__init__()
        after = EXPANSION * width
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, after, 1, bias=False), nn.BatchNorm2d(after)
        self.stride = stride
        self.downsample = None
        if stride > 1 or channels != after:
            self.downsample = nn.Sequential(nn.Conv2d(channels, after, 1, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, h, w] -> [batch, 4 width, h / stride, w / stride]."""
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        if self.stride > 1:
            x, y = F.avg_pool2d(x, self.stride), F.avg_pool2d(y, self.stride)
        around = x if self.downsample is None else self.downsample(x)
        return (self.bn3(self.conv3(y)) + around).relu()
