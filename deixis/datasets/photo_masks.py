"""Annotated masks of some images of a raw folder, in COCO's `instances.json`: what a segmenter may learn from."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, tensor

from deixis.core.errors import DataError
from deixis.core.foreign import foreign_bytes
from deixis.datasets.refer_files import read_json
from deixis.datasets.segmentations import is_absent, read_mask
from deixis.imaging.masks import RLE, area


@dataclass(frozen=True)
class PhotoMasks:
    """One row per annotated object.

    Attributes:
        paths: Of the images, by id.
    """

    image_ids: list[int]
    boxes_xyxy: Float[Tensor, "objects 4"]  # stored pixels
    masks: list[RLE]
    paths: dict[int, Path]


def read_photo_masks(folder: Path, image_ids: Collection[int]) -> PhotoMasks:
    """Objects of those images that have a mask; the others are left out, and so are crowds.

    Raises:
        DataError: If there is none, or a row of the file is none.
    """
    source = folder / "instances.json"
    instances = read_json(source, what="COCO's instances.json")
    with foreign_bytes(source, "COCO's instances.json", "Fetch it again, then run: dvc repro"):
        images = {row["id"]: row for row in instances["images"] if row["id"] in image_ids}
        rows = [_read(row, images[row["image_id"]]) for row in instances["annotations"] if row["image_id"] in images]
    sound = [row for row in rows if row is not None]
    if not sound:
        raise DataError(
            f"{source}: no training image has an object with a mask. Allowed: polygons or run-length codes as "
            "`segmentation`. Without such, leave run.photo_masks in params.yaml empty; then run: dvc repro"
        )
    ids, boxes, masks = zip(*sound, strict=True)
    paths = {image_id: folder / "images" / image["file_name"] for image_id, image in images.items()}
    return PhotoMasks(list(ids), tensor(boxes), list(masks), paths)


def _read(row: dict[str, Any], image: dict[str, Any]) -> tuple[int, list[float], RLE] | None:
    if is_absent(row.get("segmentation")) or row.get("iscrowd"):
        return None
    mask, _ = read_mask(row["segmentation"], width=image["width"], height=image["height"])
    left, top, width, height = map(float, row["bbox"])
    if mask is None or not area(mask) or min(width, height) < 1:
        return None
    return row["image_id"], [left, top, left + width, top + height], mask
