"""The detector of RefCLIP and DViN: YOLOv3 with guided anchors, a deformable head and spatial pyramid pooling.

Not stock YOLOv3: each cell proposes four boxes (three anchors, one anchor-free), anchors are re-shaped by a
guide before use, and the head looks through a deformable convolution at the guided shape. Facts: the released
RefCLIP code; 75,554,428 parameters and 73 BatchNorm layers at the default (paper) configuration.
"""

from dataclasses import field
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.core.config import STRICT
from deixis.imaging.images import standardise
from deixis.imaging.letterbox import CENTRED
from deixis.types import SCALES, Detections, Scales
from models.blocks.darknet import DarkNet
from models.blocks.layers import conv_bn
from models.detectors.published_yolov3 import count_classes, read_detector, with_our_names

OBJECTNESS_PRIOR = -4.6  # log odds of 1 %
GUIDE_LIMIT = 4.0  # largest |log scale| of a guide or size output; exp stays finite whatever the weights


@dataclass(frozen=True, config=STRICT)
class YOLOv3Config:
    """Sizes; the defaults are the published model."""

    input_size: int = 416  # pixels, square letterbox
    num_classes: int = 80
    luminance: bool = False  # see brightness only; stands for the colour blindness that colour jitter teaches
    stem: int = 32
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)  # one per stride-2 stage; the last three feed the neck
    blocks: tuple[int, ...] = (1, 2, 8, 8, 4)
    # pixels (width, height), three per scale, coarse to fine
    anchors: tuple[tuple[tuple[float, float], ...], ...] = field(
        default=(
            ((116, 90), (156, 198), (121, 240)),
            ((30, 61), (62, 45), (42, 119)),
            ((10, 13), (16, 30), (33, 23)),
        )
    )

    @property
    def strides(self) -> tuple[int, int, int]:
        """Pixels per cell, coarse to fine."""
        coarse = 2 ** len(self.widths)
        return coarse, coarse // 2, coarse // 4

    @property
    def channels(self) -> tuple[int, int, int]:
        """Channels of the feature maps, coarse to fine."""
        return self.widths[-1], self.widths[-2], self.widths[-3]


class YOLOv3(nn.Module):
    """Images in, three feature maps and four boxes per cell out."""

    Config = YOLOv3Config
    framing = CENTRED

    def __init__(self, config: YOLOv3Config) -> None:
        super().__init__()
        self.config = config
        self.input_size, self.strides = config.input_size, config.strides
        self.backbone = DarkNet(config.stem, config.widths, config.blocks)
        self.neck = Neck(config.channels)
        self.heads = nn.ModuleList(
            Head(channels, anchors=anchors, stride=stride, num_classes=config.num_classes)
            for channels, anchors, stride in zip(config.channels, config.anchors, config.strides, strict=True)
        )

    def features(self, images: Float[Tensor, "batch 3 side side"]) -> tuple[Tensor, Tensor, Tensor]:
        """Maps that enter the three heads, coarse to fine: [batch, channels, side/stride, side/stride]."""
        if self.config.luminance:
            images = images.mean(1, keepdim=True).expand_as(images)
        return self.neck(*self.backbone(images))

    @staticmethod
    def read_published(path: Path, *, input_size: int = 416) -> tuple[YOLOv3Config, dict[str, Tensor]]:
        """Sizes and tensors, under our names, of the weights that RefCLIP published.

        Raises:
            DataError: If the file is not one of tensors, or lacks one, has another, or one of another shape.
        """
        tensors = read_detector(path)
        classes = count_classes(tensors, boxes_per_cell=Head.NUM_BOXES, default=YOLOv3Config().num_classes)
        config = YOLOv3Config(input_size=input_size, num_classes=classes)
        with torch.device("meta"):
            ours = YOLOv3(config).state_dict()
        return config, with_our_names(tensors, ours, path=path, what=f"the detector of RefCLIP with {classes} classes")

    def detect(self, squares: UInt8[Tensor, "batch 3 side side"], *, scales: Scales = ("coarse",)) -> Detections:
        """Feature maps of all scales, and decoded boxes of some (teachers read the coarse ones, by default)."""
        maps = self.features(standardise(squares))
        levels = [SCALES.index(scale) for scale in scales]
        return Detections(maps, boxes=torch.cat([self.heads[level](maps[level]).decoded for level in levels], 1))


class SpatialPyramid(nn.Module):
    """The map beside its max-pools of side 5, 9 and 13, stride 1: four times the channels."""

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, h, w] -> [batch, 4 * channels, h, w]."""
        return torch.cat([x, *(F.max_pool2d(x, side, 1, side // 2) for side in (5, 9, 13))], 1)


class Neck(nn.Module):
    """Top-down path of the detector. DropBlock of the release keeps everything (probability 1), so it is left out."""

    def __init__(self, channels: tuple[int, int, int]) -> None:
        super().__init__()
        coarse, middle, fine = channels
        half = coarse // 2
        self.coarse_to_half = nn.Sequential(
            conv_bn(coarse, half, 1),
            conv_bn(half, coarse, 3),
            conv_bn(coarse, half, 1),
            SpatialPyramid(),
            conv_bn(4 * half, half, 1),
            conv_bn(half, coarse, 3),
            conv_bn(coarse, half, 1),
        )
        self.coarse_out = conv_bn(half, coarse, 3)
        self.grow_middle = conv_bn(half, middle // 2, 1)
        self.middle_to_half = self._merge(middle // 2 + middle, middle)
        self.middle_out = conv_bn(middle // 2, middle, 3)
        self.grow_fine = conv_bn(middle // 2, fine // 2, 1)
        self.fine_to_half = self._merge(fine // 2 + fine, fine)
        self.fine_out = conv_bn(fine // 2, fine, 3)

    @staticmethod
    def _merge(channels_in: int, width: int) -> nn.Sequential:
        half = width // 2
        return nn.Sequential(
            conv_bn(channels_in, half, 1),
            conv_bn(half, width, 3),
            conv_bn(width, half, 1),
            conv_bn(half, width, 3),
            conv_bn(width, half, 1),
        )

    def forward(self, coarse: Tensor, middle: Tensor, fine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Backbone maps in, head inputs out, both coarse to fine."""
        coarse_half = self.coarse_to_half(coarse)
        grown = F.interpolate(self.grow_middle(coarse_half), scale_factor=2.0, mode="nearest")
        middle_half = self.middle_to_half(torch.cat([grown, middle], 1))
        grown = F.interpolate(self.grow_fine(middle_half), scale_factor=2.0, mode="nearest")
        fine_half = self.fine_to_half(torch.cat([grown, fine], 1))
        return self.coarse_out(coarse_half), self.middle_out(middle_half), self.fine_out(fine_half)


class HeadOutput:
    """What one head says about every cell; `decoded` is what readers use, the rest is for the detector's loss."""

    __slots__ = ("decoded", "guides", "raw")

    def __init__(self, decoded: Tensor, guides: Tensor, raw: Tensor) -> None:
        self.decoded = decoded  # [batch, cells, 4, 5 + classes]: cx, cy, w, h in input pixels; sigmoid scores
        self.guides = guides  # [batch, cells, 4, 2]: log scale of each anchor's width and height
        self.raw = raw  # [batch, cells, 4, 5 + classes]: before the sigmoids and exponentials


class Head(nn.Module):
    """Guided anchors, feature adaption through a deformable convolution, four boxes per cell."""

    NUM_BOXES = 4
    GROUPS = 4

    def __init__(
        self, channels: int, *, anchors: tuple[tuple[float, float], ...], stride: int, num_classes: int
    ) -> None:
        super().__init__()
        self.stride = stride
        self.num_outputs = 5 + num_classes
        self.guide = nn.Conv2d(channels, 2 * self.NUM_BOXES, 1)
        self.offset = nn.Conv2d(2 * self.NUM_BOXES, 2 * 9 * self.GROUPS, 1, groups=self.GROUPS)
        self.adapt_weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        self.adapt_bias = nn.Parameter(torch.zeros(channels))
        self.output = nn.Conv2d(channels, self.NUM_BOXES * self.num_outputs, 1)
        nn.init.kaiming_uniform_(self.adapt_weight, a=5**0.5)
        nn.init.zeros_(self.offset.weight)  # starts as an ordinary convolution
        nn.init.zeros_(self.offset.bias)
        with torch.no_grad():  # most cells hold nothing: start there (RetinaNet's prior)
            self.output.bias.view(self.NUM_BOXES, self.num_outputs)[:, 4] = OBJECTNESS_PRIOR
        free = (4.0 * stride, 4.0 * stride)  # the last box of a cell has no anchor of its own, only a unit
        self.register_buffer("anchors", torch.tensor([*anchors, free]), persistent=False)

    def forward(self, x: Float[Tensor, "batch channels h w"], *, rigid: bool = False) -> HeadOutput:
        """Decode every cell; cells are in row-major order.

        `rigid` leaves the offsets out: the same weights as an ordinary convolution. Pretraining begins that way,
        because the gradient of the deformable operator costs ten times the rest of the network on a CPU. A frozen head
        whose offsets are zero is asked in the same way, which changes nothing but the time.
        """
        guide = self.guide(x)
        if rigid or not (torch.is_grad_enabled() or self._looks_elsewhere()):
            adapted = F.conv2d(x, self.adapt_weight, self.adapt_bias, padding=1)
        else:
            from torchvision.ops import deform_conv2d  # seconds to import: not for those who only want the sizes

            adapted = deform_conv2d(x, self.offset(guide.detach()), self.adapt_weight, self.adapt_bias, padding=1)
        raw = self._per_cell(self.output(adapted), self.num_outputs)
        guides = self._per_cell(guide, 2)
        return HeadOutput(self._decode(raw, guides, width=x.shape[-1]), guides, raw)

    def _looks_elsewhere(self) -> bool:
        """Whether there are offsets at all: our pretraining gives the coarse head some, and the finer ones none."""
        return bool(self.offset.weight.any() or self.offset.bias.any())

    def _per_cell(self, x: Tensor, outputs: int) -> Tensor:
        batch, _, height, width = x.shape
        boxes_first = x.view(batch, self.NUM_BOXES, outputs, height * width)
        return boxes_first.permute(0, 3, 1, 2)

    def _decode(self, raw: Tensor, guides: Tensor, *, width: int) -> Tensor:
        cells = torch.arange(raw.shape[1], device=raw.device)
        corner = torch.stack([cells % width, cells // width], -1)[:, None].to(raw.dtype)
        centre = (raw[..., :2].sigmoid() + corner) * self.stride
        log_size = raw[..., 2:4].clamp(-GUIDE_LIMIT, GUIDE_LIMIT) + guides.clamp(-GUIDE_LIMIT, GUIDE_LIMIT)
        return torch.cat([centre, log_size.exp() * self.anchors, raw[..., 4:].sigmoid()], -1)
