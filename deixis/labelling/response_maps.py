"""What is read off a response map: its mask, its peak, boxes, and the mask proposal it means.

A response map holds raw scores per place, [h, w]; above zero means "belongs". Pixels are (x, y) of the stored image;
the right and bottom sides of boxes are exclusive. Source of the rules: TRIS's evaluation; what its code gets wrong is
fixed here, and each place says so.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from skimage.measure import label, regionprops
from torch import Tensor
from torch.nn import functional as F

KEPT_SHARE = 0.5  # of the best component's confidence
SUPPRESSED_OVERLAP = 0.05
DIAGONAL = 2  # pixels that touch at a corner are connected

Box = tuple[int, int, int, int]


def upsample(
    maps: Float[Tensor, "batch h w"], *, height: int, width: int, align_corners: bool = True
) -> Float[Tensor, "batch height width"]:
    """Bilinear, corners aligned as in TRIS's evaluation; its training aligns none."""
    return F.interpolate(maps[:, None], size=(height, width), mode="bilinear", align_corners=align_corners)[:, 0]


def mask_of(scores: Float[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Pixels above zero. The release divides by the maximum first: an all-negative map then becomes a full mask."""
    return scores > 0


def peak_of(scores: Float[np.ndarray, "height width"]) -> tuple[int, int]:
    """(x, y) of the highest score, the first one in rows."""
    row, column = np.unravel_index(int(scores.argmax()), scores.shape)
    return int(column), int(row)


def component_boxes(mask: Bool[np.ndarray, "height width"]) -> list[Box]:
    """Boxes that the any-box rule may choose from: those of the connected parts, most confident first.

    A part is as sure as it fills its box; parts half as sure as the most confident are dropped, and so are boxes that
    overlap a surer one. An empty mask gives none. (The release answers [0, 0, 1, 1] to a full and to an empty mask, and
    mixes up sizes and corners when it compares boxes.)
    """
    parts = regionprops(label(mask, connectivity=DIAGONAL))
    ranked = sorted(((part.extent, _corners(part.bbox)) for part in parts), reverse=True)
    kept: list[Box] = []
    for confidence, box in ranked:
        if confidence > KEPT_SHARE * ranked[0][0] and all(_iou(box, other) <= SUPPRESSED_OVERLAP for other in kept):
            kept.append(box)
    return kept


def box_holding(mask: Bool[np.ndarray, "height width"], point: tuple[int, int]) -> Box | None:
    """Tight box of the connected part that holds a pixel (x, y), else of the largest part; None for an empty mask."""
    parts = np.asarray(label(mask, connectivity=DIAGONAL))
    regions = regionprops(parts)
    if not regions:
        return None
    here = parts[point[1], point[0]]
    return _corners(max(regions, key=lambda part: (part.label == here, part.area)).bbox)


def most_responsive(
    scores: Float[np.ndarray, "height width"], masks: Sequence[Bool[np.ndarray, "height width"]]
) -> Bool[np.ndarray, "height width"] | None:
    """The mask with the highest response inside, of equals the smallest; None of no masks. Source: PCNet's code.

    Args:
        masks: None of them empty.
    """
    return max(masks, key=lambda mask: (float(scores[mask].max()), -int(mask.sum())), default=None)


def margin_of(scores: Float[np.ndarray, "height width"]) -> float:
    """How far the peak stands above the highest place outside the connected part that holds it, or above zero."""
    x, y = peak_of(scores)
    parts = np.asarray(label(scores > 0, connectivity=DIAGONAL))
    elsewhere = scores[parts != parts[y, x]] if parts[y, x] else scores[:0]
    return float(scores[y, x] - max(0.0, elsewhere.max(initial=0.0)))


def _corners(rows_columns: tuple[int, int, int, int]) -> Box:
    top, left, bottom, right = rows_columns
    return left, top, right, bottom


def _iou(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)
