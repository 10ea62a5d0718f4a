"""The ways in which people write boxes, read as corners in pixels.

Which one a file uses cannot be told from its numbers; that a chosen one is wrong often can.
"""

import json
import math
import re
from typing import Any, Literal

from deixis.datasets.pairs.settings import BoxConvention

SLACK = 1e-3  # of a side: rounding of shares, and boxes that touch the edge
LIMITS: dict[BoxConvention, float] = {"cxcywh_norm": 1.0, "yxyx_norm": 1.0, "xyxy_norm_1000": 1000.0}

Corners = tuple[float, float, float, float]
BoxCode = Literal["E_BOX_RANGE", "E_BOX_DEGENERATE", "W_BOX_OUTSIDE"]


def parse_box(stated: Any) -> list[float] | None:
    """Four numbers, from a list or from text such as "1, 2, 3, 4" or "[1 2 3 4]"; None where nothing is given.

    Raises:
        ValueError: If something else is given, or a number is not finite.
    """
    if isinstance(stated, str):
        stated = [part for part in re.split(r"[\s,;]+", stated.strip("[]() \t\r\n")) if part]
    elif stated is not None and not isinstance(stated, list | tuple):
        raise ValueError(f"a {type(stated).__name__}, not four numbers")
    if not stated:
        return None
    if len(stated) != 4 or any(isinstance(value, bool) or value is None for value in stated):
        raise ValueError("not four numbers")
    try:
        box = [float(value) for value in stated]
    except (TypeError, ValueError, OverflowError):
        raise ValueError("not four numbers") from None
    if not all(map(math.isfinite, box)):
        raise ValueError("not finite")
    return box


def to_corners(
    box: list[float], convention: BoxConvention, *, width: int, height: int
) -> tuple[Corners | None, BoxCode | None]:
    """Corners in pixels of the upright image, right and bottom exclusive; None where they could not be scored.

    A box that leaves the image stays as it is and is noted; one of which nothing remains inside is refused.
    """
    if not _fits(box, convention):
        return None, "E_BOX_RANGE"
    left, top, right, bottom = _corners(box, convention, width, height)
    remains = min(right, width) > max(left, 0) and min(bottom, height) > max(top, 0)
    if right <= left or bottom <= top or not remains:
        return None, "E_BOX_DEGENERATE"
    wide, high = SLACK * width, SLACK * height
    outside = left < -wide or top < -high or right > width + wide or bottom > height + high
    return (left, top, right, bottom), "W_BOX_OUTSIDE" if outside else None


def _fits(box: list[float], convention: BoxConvention) -> bool:
    """Whether the numbers can have been meant so."""
    ordered = convention in ("xywh_abs", "cxcywh_norm") or (box[2] >= box[0] and box[3] >= box[1])
    if convention in LIMITS:
        limit = LIMITS[convention]
        return ordered and -SLACK * limit <= min(box) and max(box) <= limit * (1 + SLACK)
    return ordered and not 0 < max(box) <= 1  # all of it within one pixel: shares


def _corners(box: list[float], convention: BoxConvention, width: int, height: int) -> Corners:
    a, b, c, d = box
    if convention == "xywh_abs":
        return a, b, a + c, b + d
    if convention == "cxcywh_norm":
        return (a - c / 2) * width, (b - d / 2) * height, (a + c / 2) * width, (b + d / 2) * height
    if convention == "yxyx_norm":
        return b * width, a * height, d * width, c * height
    if convention == "xyxy_norm_1000":
        return a * width / 1000, b * height / 1000, c * width / 1000, d * height / 1000
    return a, b, c, d


def stored(box: list[float]) -> str:
    """Four numbers as text."""
    return json.dumps(box)
