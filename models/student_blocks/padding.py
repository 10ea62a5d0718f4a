"""What is padding in a letterboxed square: its pixels, and the cells of a map that hold no image."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def pad_pixels(content_xyxy: Float[Tensor, "batch 4"], *, side: int) -> Bool[Tensor, "batch side side"]:
    """Pixels of a square of `side` whose middle holds no image."""
    return _outside(content_xyxy, torch.arange(side, device=content_xyxy.device) + 0.5)


def pad_cells(
    content_xyxy: Float[Tensor, "batch 4"], *, side: int, canvas: int, deciding: Literal["centre", "first"] = "centre"
) -> Bool[Tensor, "batch cells"]:
    """Cells that hold no image, row-major.

    Args:
        side: Cells along a side.
        canvas: Pixels along a side.
        deciding: What of a cell the border counts for: its centre, or its first pixel, as where a mask of pixels is
            resized to the nearest one (DETR, TransVG).
    """
    place = torch.arange(side, device=content_xyxy.device) * (canvas / side)
    return _outside(content_xyxy, place + (0.5 if deciding == "first" else canvas / side / 2)).flatten(1)


def _outside(content_xyxy: Tensor, places: Tensor) -> Tensor:
    inside_x = (places >= content_xyxy[:, :1]) & (places < content_xyxy[:, 2:3])
    inside_y = (places >= content_xyxy[:, 1:2]) & (places < content_xyxy[:, 3:])
    return ~(inside_y[:, :, None] & inside_x[:, None, :])
