"""RealGIN's own parts: adaptive feature selection (AFS), and what its attention is held to."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.boxes import cxcywh_to_xyxy, paired_iou
from models.blocks.layers import conv_bn


class FeatureSelection(nn.Module):
    """AFS: three scales brought to the grid of one of them, weighed by the phrase.

    Args:
        channels: Of the fine, middle and coarse maps.
        target: Whose grid, by its place among the maps.
        bias: Of the convolutions, as the released model has them.
    """

    def __init__(
        self,
        channels: Sequence[int],
        text_width: int,
        *,
        hidden: int,
        width: int,
        target: int = -1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.target = target
        self.scales = nn.ModuleList(
            nn.Sequential(conv_bn(c, hidden, 3, bias=bias), conv_bn(hidden, width, 1, bias=bias)) for c in channels
        )
        self.weigh = nn.Linear(text_width, len(channels))

    def forward(self, maps: Sequence[Tensor], text: Float[Tensor, "batch text_width"]) -> Tensor:
        """Fine, middle and coarse maps -> [batch, width, h, w] on the target's grid."""
        grid = maps[self.target].shape[-2:]
        scaled = torch.stack([scale(_on_grid(x, grid)) for scale, x in zip(self.scales, maps, strict=True)])
        return torch.einsum("bs,sbchw->bchw", self.weigh(text).softmax(-1), scaled)


def _on_grid(x: Tensor, grid: torch.Size) -> Tensor:
    """Finer maps are pooled; coarser ones grow bilinearly with corners aligned, as in the release."""
    if x.shape[-1] < grid[-1]:
        return F.interpolate(x, size=grid, mode="bilinear", align_corners=True)
    return F.adaptive_avg_pool2d(x, grid)


def iou_heat_map(boxes_norm: Float[Tensor, "batch 4"], *, side: int) -> Float[Tensor, "batch cells"]:
    """IoU of each box with itself moved to the middle of every cell, and cut off at the border; row-major.

    The release centres the moved box on the cell's corner, half a cell off.

    Args:
        boxes_norm: cx, cy, w, h over the side of the square.
    """
    cells = torch.arange(side * side, device=boxes_norm.device)
    middle = (torch.stack([cells % side, cells // side], -1) + 0.5) / side
    moved = torch.cat([middle.expand(len(boxes_norm), -1, 2), boxes_norm[:, None, 2:].expand(-1, side * side, 2)], -1)
    target = cxcywh_to_xyxy(boxes_norm)[:, None].expand(-1, side * side, 4)
    return paired_iou(cxcywh_to_xyxy(moved).clamp(0, 1), target)
