"""Masks as COCO run-length codes whose `counts` are text, so that JSON and Parquet take them."""

from typing import Any

import numpy as np
from pycocotools import mask

coco_mask: Any = mask  # its stubs know bytes and not the text that its functions also take

RLE = dict[str, Any]  # {"size": [height, width], "counts": text}


def encode_mask(pixels: np.ndarray) -> RLE:
    """Bool [height, width] -> RLE."""
    encoded = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def decode_mask(rle: RLE) -> np.ndarray:
    """RLE -> bool [height, width]."""
    return coco_mask.decode(_plain(rle)).astype(bool)


def polygons_to_rle(segmentation: Any, *, height: int, width: int) -> RLE:
    """Polygons, one RLE or a list of RLEs -> their union; parts with fewer than three points are left out.

    Raises:
        ValueError: If an RLE is not one of an image of this size.
    """
    if isinstance(segmentation, dict):
        parts = [segmentation]
    else:
        parts = [part for part in segmentation if isinstance(part, dict) or len(part) >= 6]
    if not parts:
        return encode_mask(np.zeros((height, width), bool))
    polygons = [part for part in parts if not isinstance(part, dict)]
    codes = [_compressed(part, height, width) for part in parts if isinstance(part, dict)]
    codes += coco_mask.frPyObjects(polygons, height, width) if polygons else []
    union = coco_mask.merge(codes)
    return {"size": [height, width], "counts": union["counts"].decode("ascii")}


def _compressed(part: dict[str, Any], height: int, width: int) -> Any:
    """A foreign RLE, `counts` as text or as a list, as the library takes it.

    The library trusts it: lengths that do not add up to the image give it memory that is not its own, and a union with
    a code that is too short never ends.
    """
    counts, size = part.get("counts"), part.get("size")
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        raise ValueError(f"a run-length code of another size than {height} x {width}")
    lengths = run_lengths(counts) if isinstance(counts, str) else counts
    if not isinstance(lengths, list) or not all(type(length) is int and length >= 0 for length in lengths):
        raise ValueError("a run-length code without whole numbers")
    if sum(lengths) != height * width:
        raise ValueError(f"run lengths that add up to {sum(lengths)}, not {height} x {width}")
    return coco_mask.frPyObjects({"size": [height, width], "counts": lengths}, height, width)


def run_lengths(counts: str) -> list[int]:
    """Numbers of an encoded run-length code: COCO's variable-length digits, from the fourth on as differences.

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


def area(rle: RLE) -> int:
    """Number of pixels set."""
    return int(coco_mask.area(_plain(rle)))


def tight_box(rle: RLE) -> tuple[float, float, float, float]:
    """Corners round all pixels set, right and bottom exclusive; four zeros where none is."""
    left, top, width, height = coco_mask.toBbox(_plain(rle)).tolist()
    return left, top, left + width, top + height


def mask_overlap(predicted: RLE | None, truth: RLE) -> tuple[int, int]:
    """Intersection and union in pixels; nothing found intersects nothing."""
    if predicted is None:
        return 0, area(truth)
    intersection = int(coco_mask.area(coco_mask.merge([_plain(predicted), _plain(truth)], intersect=True)))
    return intersection, area(predicted) + area(truth) - intersection


def _plain(rle: RLE) -> RLE:
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"]}
