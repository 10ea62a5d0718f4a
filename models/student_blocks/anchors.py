"""Anchors on the levels of a feature pyramid: where they lie, which learn a target, and the two losses on them.

RetinaNet's scheme as RealGIN's released code has it. All boxes are cx, cy, w, h over the side of the square input.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from deixis.boxes import cxcywh_to_xyxy, paired_iou

POSITIVE_WEIGHT = 0.75  # RetinaNet has 0.25 here, and 0.75 on the negatives
LARGEST_LOG_RATIO = 8.0  # of a decoded box to its anchor
ROUNDING = 1e-6  # an overlap of just the threshold is common between cells of a grid, and not above it
SMALLEST_SIDE = 1e-4  # of a target; its logarithm is learnt


def make_anchors(
    sides: Sequence[int], *, ratios: Sequence[float], scales: Sequence[float], device: torch.device
) -> Float[Tensor, "anchors 4"]:
    """Anchors of all levels, fine to coarse; within a level row by row, in each cell ratio by ratio.

    They are not cut off at the border, and on coarse levels are larger than the image.

    Args:
        sides: Cells along one side of each level.
        ratios: Height over width.
        scales: Square root of the area, in cells.
    """
    shapes = torch.tensor([[s / r**0.5, s * r**0.5] for r in ratios for s in scales], device=device)
    levels = []
    for side in sides:
        cells = torch.arange(side * side, device=device)
        middle = (torch.stack([cells % side, cells // side], -1) + 0.5) / side
        level = [middle[:, None].expand(-1, len(shapes), 2), (shapes / side).expand(len(cells), -1, 2)]
        levels.append(torch.cat(level, -1).flatten(0, 1))
    return torch.cat(levels)


def decode_offsets(
    offsets: Float[Tensor, "*batch anchors 4"], anchors: Float[Tensor, "anchors 4"]
) -> Float[Tensor, "*batch anchors 4"]:
    """Boxes from their centre's way over the anchor's size, and the logarithms of both ratios of size."""
    centre = anchors[:, :2] + offsets[..., :2] * anchors[:, 2:]
    return torch.cat([centre, anchors[:, 2:] * offsets[..., 2:].clamp(max=LARGEST_LOG_RATIO).exp()], -1)


def encode_offsets(
    boxes_norm: Float[Tensor, "batch 4"], anchors: Float[Tensor, "anchors 4"]
) -> Float[Tensor, "batch anchors 4"]:
    """What every anchor would have to say to give the box: the inverse of `decode_offsets`."""
    boxes = boxes_norm[:, None]
    centre = (boxes[..., :2] - anchors[:, :2]) / anchors[:, 2:]
    return torch.cat([centre, (boxes[..., 2:].clamp(min=SMALLEST_SIDE) / anchors[:, 2:]).log()], -1)


def match_anchors(
    boxes_norm: Float[Tensor, "batch 4"], anchors: Float[Tensor, "anchors 4"], *, min_iou: float
) -> Bool[Tensor, "batch anchors"]:
    """Anchors that overlap the box by more than `min_iou`, and the best one in any case. All others are negative."""
    shape = (len(boxes_norm), len(anchors), 4)
    target = cxcywh_to_xyxy(boxes_norm)[:, None].expand(shape)
    iou = paired_iou(cxcywh_to_xyxy(anchors).expand(shape), target)
    return (iou > min_iou + ROUNDING).scatter(1, iou.argmax(1, keepdim=True), value=True)


def focal_term(logits: Float[Tensor, "batch anchors"], positive: Bool[Tensor, "batch anchors"]) -> Float[Tensor, ""]:
    """Focal cross-entropy with gamma 2, its factor detached; the sum over the positives of the batch."""
    probability = logits.detach().sigmoid()
    factor = torch.where(
        positive, POSITIVE_WEIGHT * (1 - probability).square(), (1 - POSITIVE_WEIGHT) * probability.square()
    )
    entropy = factor * F.binary_cross_entropy_with_logits(logits, positive.to(logits.dtype), reduction="none")
    return entropy.sum() / positive.sum()


def offset_term(
    offsets: Float[Tensor, "batch anchors 4"],
    boxes_norm: Float[Tensor, "batch 4"],
    anchors: Float[Tensor, "anchors 4"],
    positive: Bool[Tensor, "batch anchors"],
) -> Float[Tensor, ""]:
    """Smooth L1 summed over the four offsets; the mean over each target's positives, then over targets."""
    wrong = F.smooth_l1_loss(offsets, encode_offsets(boxes_norm, anchors), reduction="none").sum(-1)
    return ((wrong * positive).sum(1) / positive.sum(1)).mean()
