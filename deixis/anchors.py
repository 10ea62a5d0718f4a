"""Which cells of the detector's grids may answer a phrase, and with which box.

Source: RefCLIP section 3.2 and its released code (mean to rank cells, maximum to pick the box).
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic.dataclasses import dataclass
from torch import Tensor

from deixis.boxes import cxcywh_to_xyxy, paired_iou
from deixis.core.config import STRICT
from deixis.types import Detections


def num_kept(cells: int, fraction: float) -> int:
    """Number of cells kept: `fraction` of all, rounded up; 17 of 169 at 10 %."""
    return math.ceil(round(cells * fraction, 6))  # 0.07 of 100 is 7, whatever the last bit says


def keep_confident_cells(
    boxes: Float[Tensor, "batch cells per_cell values"], fraction: float
) -> Int[Tensor, "batch kept"]:
    """Cells with the highest mean objectness over their boxes, in ascending cell order."""
    confidence = boxes[..., 4].mean(-1)
    return confidence.topk(num_kept(boxes.shape[1], fraction), dim=1).indices.sort(dim=1).values


def kept_anchors(detections: Detections, fraction: float) -> tuple[Tensor, Tensor]:
    """Which cells may answer, by number, and their boxes: [batch, kept] and [batch, kept, per_cell, values].

    What suppression left, where the detections are that (`fraction` says nothing then); else the most confident cells.
    """
    if detections.cells is not None:
        return detections.cells, detections.boxes
    cells = keep_confident_cells(detections.boxes, fraction)
    return cells, gather_cells(detections.boxes, cells)


@dataclass(frozen=True, config=STRICT)
class Survivors:
    """Candidates of all scales, as photographs need them: the most confident boxes that suppression leaves."""

    most: int = 20  # per image; all images have as many
    iou: float = 0.5  # above it the less confident box goes, whatever its category
    looked_at: int = 400  # most confident boxes that suppression compares


def surviving_cells(
    boxes: Float[Tensor, "batch cells per_cell values"], rule: Survivors
) -> Int[Tensor, "batch survivors"]:
    """Cells whose best boxes survive, most confident first; where fewer do, the most confident others follow."""
    best = best_boxes(boxes)
    looked_at = best.objectness.topk(min(rule.looked_at, boxes.shape[1]), dim=1).indices
    corners = gather_cells(best.corners, looked_at)
    return torch.stack([cells[_survivors(rows, rule)] for cells, rows in zip(looked_at, corners, strict=True)])


def _survivors(corners: Float[Tensor, "n 4"], rule: Survivors) -> Int[Tensor, " survivors"]:
    """Places of the boxes that stay, of boxes in falling confidence."""
    count = len(corners)
    shape = (count, count, 4)
    covers = paired_iou(corners[:, None].expand(shape), corners[None].expand(shape)) > rule.iou
    gone = torch.zeros(count, dtype=torch.bool, device=corners.device)
    for place in range(count):
        if not gone[place]:
            gone[place + 1 :] |= covers[place, place + 1 :]
    return gone.long().argsort(stable=True)[: rule.most]  # those that stay come first, in their order


def gather_cells(x: Tensor, cells: Int[Tensor, "batch kept"]) -> Tensor:
    """Rows of [batch, cells, ...] at the given cells: [batch, kept, ...]."""
    index = cells.view(*cells.shape, *([1] * (x.dim() - 2))).expand(*cells.shape, *x.shape[2:])
    return x.gather(1, index)


class CellBoxes(NamedTuple):
    """One box per cell: corners in input pixels, objectness and category scores."""

    corners: Float[Tensor, "batch cells 4"]
    objectness: Float[Tensor, "batch cells"]
    classes: Float[Tensor, "batch cells classes"]


def best_boxes(boxes: Float[Tensor, "batch cells per_cell values"]) -> CellBoxes:
    """Of each cell, the box with the highest objectness."""
    index = boxes[..., 4].argmax(-1)
    chosen = boxes.gather(2, index[..., None, None].expand(*index.shape, 1, boxes.shape[-1])).squeeze(2)
    return CellBoxes(cxcywh_to_xyxy(chosen[..., :4]), chosen[..., 4], chosen[..., 5:])


def map_to_cells(feature_map: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch h*w channels"]:
    """Feature map to one row per cell, row-major: the order of the boxes."""
    return feature_map.flatten(2).transpose(1, 2)


def maps_to_cells(maps: Mapping[str, Tensor], scales: Sequence[str]) -> Float[Tensor, "batch cells channels"]:
    """The maps of some scales, equally wide, to one row per cell, one scale after the other."""
    return torch.cat([map_to_cells(maps[scale]) for scale in scales], 1)
