"""Which cells answer for a target: YOLOX's dynamic assignment, reduced to one object and no classes."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from deixis.boxes import cxcywh_to_xyxy, paired_iou

CENTRE_RADIUS = 2.5  # cells
TOP_CANDIDATES = 10
OUTSIDE_COST = 1e5


def assign(
    boxes: Float[Tensor, "batch cells 4"], targets: Float[Tensor, "batch 4"], *, stride: int
) -> Bool[Tensor, "batch cells"]:
    """Choose the cells that are trained towards each target; at least one per target.

    Args:
        boxes: What each cell predicts now: cx, cy, w, h in input pixels; cells row-major.
        targets: cx, cy, w, h in input pixels.

    Source: SimREC's head, after YOLOX.
    """
    in_box, in_centre = candidate_cells(targets, cells=boxes.shape[1], stride=stride)
    candidate = in_box | in_centre
    corners = cxcywh_to_xyxy(targets)[:, None].expand(-1, boxes.shape[1], -1)
    iou = paired_iou(cxcywh_to_xyxy(boxes), corners) * candidate
    count = iou.topk(min(TOP_CANDIDATES, iou.shape[1]), dim=1).values.sum(1).int().clamp(min=1)
    count = torch.minimum(count, candidate.sum(1).int())
    cost = -3 * (iou + 1e-8).log() + OUTSIDE_COST * ~(in_box & in_centre)
    cost = cost.masked_fill(~candidate, float("inf"))
    rank = cost.argsort(dim=1, stable=True).argsort(dim=1)
    return (rank < count[:, None]) & candidate


def candidate_cells(
    targets: Float[Tensor, "batch 4"], *, cells: int, stride: int
) -> tuple[Bool[Tensor, "batch cells"], Bool[Tensor, "batch cells"]]:
    """Cells whose centre lies strictly inside the target, and strictly within 2.5 cells of its centre."""
    side = round(cells**0.5)
    index = torch.arange(cells, device=targets.device)
    centre = (torch.stack([index % side, index // side], -1) + 0.5) * stride
    distance = (centre[None] - targets[:, None, :2]).abs()
    in_box = (distance < targets[:, None, 2:] / 2).all(-1)
    # A target in the padding could lie beyond every window; the nearest cell then stands for its centre.
    in_centre = (distance < CENTRE_RADIUS * stride).all(-1)
    nobody = ~(in_box | in_centre).any(1)
    nearest = distance.square().sum(-1).argmin(1)
    in_centre[nobody, nearest[nobody]] = True
    return in_box, in_centre
