"""YOLOv5's backbone (CSPDarkNet): how a published one is read, and how the embedded one is pretrained."""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.boxes import cxcywh_to_xyxy, paired_iou, xyxy_to_cxcywh
from deixis.core.config import STRICT
from deixis.core.frozen import freeze
from deixis.core.published import check_published, read_tensors, renamed
from models.blocks.layers import conv_bn

TO_OURS = {  # from the release's flat list of modules, 0 to 9
    r"^model\.0\.": "stem.",
    **{rf"^model\.{2 * stage + 1}\.": f"stages.{stage}.0." for stage in range(4)},
    **{rf"^model\.{2 * stage + 2}\.": f"stages.{stage}.1." for stage in range(4)},
    r"^model\.9\.cv1\.": "pyramid.reduce.",
    r"^model\.9\.cv2\.": "pyramid.join.",
    r"\.m\.(\d+)\.cv1\.": r".blocks.\1.body.0.",
    r"\.m\.(\d+)\.cv2\.": r".blocks.\1.body.1.",
    r"\.cv1\.": ".through.",
    r"\.cv2\.": ".around.",
    r"\.cv3\.": ".join.",
    r"\.conv\.": ".0.",
    r"\.bn\.": ".1.",
}
NECK_AND_HEAD = re.compile(r"model\.(1\d|2[0-4])\.")  # the rest of YOLOv5, as its own list goes on


@dataclass(frozen=True, config=STRICT)
class CSPConfig:
    """Sizes; the defaults are YOLOv5-L's."""

    stem: int = 64
    widths: tuple[int, ...] = (128, 256, 512, 1024)  # one per stride-2 stage after the stem
    blocks: tuple[int, ...] = (3, 6, 9, 3)

    @property
    def stride(self) -> int:
        """Pixels per cell of the coarse map."""
        return 2 ** (len(self.widths) + 1)


class CSPDarkNet(nn.Module):
    """YOLOv5's backbone: strided convolutions, cross-stage blocks, and a spatial pyramid at the end."""

    Config = CSPConfig

    def __init__(self, config: CSPConfig) -> None:
        super().__init__()
        stem = config.stem
        self.num_features = config.widths[-1]
        self.stem = nn.Sequential(nn.Conv2d(3, stem, 6, 2, 2, bias=False), nn.BatchNorm2d(stem), nn.SiLU())
        stages, previous = [], stem
        for width, count in zip(config.widths, config.blocks, strict=True):
            down = conv_bn(previous, width, 3, stride=2, activation=nn.SiLU)
            stages.append(nn.Sequential(down, CrossStage(width, count)))
            previous = width
        self.stages = nn.ModuleList(stages)
        self.pyramid = FastPyramid(previous)

    @staticmethod
    def read_published(path: Path) -> tuple[CSPConfig, dict[str, Tensor]]:
        """Sizes and state of the YOLOv5-L backbone that SimREC published; a detector's neck and head are left aside.

        The release takes from its file what fits and says nothing of the rest; here all ten modules must be there.

        Raises:
            DataError: If a tensor is missing, unknown or of another shape; lists all of them.

        Source: SimREC, `simrec/models/backbones/cspdarknet.py`.
        """
        tensors = {name: tensor for name, tensor in read_tensors(path).items() if not NECK_AND_HEAD.match(name)}
        config = CSPConfig()
        return config, check_published(lambda: CSPDarkNet(config), renamed(tensors, TO_OURS), path=path)

    def forward(self, images: Float[Tensor, "batch 3 side side"]) -> tuple[Tensor, Tensor, Tensor]:
        """Fine, middle and coarse maps of images in [0, 1]."""
        return self.finish(self.begin(images))

    def begin(self, images: Float[Tensor, "batch 3 side side"]) -> tuple[Tensor, Tensor, Tensor]:
        """Fine and middle map, and the coarse one half made: all that `freeze_all_but_last` freezes."""
        x = self.stem(images)
        maps = []
        for stage in self.stages[:-1]:
            x = stage(x)
            maps.append(x)
        return maps[-2], maps[-1], self.stages[-1][0](x)

    def finish(self, begun: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """What `forward` gives, from what `begin` gave."""
        fine, middle, coarse = begun
        return fine, middle, self.pyramid(self.stages[-1][1](coarse))

    def stage_maps(self, images: Float[Tensor, "batch 3 side side"]) -> tuple[Tensor, Tensor, Tensor]:
        """The last three stages, fine to coarse; no cell has yet pooled from its neighbours."""
        fine, middle, coarse = self.begin(images)
        return fine, middle, self.stages[-1][1](coarse)

    def freeze_all_but_last(self) -> None:
        """Frozen parts stay in evaluation mode (in the release their BatchNorm statistics drift)."""
        for part in (self.stem, *self.stages[:-1], self.stages[-1][0]):
            freeze(part)


def as_input(squares: Tensor) -> Float[Tensor, "batch 3 side side"]:
    """Levels from 0 to 255, bytes or floats, to [0, 1], channels last."""
    return (squares.float() / 255).contiguous(memory_format=torch.channels_last)


class CrossStage(nn.Module):
    """C3: half the channels go through residual blocks, half around them."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        half = width // 2
        self.through = conv_bn(width, half, 1, activation=nn.SiLU)
        self.around = conv_bn(width, half, 1, activation=nn.SiLU)
        self.blocks = nn.Sequential(*(Bottleneck(half) for _ in range(count)))
        self.join = conv_bn(width, width, 1, activation=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, width, h, w] in and out."""
        return self.join(torch.cat([self.blocks(self.through(x)), self.around(x)], 1))


class Bottleneck(nn.Module):
    """1x1, 3x3, plus the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_bn(width, width, 1, activation=nn.SiLU), conv_bn(width, width, 3, activation=nn.SiLU)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[batch, width, h, w] in and out."""
        return x + self.body(x)


class FastPyramid(nn.Module):
    """SPPF: three max-pools of side 5 in a row, all four maps joined."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce = conv_bn(width, width // 2, 1, activation=nn.SiLU)
        self.join = conv_bn(2 * width, width, 1, activation=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, width, h, w] in and out."""
        maps = [self.reduce(x)]
        for _ in range(3):
            maps.append(F.max_pool2d(maps[-1], 5, 1, 2))
        return self.join(torch.cat(maps, 1))


class CellDetector(nn.Module):
    """Pretraining objective: each object's centre cell tells its category and box from the coarse map."""

    def __init__(self, width: int, *, num_classes: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.output = nn.Conv2d(width, 5 + num_classes, 1)

    def loss(
        self,
        coarse: Float[Tensor, "batch width h w"],
        boxes_xyxy: Float[Tensor, "batch objects 4"],
        categories: Int[Tensor, "batch objects"],
        valid: Bool[Tensor, "batch objects"],
    ) -> dict[str, Tensor]:
        """`box` (1 - IoU), `category` and `objectness`, per object."""
        raw = self.output(coarse)
        side = raw.shape[-1]
        raw = raw.flatten(2).transpose(1, 2)
        image, thing = valid.nonzero(as_tuple=True)
        target = boxes_xyxy[image, thing]
        middle = xyxy_to_cxcywh(target)
        column_row = (middle[:, :2] / self.stride).long().clamp(0, side - 1)
        cell = column_row[:, 1] * side + column_row[:, 0]
        outputs = raw[image, cell]
        centre = (outputs[:, :2] + column_row) * self.stride
        size = outputs[:, 2:4].clamp(max=8).exp() * self.stride
        objectness = torch.zeros_like(raw[..., 4])
        objectness[image, cell] = 1.0
        entropy = F.binary_cross_entropy_with_logits(raw[..., 4], objectness, reduction="sum")
        return {
            "box": (1 - paired_iou(cxcywh_to_xyxy(torch.cat([centre, size], 1)), target)).mean(),
            "category": F.cross_entropy(outputs[:, 5:], categories[image, thing]),
            "objectness": entropy / len(image),
        }
