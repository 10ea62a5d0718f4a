"""Masks of foreign annotations, checked before a library that trusts its input sees them."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from deixis.imaging.masks import RLE, coco_mask, encode_mask, polygons_to_rle

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
    whole = []
    for part in parts:
        if isinstance(part, dict):
            _check_run_lengths(part, width=width, height=height)
            whole.append(part | {"size": [height, width]})
        else:
            _check_polygon(part, width=width, height=height)
            if len(part) >= 6:
                whole.append(part)
    return polygons_to_rle(whole, height=height, width=width), len(parts) - len(whole)


def tight_box(mask: RLE) -> list[float]:
    """Corners of the smallest box around a mask, exclusive end."""
    x, y, width, height = coco_mask.toBbox(mask).tolist()
    return [x, y, x + width, y + height]


def run_lengths(counts: str) -> list[int]:
    """Numbers of an encoded run-length code: COCO's variable-length digits, from the fourth on as differences.

    The library itself reads whatever memory lies behind a code that ends too early, hence this check of its input.

    Raises:
        ValueError: If the text is no such code.
    """
    numbers: list[int] = []
    value = shift = 0
    for character in counts:
        digit = ord(character) - 48
        if not 0 <= digit < 64 or shift > 30:
            raise ValueError("not a run-length code")
        value |= (digit & 0x1F) << shift
        shift += 5
        if not digit & 0x20:
            value -= (1 << shift) if digit & 0x10 else 0
            numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("a run-length code that is cut short")
    return numbers


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


def _check_run_lengths(part: dict[str, Any], *, width: int, height: int) -> None:
    counts = part.get("counts")
    if list(part.get("size", ())) != [height, width]:
        raise ValueError(f"a run-length code of another size than {height} x {width}")
    numbers = run_lengths(counts) if isinstance(counts, str) else counts
    if not isinstance(numbers, list) or not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("a run-length code without whole numbers")
    if sum(numbers) != width * height:
        raise ValueError(f"run lengths that add up to {sum(numbers)}, not {height} x {width}")


def _stored_mask(path: Path, *, width: int, height: int) -> RLE:
    try:
        pixels = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: a header may claim any size
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"its mask {path} cannot be read ({error})") from None
    if not isinstance(pixels, np.ndarray) or pixels.shape != (height, width):
        raise ValueError(f"its mask {path} is no array of {height} x {width}")
    return encode_mask(pixels > 0)
