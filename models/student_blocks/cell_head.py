"""The one-stage head of SimREC and its kin: one box and one objectness per cell, no anchors, no classes."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from deixis.boxes import cxcywh_to_xyxy, paired_iou
from deixis.types import Grounding
from models.blocks.layers import conv_bn
from models.student_blocks.simota import assign

TERM_WEIGHTS = {"box": 5.0, "objectness": 1.0}
LARGEST_LOG_SIZE = 8.0  # of a box in cells; without a limit, as in the release, a large output becomes infinite


class CellHead(nn.Module):
    """Three convolutions, then box and objectness from the same map."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden = head_layers(width, hidden)
        self.box = nn.Conv2d(hidden, 4, 1)
        self.objectness = nn.Conv2d(hidden, 1, 1)

    def forward(self, x: Float[Tensor, "batch width h w"]) -> Float[Tensor, "batch h*w 5"]:
        """Raw outputs per cell, row-major."""
        hidden = self.hidden(x)
        return torch.cat([self.box(hidden), self.objectness(hidden)], 1).flatten(2).transpose(1, 2)


def head_layers(width: int, hidden: int) -> nn.Sequential:
    """Three convolutions, by which a cell sees its neighbours once more."""
    return nn.Sequential(
        conv_bn(width, hidden, 1, activation=nn.SiLU),
        conv_bn(hidden, hidden, 3, activation=nn.SiLU),
        conv_bn(hidden, hidden, 3, activation=nn.SiLU),
    )


def best_cell(raw: Float[Tensor, "batch cells 5"], *, stride: int) -> Grounding:
    """Box of the cell with the highest objectness; no suppression, no clipping."""
    decoded = decode(raw, stride=stride)
    scores, cell = decoded[..., 4].max(1)
    boxes = decoded[torch.arange(cell.shape[0], device=cell.device), cell, :4]
    return Grounding(boxes_xyxy=cxcywh_to_xyxy(boxes), scores=scores)


def decode(raw: Float[Tensor, "batch cells 5"], *, stride: int) -> Float[Tensor, "batch cells 5"]:
    """cx, cy, w, h in input pixels and objectness; offsets count from the corner of the cell, without sigmoid."""
    side = round(raw.shape[1] ** 0.5)
    cells = torch.arange(raw.shape[1], device=raw.device)
    corner = torch.stack([cells % side, cells // side], -1).to(raw.dtype)
    centre = (raw[..., :2] + corner) * stride
    size = raw[..., 2:4].clamp(max=LARGEST_LOG_SIZE).exp() * stride
    return torch.cat([centre, size, raw[..., 4:].sigmoid()], -1)


def detection_terms(
    raw: Float[Tensor, "batch cells 5"], boxes_norm: Float[Tensor, "batch 4"], *, stride: int
) -> dict[str, Float[Tensor, ""]]:
    """Loss terms before their factors (5 and 1).

    Args:
        boxes_norm: cx, cy, w, h of each target over the side of the square.
    """
    raw = raw.float()
    side = round(raw.shape[1] ** 0.5)
    target = boxes_norm * (side * stride)
    decoded = decode(raw, stride=stride)
    positive = assign(decoded[..., :4].detach(), target, stride=stride)
    count = positive.sum().clamp(min=1)
    row, cell = positive.nonzero(as_tuple=True)
    iou = paired_iou(cxcywh_to_xyxy(decoded[row, cell, :4]), cxcywh_to_xyxy(target[row]))
    entropy = F.binary_cross_entropy_with_logits(raw[..., 4], positive.to(raw.dtype), reduction="none")
    return {"box": (1 - iou.square()).sum() / count, "objectness": entropy.sum() / count}
