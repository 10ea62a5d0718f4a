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
        ValueError: If an RLE is of another size than the image.
    """
    if isinstance(segmentation, dict):
        parts = [segmentation]
    else:
        parts = [part for part in segmentation if isinstance(part, dict) or len(part) >= 6]
    if any(isinstance(part, dict) and list(part["size"]) != [height, width] for part in parts):
        raise ValueError(f"a run-length code of another size than {height} x {width}")
    if not parts:
        return encode_mask(np.zeros((height, width), bool))
    polygons = [part for part in parts if not isinstance(part, dict)]
    codes = [_compressed(part, height, width) for part in parts if isinstance(part, dict)]
    codes += coco_mask.frPyObjects(polygons, height, width) if polygons else []
    union = coco_mask.merge(codes)
    return {"size": [height, width], "counts": union["counts"].decode("ascii")}


def _compressed(part: Any, height: int, width: int) -> Any:
    if isinstance(part["counts"], list):
        return coco_mask.frPyObjects(part, height, width)
    return {"size": list(part["size"]), "counts": part["counts"]}


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
