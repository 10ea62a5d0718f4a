"""COCO: `annotations.json`, as trainers and labelling tools hand it back.

Ids of images and annotations are anybody's: tools number them anew. Our keys stand beside those of COCO, or in
`attributes`, which is all that CVAT keeps.
"""

import json
from pathlib import Path
from typing import Any

from deixis.core.errors import DataError
from reviewing.returned.types import ReturnedFile, ReturnedImage, Shape, from_corner, from_lines, texts

NAME = "annotations.json"


def read(path: Path) -> ReturnedFile:
    """Read the file, or the `annotations.json` of a folder."""
    path = path / NAME if path.is_dir() else path
    content = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(content, list):
        raise DataError(f"{path}: a list of results, which are predictions. Name the file of annotations: {NAME}")
    shapes: dict[Any, list[Shape]] = {row["id"]: [] for row in content["images"]}
    for row in content["annotations"]:
        shapes[row["image_id"]].append(_shape(row))
    return ReturnedFile(tuple(_image(row, tuple(shapes[row["id"]])) for row in content["images"]))


def _image(row: dict[str, Any], shapes: tuple[Shape, ...]) -> ReturnedImage:
    size = (int(row["width"]), int(row["height"])) if row.get("width") and row.get("height") else None
    return ReturnedImage(name=str(row["file_name"]), shapes=shapes, size_wh=size)


def _shape(row: dict[str, Any]) -> Shape:
    kept = row.get("attributes")
    kept = kept if isinstance(kept, dict) else {}
    ids, phrases = from_lines(kept.get("sample_id"), kept.get("expression"))
    return Shape(
        box=from_corner(*row["bbox"]),
        sample_ids=texts(row.get("sample_ids") or row.get("sample_id")) or ids,
        phrases=texts(row.get("expressions") or row.get("expression")) or phrases,
        model=texts(row.get("teacher"))[0] if row.get("teacher") else None,
    )
