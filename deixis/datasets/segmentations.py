"""Masks of foreign annotations, checked before a library that trusts its input sees them."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from deixis.core.foreign import first_words
from deixis.imaging.masks import RLE, encode_mask, polygons_to_rle

NO_MASK = "no mask in this source"


def read_mask(segmentation: Any, *, width: int, height: int) -> tuple[RLE | None, int]:
    """Union of polygons and run-length codes, encoded or not, and how many parts were too short and dropped.

    `NO_MASK` gives None; a path is of a stored array, in which anything above zero is object (SimREC adds parts up).

    Raises:
        ValueError: If a part is no polygon and no run-length code of an image of this size.
    """
    if segmentation is NO_MASK:
        return None, 0
    if isinstance(segmentation, Path):
        return _stored_mask(segmentation, width=width, height=height), 0
    parts = segmentation if isinstance(segmentation, list) else [segmentation]
    for part in parts:
        if not isinstance(part, dict):
            _check_polygon(part, width=width, height=height)
    whole = [part for part in parts if isinstance(part, dict) or len(part) >= 6]
    return polygons_to_rle(whole, height=height, width=width), len(parts) - len(whole)


def is_absent(segmentation: Any) -> bool:
    """Whether a file of boxes says no more than that there is no mask: null, an empty list, or a list of such."""
    return not segmentation or (isinstance(segmentation, list) and not any(segmentation))


def is_number(value: Any) -> bool:
    """Whether a foreign value is a number that fits in eight bytes; True and False are none."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 2**63)


def is_run_length(segmentation: Any) -> bool:
    """Whether every part is a run-length code, exact to the pixel."""
    parts = segmentation if isinstance(segmentation, list) else [segmentation]
    return all(isinstance(part, dict) for part in parts)


def _check_polygon(part: Any, *, width: int, height: int) -> None:
    """Far corners would cost memory without limit when drawn."""
    if not isinstance(part, list) or not all(is_number(value) for value in part):
        raise ValueError("a part of its mask is neither a polygon nor a run-length code")
    reach = 2 * max(width, height)
    if not all(math.isfinite(value) and abs(value) <= reach for value in part):
        raise ValueError("a polygon of its mask has corners far outside the image")


def _stored_mask(path: Path, *, width: int, height: int) -> RLE:
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: a header may claim any size
    except Exception as error:  # the header is read as Python's text
        raise ValueError(f"its mask {path} cannot be read ({first_words(error)})") from None
    is_array = isinstance(pixels, np.ndarray) and pixels.dtype.kind in "biuf"
    if not is_array or pixels.shape != (height, width):
        raise ValueError(f"its mask {path} is no array of {height} x {width} numbers")
    return encode_mask(pixels > 0)
