"""Which cells of the detector's grids may answer a phrase, and with which box.

Source: RefCLIP section 3.2 and its released code (mean to rank cells, maximum to pick the box).
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from deixis.boxes import cxcywh_to_xyxy


def num_kept(cells: int, fraction: float) -> int:
    """Number of cells kept: `fraction` of all, rounded up; 17 of 169 at 10 %."""
    return math.ceil(round(cells * fraction, 6))  # 0.07 of 100 is 7, whatever the last bit says


def keep_confident_cells(
    boxes: Float[Tensor, "batch cells per_cell values"], fraction: float
) -> Int[Tensor, "batch kept"]:
    """Cells with the highest mean objectness over their boxes, in ascending cell order."""
    confidence = boxes[..., 4].mean(-1)
    return confidence.topk(num_kept(boxes.shape[1], fraction), dim=1).indices.sort(dim=1).values


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
