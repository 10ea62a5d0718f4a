"""Masks of boxes on photographs, from few polygons: a published detector's trunk, and a small decoder that is trained.

Each box is cut out, a little more around it, and stretched to a square. The trunk, which stays as published, looks at
the square at strides 2 to 16; the decoder joins these from coarse to fine, as U-Net does (Ronneberger et al. 2015).
"""

from dataclasses import field

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from deixis.core.config import STRICT
from deixis.core.errors import ConfigError
from models.blocks.yolox import Pyramid
from models.detectors.yolox import YOLOXConfig

STRIDES = 2, 4, 8, 16  # pixels of a square per cell of what the trunk says of it
LEAST_SIDE = 8.0  # pixels of a cut-out; less shows nothing
TERM_WEIGHTS = {"entropy": 1.0, "dice": 1.0}


@dataclass(frozen=True, config=STRICT)
class CropMasksConfig:
    """Sizes; the trunk's are those of its detector."""

    trunk: YOLOXConfig = field(default_factory=YOLOXConfig)
    side: int = 192  # of a square, pixels; masks are drawn at half of it
    context: float = 1.15  # side of the cut-out over that of the box
    width: int = 32  # of the decoder


class CropMasks(nn.Module):
    """A segmenter of boxes alone."""

    Config = CropMasksConfig

    def __init__(self, config: CropMasksConfig) -> None:
        super().__init__()
        self.config = config
        base = int(config.trunk.width * 64)
        self.trunk = Pyramid(config.trunk.width, config.trunk.depth, depthwise=config.trunk.depthwise)
        self.trunk.requires_grad_(False)
        self.lateral = nn.ModuleList(nn.Conv2d(channels * base, config.width, 1) for channels in (1, 2, 4, 8))
        self.join = nn.ModuleList(_joint(config.width) for _ in STRIDES)
        self.draw = nn.Conv2d(config.width, 1, 1)

    def forward(self, squares: Float[Tensor, "n 3 side side"]) -> Float[Tensor, "n grid grid"]:
        """Logits of the mask of the thing in the middle of each square (RGB, 0 to 255), at half its side."""
        joined = None
        for seen, lateral, join in reversed(list(zip(self._look(squares), self.lateral, self.join, strict=True))):
            x = lateral(seen)
            if joined is not None:
                x = x + F.interpolate(joined, scale_factor=2, mode="bilinear")
            joined = join(torch.cat([x, self._frame(x)], 1))
        assert joined is not None
        return self.draw(joined)[:, 0]

    @torch.no_grad()
    def _look(self, squares: Tensor) -> tuple[Tensor, ...]:
        """What the trunk says at each of `STRIDES`. It reads blue first."""
        stem, finest, *levels = self.trunk.backbone.all_levels(squares.flip(1))
        fine, middle, _ = self.trunk.fuse(*levels)
        return stem, finest, fine, middle

    def _frame(self, x: Float[Tensor, "n width h w"]) -> Float[Tensor, "n 3 h w"]:
        """Column and row of each cell, from -1 to 1, and whether it lies in the box."""
        at = torch.linspace(-1, 1, 2 * x.shape[-1] + 1, device=x.device, dtype=x.dtype)[1::2]
        rows, columns = torch.meshgrid(at, at, indexing="ij")
        inside = torch.maximum(rows.abs(), columns.abs()) * self.config.context < 1
        return torch.stack([columns, rows, inside.to(x.dtype)]).expand(len(x), -1, -1, -1)

    def cut(self, image: Float[Tensor, "channels h w"], boxes_xyxy: Float[Tensor, "n 4"], side: int) -> Tensor:
        """What lies in and around each box, stretched to squares [n, channels, side, side]."""
        return roi_align(image[None], [self.around(boxes_xyxy)], side, sampling_ratio=2, aligned=True)

    def around(self, boxes_xyxy: Float[Tensor, "n 4"]) -> Float[Tensor, "n 4"]:
        """The corners of the cut-outs."""
        centre = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
        half = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clamp(min=LEAST_SIDE) * self.config.context / 2
        return torch.cat([centre - half, centre + half], 1)

    @torch.no_grad()
    def segment(
        self, image: np.ndarray, boxes_xyxy: Float[Tensor, "boxes 4"], *, best_of_three: bool = False
    ) -> tuple[Bool[np.ndarray, "boxes h w"], Float[np.ndarray, " boxes"]]:
        """One mask per box, within it, and the IoU that is to be expected where the model's probabilities are right.

        Args:
            image: uint8 [height, width, 3], RGB, stored pixels.
            boxes_xyxy: In the same pixels.
            best_of_three: A box means one thing here, so this changes nothing.
        """
        device = self.draw.weight.device
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).to(device).float()
        boxes = boxes_xyxy.to(device)
        probabilities = self(self.cut(pixels, boxes, self.config.side)).sigmoid()
        masks = np.zeros((len(boxes), *image.shape[:2]), bool)
        cut_outs = self.around(boxes)
        for mask, box, corners, probability in zip(masks, boxes, cut_outs, probabilities, strict=True):
            left, top = box[:2].floor().int().tolist()
            right, bottom = box[2:].ceil().int().tolist()
            window = mask[max(top, 0) : bottom, max(left, 0) : right]
            at_x = _place(max(left, 0), window.shape[1], corners[0::2])
            at_y = _place(max(top, 0), window.shape[0], corners[1::2])
            places = torch.stack(torch.meshgrid(at_x, at_y, indexing="xy"), -1)
            drawn = F.grid_sample(probability[None, None], places[None], align_corners=False)
            window[:] = (drawn[0, 0] > 0.5).cpu().numpy()
        return masks, expected_iou(probabilities).cpu().numpy()

    def segment_points(self, image: np.ndarray, points_xy: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """None: a point says nothing to this model.

        Raises:
            ConfigError: Always.
        """
        raise _boxes_alone("points")

    def propose(
        self, image: np.ndarray, *, points_per_side: int, min_quality: float, min_stability: float
    ) -> np.ndarray:
        """None: without a box this model draws nothing.

        Raises:
            ConfigError: Always.
        """
        raise _boxes_alone("proposals")


def crop_mask_loss(
    model: CropMasks, squares: Float[Tensor, "n 3 side side"], covered: Float[Tensor, "n grid grid"]
) -> dict[str, Float[Tensor, ""]]:
    """Terms for squares and the share of each pixel of their masks that the thing covers."""
    logits = model(squares)
    probability = logits.sigmoid()
    shared, either = (probability * covered).sum((1, 2)), probability.sum((1, 2)) + covered.sum((1, 2))
    return {
        "entropy": F.binary_cross_entropy_with_logits(logits, covered),
        "dice": (1 - (2 * shared + 1) / (either + 1)).mean(),
    }


def expected_iou(probabilities: Float[Tensor, "n grid grid"]) -> Float[Tensor, " n"]:
    """IoU of the likelier pixels with a mask that holds each pixel with its probability: the ratio of the means."""
    likely = probabilities > 0.5
    shared = (probabilities * likely).sum((1, 2))
    return shared / torch.where(likely, 1.0, probabilities).sum((1, 2)).clamp(min=1)


def _place(first: int, count: int, ends: Tensor) -> Tensor:
    """Where the middles of `count` pixels from `first` lie between two ends, which are -1 and 1."""
    middles = torch.arange(count, device=ends.device) + (first + 0.5)
    return (middles - ends[0]) / (ends[1] - ends[0]) * 2 - 1


def _joint(width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs in (width + 3, width):
        layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.SiLU()]
    return nn.Sequential(*layers)


def _boxes_alone(asked: str) -> ConfigError:
    return ConfigError(
        f"crop_masks draws masks of boxes, not of {asked}. For these import a published SAM as imports.segmenter in "
        "params.yaml (deixis weights list), then run: dvc repro"
    )
