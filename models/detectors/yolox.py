"""YOLOX (Ge et al. 2021, arXiv 2107.08430), nano to x: anchor-free, one box per cell, three scales.

Published files are read in two layouts: the authors' checkpoint (`.pth`), whose BatchNorm is folded into the
convolution before it, and an ONNX export, whose convolutions are folded already. Facts: the release's `yolox/models`
and `exps`.
Confidence, in place of objectness: objectness times the highest class probability, by which the release ranks boxes.
"""

from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from deixis.core.config import STRICT
from deixis.imaging.letterbox import Framing
from deixis.types import SCALES, Detections, Scales
from models.blocks.yolox import Head, Pyramid
from models.detectors.published_yolox import read_checkpoint, read_onnx

STRIDES = (32, 16, 8)  # pixels per cell, coarse to fine
SIZE_LIMIT = 6.0  # largest |log size in strides|; exp stays finite whatever the weights


@dataclass(frozen=True, config=STRICT)
class YOLOXConfig:
    """Sizes; the defaults are YOLOX-nano's."""

    width: float = 0.25
    depth: float = 0.33
    depthwise: bool = True
    num_classes: int = 80
    input_size: int = 416  # pixels, square letterbox

    @property
    def strides(self) -> tuple[int, int, int]:
        """Pixels per cell, coarse to fine."""
        return STRIDES

    @property
    def channels(self) -> tuple[int, int, int]:
        """Channels of the feature maps, coarse to fine: a teacher's `detector_channels`."""
        return int(1024 * self.width), int(512 * self.width), int(256 * self.width)


class YOLOX(nn.Module):
    """Images in, three feature maps and one box per cell out."""

    Config = YOLOXConfig
    # as the release's loader: at the top left, the rest grey 114, bilinear without smoothing (OpenCV's)
    framing = Framing(place="top_left", pad=114, resize="bilinear")

    def __init__(self, config: YOLOXConfig) -> None:
        super().__init__()
        self.config = config
        self.input_size, self.strides = config.input_size, config.strides
        self.backbone = Pyramid(config.width, config.depth, depthwise=config.depthwise)
        self.head = Head(config.width, config.num_classes, depthwise=config.depthwise)

    def detect(self, squares: UInt8[Tensor, "batch 3 side side"], *, scales: Scales = ("coarse",)) -> Detections:
        """Maps that enter the head at strides 32, 16 and 8, and the boxes of some of them (32, by default).

        The network reads levels from 0 to 255, blue first.
        """
        levels = squares.flip(1).float().contiguous(memory_format=torch.channels_last)
        maps = self.backbone(levels)
        places = [SCALES.index(scale) for scale in scales]
        # the network counts from fine to coarse
        boxes = [self._decode(self.head.level(2 - place, maps[2 - place]), STRIDES[place]) for place in places]
        return Detections(maps=(maps[2], maps[1], maps[0]), boxes=torch.cat(boxes, 1)[:, :, None])

    def _decode(self, raw: Float[Tensor, "batch values h w"], stride: int) -> Float[Tensor, "batch h*w values"]:
        """Centre and size in pixels, confidence and class probabilities."""
        height, width = raw.shape[-2:]
        rows, columns = torch.meshgrid(
            torch.arange(height, device=raw.device), torch.arange(width, device=raw.device), indexing="ij"
        )
        cells = torch.stack([columns, rows], -1).reshape(-1, 2)
        values = raw.flatten(2).transpose(1, 2).float()
        centre = (values[..., :2] + cells) * stride
        size = values[..., 2:4].clamp(-SIZE_LIMIT, SIZE_LIMIT).exp() * stride
        objectness, classes = values[..., 4:5].sigmoid(), values[..., 5:].sigmoid()
        return torch.cat([centre, size, objectness * classes.amax(-1, keepdim=True), classes], -1)

    @staticmethod
    def read_published(path: Path, *, input_size: int = 0) -> tuple[YOLOXConfig, dict[str, Tensor]]:
        """Sizes and state from a published file; every convolution must be there, and no other.

        Args:
            input_size: Pixels; 0 means as published, 416 for nano and tiny and 640 for the others.

        Raises:
            DataError: If the file is damaged, of another architecture or of none of the published sizes.
        """
        read = read_onnx if path.suffix == ".onnx" else read_checkpoint
        width, depth, depthwise, classes, tensors = read(path)
        side = input_size or (416 if width < 0.5 else 640)
        return YOLOXConfig(width, depth, depthwise, classes, side), tensors
