"""Training images made smaller and put somewhere on their canvas: TransVG's random resize."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from deixis.imaging.images import IMAGENET_MEAN


@dataclass(frozen=True)
class Placing:
    """Of each image where it goes.

    Attributes:
        scale: Its new side over the canvas's.
        corner: Left and top of the smaller square over the canvas's side.
    """

    scale: Float[Tensor, "images 1"]
    corner: Float[Tensor, "images 2"]

    def __getitem__(self, rows: Int[Tensor, " rows"]) -> "Placing":
        return Placing(self.scale[rows], self.corner[rows])

    def to(self, device: torch.device) -> "Placing":
        """The same on a device."""
        return Placing(self.scale.to(device), self.corner.to(device))


def draw_placing(count: int, scale_range: tuple[float, float], generator: torch.Generator | None = None) -> Placing:
    """Scales from a range, and any place where the smaller square fits."""
    low, high = scale_range
    scale = low + (high - low) * torch.rand(count, 1, generator=generator)
    return Placing(scale, torch.rand(count, 2, generator=generator) * (1 - scale))


def few_placings(count: int, scale_range: tuple[float, float]) -> Placing:
    """So many placings, always the same: for images that are to be seen again as they were."""
    return draw_placing(count, scale_range, torch.Generator().manual_seed(0))


def place_squares(
    squares: UInt8[Tensor, "images 3 side side"], placing: Placing
) -> Float[Tensor, "images 3 side side"]:
    """Images on their canvases; what they leave free is grey."""
    grey = torch.tensor(IMAGENET_MEAN, device=squares.device).view(3, 1, 1) * 255  # standardises to zero
    return _resampled(squares.float() - grey, placing) + grey


def place_masks(
    masks: Float[Tensor, "phrases side side"], image_of: Int[Tensor, " phrases"], placing: Placing
) -> Float[Tensor, "phrases side side"]:
    """Each phrase's mask where its image goes."""
    return _resampled(masks[:, None], placing[image_of])[:, 0]


def place_boxes(
    content_xyxy: Float[Tensor, "images 4"],
    boxes_norm: Float[Tensor, "phrases 4"],
    image_of: Int[Tensor, " phrases"],
    placing: Placing,
    *,
    side: int,
) -> tuple[Float[Tensor, "images 4"], Float[Tensor, "phrases 4"]]:
    """Where each image's content lies then, in pixels of the canvas, and each phrase's box."""
    scale, corner = placing.scale, placing.corner
    content = content_xyxy * scale + corner.repeat(1, 2) * side
    scale, corner = scale[image_of], corner[image_of]
    centre, size = boxes_norm[:, :2] * scale + corner, boxes_norm[:, 2:] * scale
    return content, torch.cat([centre, size], 1)


def _resampled(x: Float[Tensor, "images channels side side"], placing: Placing) -> Tensor:
    """What was in the whole square, in a part of it; the rest is zero."""
    scale, corner = placing.scale, placing.corner
    # The grid maps output places to input places, both in [-1, 1]: x_in = (x_out - shift) / scale.
    shift = 2 * corner + scale - 1
    theta = torch.zeros(len(x), 2, 3, device=x.device)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / scale[:, 0]
    theta[:, :, 2] = -shift / scale
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="zeros", align_corners=False)
